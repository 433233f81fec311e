"""The run of a LazyConfig."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrnet_det.config import lazy, settings
from hrnet_det.config.files import is_shipped
from hrnet_det.config.lazy_allowed import check_lazy_values
from hrnet_det.config.run_config import ModelNames, RunConfig
from hrnet_det.config.settings import Setting
from hrnet_det.environment import one_line
from hrnet_det.errors import InputError

SETTINGS = tuple(value for value in vars(settings).values() if isinstance(value, Setting))
# The types of value that stand for a setting, by the type of its default.
ALLOWED = {bool: bool, int: int, float: (int, float), str: str, tuple: (str, list, tuple)}


class LazyRun(RunConfig):
    """A run of a LazyConfig; other processes run its file again, as it may register datasets.

    Raises: InputError if `train` has options that this trainer has not, or a value is of another
        type than the setting, or one that is not allowed.
    """

    is_lazy = True

    def __init__(self, cfg: DictConfig, path: str = "", overrides: Sequence[str] = ()) -> None:
        super().__init__(cfg, path, overrides)
        self.changes: dict[Setting, object] = {}
        _check_train(cfg.train)
        for setting in SETTINGS:
            if not setting.lazy.startswith("model."):  # which checks its own arguments
                self._check_type(setting)
        check_lazy_values(cfg)

    def _value(self, setting: Setting) -> object:
        try:
            value = OmegaConf.select(self.cfg, setting.lazy) if setting.lazy else None
        except OmegaConfBaseException as error:  # a reference to what is not there
            raise InputError(f"{self.path}: {setting.lazy}: {one_line(error)}") from error
        return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value

    def _check_type(self, setting: Setting) -> None:
        value, kind = self._value(setting), type(setting.default)
        if value is None or setting.default is None:
            return
        if not isinstance(value, ALLOWED[kind]) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"{setting.lazy} is {value!r}; it must be of type {kind.__name__}")

    def __getitem__(self, setting: Setting) -> object:
        value = self._value(setting)
        if value is None:
            return setting.default
        if isinstance(setting.default, tuple):
            return (value,) if isinstance(value, str) else tuple(value)
        return value

    def __setitem__(self, setting: Setting, value: object) -> None:
        if not setting.lazy:
            raise ValueError(f"{setting.yaml} is a setting of YAML configs alone")
        self.changes[setting] = value
        value = list(value) if isinstance(value, tuple) else value
        OmegaConf.update(self.cfg, setting.lazy, value, force_add=True)

    def name(self, setting: Setting) -> str:
        return setting.lazy or f"{setting.yaml} (of YAML configs)"

    def words(self, setting: Setting, value: object) -> list[str]:
        added = "" if self.has(setting) or not setting.lazy else "+"  # a key that is not there
        return [f"{added}{self.name(setting)}={value}"]

    def has(self, setting: Setting) -> bool:
        return self._value(setting) is not None

    def states(self, setting: Setting) -> bool:
        """A shipped file's values do not count; of one of the user's own all do."""
        return self.types(setting) or (self.has(setting) and not is_shipped(self.path))

    @property
    def typed(self) -> tuple[str, ...]:
        return tuple(word.partition("=")[0].removeprefix("+") for word in self.overrides)

    def types(self, setting: Setting) -> bool:
        return bool(setting.lazy) and setting.lazy in self.typed

    def text(self) -> str:
        return lazy.lazy_text(self.cfg)

    @property
    def model(self) -> ModelNames:
        heads = self.cfg.model.get("roi_heads") or {}
        masks, keypoints = "mask_head" in heads, "keypoint_head" in heads
        return ModelNames(_class_name(self.cfg.model), _class_name(heads), masks, keypoints)

    @property
    def semantic_branch(self) -> bool:
        return "semantic_head" in (self.cfg.model.get("roi_heads") or {})

    @property
    def detections_setting(self) -> Setting:
        """Of the last box predictor where there are several, as that decides."""
        heads = self.cfg.model.get("roi_heads") or {}
        several = heads.get("box_predictors")
        layer = f"box_predictors.{len(several) - 1}" if several else "box_predictor"
        place = f"roi_heads.{layer}.test_topk_per_image" if heads else "max_detections_per_image"
        return Setting(settings.DETECTIONS_PER_IMAGE.yaml, f"model.{place}", 100)

    def __reduce_ex__(self, protocol: int) -> tuple:
        if not self.path.endswith(".py"):
            return super().__reduce_ex__(protocol)
        state = {name: value for name, value in vars(self).items() if name != "cfg"}
        return _made_again, (self.path, self.overrides, state)


def _made_again(path: str, overrides: tuple, state: dict) -> LazyRun:
    run = LazyRun(lazy.load_lazy_config(path, overrides), path, overrides)
    run.__dict__ |= state
    for setting, value in dict(run.changes).items():
        run[setting] = value
    return run


def _check_train(options: DictConfig) -> None:
    places = [setting.lazy for setting in SETTINGS if setting.lazy.startswith("train.")]
    known = [place.removeprefix("train.") for place in places]
    keys = list(lazy.keys_of(options))
    ends = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]
    unknown = [key for key in ends if not f"{key}.".startswith(tuple(f"{k}." for k in known))]
    if unknown:
        raise InputError(
            f"train has options that this trainer has not: {', '.join(unknown)}; it has "
            f"{', '.join(known)} (configs/common/train.py). What is not among them only YAML "
            "configs can have"
        )


def _class_name(node: DictConfig | dict) -> str:
    """Of what a node calls; "" for an empty node."""
    target = node._target_ if node else ""
    return getattr(target, "__name__", str(target)).rsplit(".", 1)[-1]

"""The run of a LazyConfig."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from hrnet_det.config import lazy, settings
from hrnet_det.config.files import is_shipped
from hrnet_det.config.run_config import ModelNames, RunConfig
from hrnet_det.config.settings import Setting
from hrnet_det.errors import InputError


class LazyRun(RunConfig):
    """A run of a LazyConfig.

    In another process it is made from its file again, so that code there that registers datasets
    runs there too.

    Raises: InputError if `train` has options that this trainer has not, or a value is of another
        type than the setting.
    """

    cfg: DictConfig

    def __init__(self, cfg: DictConfig, path: str = "", overrides: Sequence[str] = ()) -> None:
        super().__init__(cfg, path, overrides)
        self.changes: dict[Setting, object] = {}
        _check_train(cfg.train)
        for setting in _SETTINGS:
            self._check_type(setting)

    def __getitem__(self, setting: Setting) -> object:
        value = OmegaConf.select(self.cfg, setting.lazy) if setting.lazy else None
        if value is None:
            return setting.default
        value = OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
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
        return [f"{self.name(setting)}={value}"]

    def has(self, setting: Setting) -> bool:
        return OmegaConf.select(self.cfg, setting.lazy or "none") is not None

    def states(self, setting: Setting) -> bool:
        """A shipped file's values do not count; of one of the user's own all do."""
        typed = {word.partition("=")[0].removeprefix("+") for word in self.overrides}
        return setting.lazy in typed or (self.has(setting) and not is_shipped(self.path))

    def text(self) -> str:
        return lazy.lazy_text(self.cfg)

    @property
    def model(self) -> ModelNames:
        heads = self.cfg.model.get("roi_heads") or {}
        masks, keypoints = "mask_head" in heads, "keypoint_head" in heads
        names = (_class_name(self.cfg.model), _class_name(heads))
        return ModelNames(*names, masks=masks, keypoints=keypoints)

    @property
    def semantic_branch(self) -> bool:
        return "semantic_head" in (self.cfg.model.get("roi_heads") or {})

    def _check_type(self, setting: Setting) -> None:
        default = setting.default
        of_model = setting.lazy.startswith("model.")  # which checks its own arguments
        if default is None or of_model or not self.has(setting):
            return
        value = OmegaConf.select(self.cfg, setting.lazy)
        allowed = {
            bool: (bool,),
            int: (int,),
            float: (int, float),
            tuple: (str, list, tuple),
        }.get(type(default), (type(default),))
        value = OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise InputError(
                f"{setting.lazy} is {value!r}; it must be of type {type(default).__name__}"
            )

    def copy(self) -> LazyRun:
        made = LazyRun(copy.deepcopy(self.cfg), self.path, self.overrides)
        made.__dict__ |= {k: copy.copy(v) for k, v in vars(self).items() if k != "cfg"}
        return made

    def __reduce__(self) -> tuple:
        state = {name: value for name, value in vars(self).items() if name != "cfg"}
        if self.path.endswith(".py"):
            return _made_again, (self.path, self.overrides, state)
        return LazyRun, (self.cfg, self.path, self.overrides), state


_SETTINGS = tuple(value for value in vars(settings).values() if isinstance(value, Setting))


def _made_again(path: str, overrides: tuple, state: dict) -> LazyRun:
    run = LazyRun(lazy.load_lazy_config(path, overrides), path, overrides)
    run.__dict__ |= state
    for setting, value in dict(run.changes).items():
        run[setting] = value
    return run


def _check_train(options: DictConfig) -> None:
    known = [
        setting.lazy.removeprefix("train.")
        for setting in _SETTINGS
        if setting.lazy.startswith("train.")
    ]
    keys = list(lazy.keys_of(options))
    ends = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]
    unknown = [key for key in ends if not f"{key}.".startswith(tuple(f"{k}." for k in known))]
    if unknown:
        raise InputError(
            f"train has options that this trainer has not: {', '.join(unknown)}; it has "
            f"{', '.join(known)} (configs/common/train.py). What is not among them only YAML "
            "configs can have"
        )


def _class_name(node: DictConfig | None) -> str:
    """Of what a node calls; "" for no node."""
    if not node:
        return ""
    target = node._target_
    return getattr(target, "__name__", str(target)).rsplit(".", 1)[-1]

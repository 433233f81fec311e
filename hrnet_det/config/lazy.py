"""Detectron2's LazyConfigs: Python programs that are run, saved by runs as YAML that is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import LazyConfig
from detectron2.utils.registry import _convert_target_to_string, locate
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, SCMode
from omegaconf.errors import OmegaConfBaseException

from hrnet_det.environment import one_line
from hrnet_det.errors import InputError, did_you_mean

PARTS = ("model", "dataloader", "optimizer", "lr_multiplier", "train")
# Where the classes and functions are that a saved config, which is plain YAML, may call. None of
# them runs code that a config could name.
CALLABLE = (
    "hrnet_det.modeling.",
    "hrnet_det.data.mapper.",
    "hrnet_det.data.transforms.",
    "hrnet_det.evaluation.",
    "detectron2.modeling.",
    "detectron2.layers.",
    "detectron2.structures.",
    "detectron2.data.",
    "detectron2.evaluation.",
    "detectron2.solver.",
    "fvcore.common.param_scheduler.",
    "torch.nn.",
    "torch.optim.",
)


def load_lazy_config(path: str | Path, overrides: Sequence[str] = ()) -> DictConfig:
    """The config that a Python file makes, with KEY=VALUE pairs merged over it.

    Raises: InputError if the file cannot be run, has not all parts of a config, or has no such key.
    """
    try:
        cfg = LazyConfig.load(str(path))
    except (Exception, SystemExit) as error:  # a program may fail in any way
        raise InputError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return _whole(cfg, str(path), overrides)


def parse_saved(text: str, source: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config that `lazy_text` has written; source is where it is from, for messages.

    Raises: InputError if it is not valid YAML or calls what CALLABLE does not have.
    """
    try:
        content = yaml.safe_load(text)
        cfg = OmegaConf.create(content, flags={"allow_objects": True})
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise InputError(f"{source} is not a saved LazyConfig: {one_line(error)}") from error
    refused = {str(target) for target in _targets(content) if not _is_callable(target)}
    if refused:
        raise InputError(
            f"{source} calls {', '.join(sorted(refused)[:3])}: from a saved config "
            "only classes of hrnet_det, Detectron2 and torch are called. Give the Python file that "
            "it was saved from, whose code you trust: --config-file FILE.py"
        )
    return _whole(cfg, source, overrides)


def is_saved(content: object) -> bool:
    """Whether the content of a YAML file is that of a saved LazyConfig."""
    model = content.get("model") if isinstance(content, dict) else None
    return isinstance(model, dict) and "_target_" in model


def _targets(content: object) -> Iterator[object]:
    if isinstance(content, dict):
        if "_target_" in content:
            yield content["_target_"]
        content = list(content.values())
    for value in content if isinstance(content, list) else ():
        yield from _targets(value)


def _is_callable(target: object) -> bool:
    """Whether a name is that of a class or function which lies where CALLABLE says."""
    packages = tuple(f"{place.partition('.')[0]}." for place in CALLABLE)
    if not isinstance(target, str) or not target.startswith(packages):
        return False
    found = located(target)
    return callable(found) and f"{getattr(found, '__module__', None)}.".startswith(CALLABLE)


def lazy_text(cfg: DictConfig) -> str:
    """The config as YAML. Raises: ValueError if it holds what has no name, such as a lambda."""
    content = OmegaConf.to_container(cfg, structured_config_mode=SCMode.INSTANTIATE)
    return yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True, width=100)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"_target_": _name(type(value)), **fields}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return _name(value)


def _name(value: Any) -> str:
    """The full name of a class or function."""
    named = hasattr(value, "__qualname__")  # not so an object that can be called
    name = _convert_target_to_string(value) if named else ""
    if not name or located(name) is not value:
        raise ValueError(f"{value!r} has no name that it can be found by again")
    return name


def located(name: str) -> object:
    """What has such a full name; None if nothing has."""
    try:
        return locate(name)
    except (ImportError, AttributeError):
        return None


def _whole(cfg: DictConfig, source: str, overrides: Sequence[str]) -> DictConfig:
    missing = [part for part in PARTS if part not in cfg]
    if missing:
        raise InputError(f"{source} is not a whole config: it has no {', '.join(missing)}")
    _check_overrides(cfg, overrides)
    try:
        cfg = LazyConfig.apply_overrides(cfg, list(overrides))
    except (OmegaConfBaseException, HydraException, KeyError, ValueError) as error:
        raise InputError(f"command line: {one_line(error)}") from error
    for part in PARTS:
        if not OmegaConf.is_dict(cfg[part]):
            raise InputError(f"{source}: {part} is {cfg[part]!r}, not a group of keys")
    return cfg


def _check_overrides(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """LazyConfig would add a key that does not exist without a word."""
    known = list(keys_of(cfg))
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise InputError(
                f"command line: {override!r}: a LazyConfig takes KEY=VALUE, such as "
                "optimizer.lr=0.01 (KEY VALUE is for YAML)"
            )
        if key.startswith("+") or key in known:
            continue
        hint = f"{did_you_mean(key, known)} (+{key}=... adds it)"
        raise InputError(f"command line: there is no config key {key}{hint}")


def keys_of(node: object, prefix: str = "") -> Iterable[str]:
    """All keys of a config, those of groups within it as group.key."""
    if not OmegaConf.is_config(node):
        return
    for name in node if OmegaConf.is_dict(node) else range(len(node)):
        key = f"{prefix}{name}"
        yield key
        if not OmegaConf.is_interpolation(node, name):
            yield from keys_of(node[name], f"{key}.")

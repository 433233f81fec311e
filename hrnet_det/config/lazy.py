"""Configs of Detectron2's second kind, LazyConfig: Python files that say what to call.

A LazyConfig is a program: loading it runs it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from detectron2.config import LazyConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrnet_det.environment import one_line
from hrnet_det.errors import InputError

PARTS = ("model", "dataloader", "optimizer", "lr_multiplier", "train")


def load_lazy_config(path: str | Path, overrides: Sequence[str] = ()) -> DictConfig:
    """The config that a Python file makes, with KEY=VALUE pairs merged over it.

    Raises: InputError if the file cannot be run, has not all parts of a config, or has no such key.
    """
    try:
        cfg = LazyConfig.load(str(path))
    except Exception as error:  # a program may fail in any way
        raise InputError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    missing = [part for part in PARTS if part not in cfg]
    if missing:
        raise InputError(f"{path} is no whole config: it has no {', '.join(missing)}")
    _check_overrides(cfg, overrides)
    try:
        cfg = LazyConfig.apply_overrides(cfg, list(overrides))
    except (OmegaConfBaseException, HydraException, KeyError, ValueError) as error:
        raise InputError(f"command line: {one_line(error)}") from error
    for part in PARTS:
        if not OmegaConf.is_dict(cfg[part]):
            raise InputError(f"{path}: {part} is {cfg[part]!r}, not a group of keys")
    return cfg


def _check_overrides(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """LazyConfig would add a key that does not exist without a word."""
    known = list(keys_of(cfg))
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise InputError(
                f"command line: {override!r}: a Python config takes KEY=VALUE, such as "
                "optimizer.lr=0.01 (KEY VALUE is for YAML)"
            )
        if key.startswith("+") or key in known:
            continue
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"command line: there is no config key {key}{hint} (+{key}=... adds it)")


def keys_of(node: object, prefix: str = "") -> Iterable[str]:
    """All keys of a config, those of groups within it as group.key."""
    if not OmegaConf.is_config(node):
        return
    names = node.keys() if OmegaConf.is_dict(node) else range(len(node))
    for name in names:
        key = f"{prefix}{name}"
        yield key
        if not OmegaConf.is_interpolation(node, name):
            yield from keys_of(node[name], f"{key}.")

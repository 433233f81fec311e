"""From a file, a name, a text or Detectron2's own configs to a RunConfig."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import yaml
from detectron2.config import CfgNode
from omegaconf import DictConfig

from hrnet_det.config import lazy
from hrnet_det.config.files import find_config
from hrnet_det.config.keys import get_cfg
from hrnet_det.config.lazy_run import LazyRun
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.yaml import flat, merge_content, merged, read_yaml
from hrnet_det.errors import InputError


def load_run(name: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that a config describes: a file, or the name of a shipped one.

    A file in .py is a LazyConfig, a program that is run; one in .yaml is a YAML config or the
    config.yaml of a LazyConfig's run.

    Raises: MissingInputError if there is no such config; InputError if it cannot be used.
    """
    path = find_config(name)
    if path.suffix == ".py":
        return LazyRun(lazy.load_lazy_config(path, overrides), str(path), overrides)
    file = read_yaml(path)
    if lazy.is_saved(file.own):
        cfg = lazy.parse_saved(path.read_text(encoding="utf-8"), str(path), overrides)
        return LazyRun(cfg, str(path), overrides)
    stated = {*flat(file.own), *overrides[::2]}
    return RunConfig(merged(file, str(path), overrides), str(path), overrides, stated)


def parse_run(text: str, source: str) -> RunConfig:
    """The run that `RunConfig.text` was of. Raises: InputError if this version cannot read it."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{source}: its config is not valid YAML: {error}") from error
    if lazy.is_saved(content):
        return LazyRun(lazy.parse_saved(text, source), source)
    if not isinstance(content, dict):
        raise InputError(f"{source}: its config is not a mapping of keys")
    cfg = get_cfg()
    merge_content(cfg, content, source=source)
    return RunConfig(cfg, source)


def as_run(config: RunConfig | CfgNode | DictConfig | str | Path) -> RunConfig:
    """A run from whatever stands for one: itself, Detectron2's configs, a file, a shipped name."""
    if isinstance(config, RunConfig):
        return config
    if isinstance(config, CfgNode):
        return RunConfig(config.clone())
    if isinstance(config, DictConfig):
        return LazyRun(copy.deepcopy(config))
    return load_run(config)

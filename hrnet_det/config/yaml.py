"""YAML configs: how they are loaded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml
from detectron2.config import CfgNode

from hrnet_det.config.files import config_folder
from hrnet_det.config.keys import get_cfg
from hrnet_det.errors import InputError, MissingInputError


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """The defaults, with a YAML file (and its `_BASE_`s) and KEY VALUE pairs merged over them.

    YAML is loaded safely: a tag that would run code is refused.

    Args:
        path: the YAML file.
        overrides: KEY, VALUE, KEY, VALUE, ... as on the command line.
    Raises: MissingInputError if the file is not there; InputError if it is no plain YAML or has a
        key or a type of value that does not exist (the message names the nearest key).
    """
    cfg = get_cfg()
    content = _load_yaml(path)
    _check_keys(cfg, _flat_keys(content), source=str(path))
    defaults = dict(_flat_items(cfg))
    empty = [k for k, value in _flat_items(content) if value is None and defaults[k] is not None]
    if empty:
        raise InputError(f"{path}: {', '.join(empty)} has no value; write one, or leave it out")
    if content.get("VERSION", cfg.VERSION) != cfg.VERSION:
        raise InputError(f"{path}: VERSION {content['VERSION']}; only {cfg.VERSION} can be read")
    try:
        cfg.merge_from_other_cfg(CfgNode(content))
    except (ValueError, AssertionError) as error:
        raise InputError(f"{path}: {error}") from error
    merge_overrides(cfg, overrides)
    return cfg


def merge_overrides(cfg: CfgNode, overrides: Sequence[str]) -> None:
    """Merge KEY VALUE pairs into cfg. Raises: InputError as load_config does."""
    if len(overrides) % 2:
        raise InputError(
            "overrides are pairs of KEY VALUE, such as SOLVER.BASE_LR 0.01; got an odd number: "
            + " ".join(overrides)
        )
    _check_keys(cfg, overrides[::2], source="command line")
    stated = dict(zip(overrides[::2], overrides[1::2], strict=True))
    known = dict(_flat_items(cfg))
    empty = [k for k, v in stated.items() if v in (None, "None") and known.get(k) is not None]
    if empty:
        raise InputError(f"command line: {', '.join(empty)} needs a value, not None")
    if "MODEL.CONVENTIONS" in stated:
        _merge_conventions(cfg, str(stated["MODEL.CONVENTIONS"]))
    try:
        cfg.merge_from_list(list(overrides))
    except (ValueError, AssertionError) as error:
        hint = "; several values are written \"('a', 'b')\", one \"('a',)\""
        raise InputError(
            f"command line: {error}" + (hint if "tuple" in str(error) else "")
        ) from error


def _merge_conventions(cfg: CfgNode, name: str) -> None:
    """Merge configs/conventions/NAME.KIND.yaml, or where there is none NAME.yaml."""
    if name == "detectron2":
        return
    folder = config_folder() / "conventions"
    known = sorted(path.stem for path in folder.glob("*.yaml") if "." not in path.stem)
    if name not in known:
        raise InputError(
            f"command line: unknown MODEL.CONVENTIONS {name!r}; known: detectron2, "
            f"{', '.join(known)}"
        )
    of_kind = folder / f"{name}.{cfg.MODEL.META_ARCHITECTURE.lower()}.yaml"
    path = of_kind if of_kind.is_file() else folder / f"{name}.yaml"
    cfg.merge_from_other_cfg(CfgNode(_load_yaml(path)))


def stated_keys(path: str | Path, overrides: Sequence[str] = ()) -> set[str]:
    """The keys that a YAML file (with its `_BASE_`s) or the overrides state themselves."""
    return {*_flat_keys(_load_yaml(path)), *overrides[::2]}


def _load_yaml(path: str | Path) -> dict:
    if not Path(path).is_file():
        raise MissingInputError(f"config {path} is not there")
    try:
        content = CfgNode.load_yaml_with_base(str(path), allow_unsafe=False)
    except yaml.constructor.ConstructorError as error:
        raise InputError(
            f"{path}: YAML tags that run code are not loaded ({error.problem}); write plain values"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: its _BASE_ {error.filename} is not there") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} has no KEY: VALUE lines")
    return content


def _flat_items(content: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat_items(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _flat_keys(content: dict) -> Iterator[str]:
    return (key for key, _ in _flat_items(content))


def _check_keys(cfg: CfgNode, keys: Iterable[str], *, source: str) -> None:
    known = list(_flat_keys(cfg))
    sections = {key[:i] for key in known for i, letter in enumerate(key) if letter == "."}
    for key in keys:
        if key in known:
            continue
        if key in sections:
            inside = ", ".join(k for k in known if k.startswith(key + "."))
            raise InputError(f"{source}: {key} is a group of keys, which are {inside}")
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        last = key.rsplit(".", 1)[-1]
        near = near or [k for k in known if k.rsplit(".", 1)[-1] == last][:3]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"{source}: there is no config key {key}{hint}")

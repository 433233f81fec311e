"""YAML configs: how their files are read, and in what order their values are merged."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from detectron2.config import CfgNode

from hrnet_det.config.allowed import check_values
from hrnet_det.config.keys import get_cfg
from hrnet_det.config.overlays import CONVENTIONS, add_conventions, switch_conventions
from hrnet_det.config.recipes import KEYS_OF_RECIPES, RECIPE, add_recipe
from hrnet_det.config.yaml_files import YamlFile, flat, read_yaml
from hrnet_det.errors import InputError, did_you_mean, shown

TYPES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """The defaults, with a YAML file (and its `_BASE_`s) and KEY VALUE pairs merged over them.

    From below: the defaults, shipped configs, SOLVER.RECIPE, configs/conventions/ of
    MODEL.CONVENTIONS, the user's files, overrides. YAML is loaded safely: a tag that would run code
    is refused.

    Args:
        overrides: KEY, VALUE, KEY, VALUE, ... as on the command line.
    Raises: MissingInputError if a file is not there; InputError if it is not valid YAML, has a key
        or a type of value that does not exist (the message names the nearest key), or a value that
        `check_values` does not allow.
    """
    return merged(read_yaml(path), str(path), overrides)


def merged(file: YamlFile, source: str, overrides: Sequence[str] = ()) -> CfgNode:
    """The defaults with what a file says and overrides over them, as `load_config`."""
    cfg = get_cfg()
    merge_content(cfg, file.shipped, source=source)
    own = flat(file.own)
    typed = dict(zip(overrides[::2], overrides[1::2], strict=False))
    recipe = _add_below(cfg, own, typed, source=source)
    merge_content(cfg, file.own, source=source)
    cfg.SOLVER.RECIPE = recipe
    merge_overrides(cfg, overrides, own=own)
    check_values(cfg, source=source, typed=overrides[::2])
    return cfg


def _add_below(cfg: CfgNode, own: dict, typed: dict, *, source: str) -> str:
    """Merge recipe and conventions over the shipped config; returns the recipe's name."""
    before = str(own.get(RECIPE) or "")
    recipe = str(typed.get(RECIPE, before))
    place = "command line" if RECIPE in typed else source
    if own.keys() >= KEYS_OF_RECIPES:  # the config.yaml of a run, which states all values
        if recipe != before:
            raise InputError(
                f"command line: {RECIPE} {recipe!r}: {source} states every value that it would "
                "set; take the config that this run was started with"
            )
    elif recipe:
        add_recipe(cfg, recipe, own | typed, source=place)
    follows = "" if CONVENTIONS in typed else recipe
    name = str(own.get(CONVENTIONS) or follows or cfg.MODEL.CONVENTIONS)
    add_conventions(cfg, name, own, source=source)
    return recipe


def merge_content(cfg: CfgNode, content: dict, *, source: str) -> None:
    """Merge what a YAML file says into cfg. Raises: InputError as load_config does."""
    given, known = flat(content), flat(cfg)
    _check_keys(known, given, source=source)
    if empty := [k for k, value in given.items() if value is None and known[k] is not None]:
        raise InputError(f"{source}: {', '.join(empty)} has no value; write one, or leave it out")
    _set_values(cfg, given, source=source)


def merge_overrides(
    cfg: CfgNode, overrides: Sequence[str], *, own: Mapping[str, object] = MappingProxyType({})
) -> None:
    """Merge KEY VALUE pairs into cfg; own is what the user's file has stated in it.

    Raises: InputError as load_config does.
    """
    if pairs := [word for word in overrides[::2] if "=" in word]:
        raise InputError(
            f"command line: {pairs[0]!r}: a YAML config takes KEY VALUE, such as SOLVER.BASE_LR "
            "0.01 (KEY=VALUE is for LazyConfigs)"
        )
    if options := [word for word in overrides[::2] if str(word).startswith("--")]:
        raise InputError(
            f"command line: {options[0]} comes after KEY VALUE pairs: write options before them"
        )
    if len(overrides) % 2:
        raise InputError(
            "overrides are pairs of KEY VALUE, such as SOLVER.BASE_LR 0.01; got an odd number: "
            + " ".join(overrides)
        )
    given, known = dict(zip(overrides[::2], overrides[1::2], strict=True)), flat(cfg)
    _check_keys(known, given, source="command line")
    if empty := [k for k, v in given.items() if v in (None, "None") and known[k] is not None]:
        raise InputError(f"command line: {', '.join(empty)} needs a value, not None")
    recipe = str(given.get(RECIPE, cfg.SOLVER.RECIPE))
    if recipe != cfg.SOLVER.RECIPE:
        add_recipe(cfg, recipe, given, source="command line")
        given = {CONVENTIONS: recipe} | given
    if CONVENTIONS in given:
        switch_conventions(cfg, str(given[CONVENTIONS]), own, source="command line")
    _set_values(cfg, given, source="command line")


def _set_values(cfg: CfgNode, given: dict[str, object], *, source: str) -> None:
    """Set known keys to values of their types; a whole number may stand for a float."""
    known = flat(cfg)
    if str(given.get("VERSION", cfg.VERSION)) != str(cfg.VERSION):
        raise InputError(f"{source}: VERSION {given['VERSION']}; only {cfg.VERSION} can be read")
    for key, value in given.items():
        whole = isinstance(known[key], float) and re.fullmatch(r"[+-]?\d{1,300}", str(value))
        try:
            cfg.merge_from_list([key, float(value) if whole else value])
        except (ValueError, AssertionError) as error:
            wanted = type(known[key])
            words = f"{TYPES.get(wanted, wanted.__name__)}, such as {known[key]!r}"
            hint = "; several values are written \"('a', 'b')\", one \"('a',)\""
            hint = hint if wanted is tuple and source == "command line" else ""
            raise InputError(f"{source}: {key} {shown(value)}: must be {words}{hint}") from error
        except (RecursionError, MemoryError, SyntaxError) as error:
            raise InputError(f"{source}: {key} {shown(value)}: is nested too deep") from error


def _check_keys(known: Collection[str], given: Iterable[str], *, source: str) -> None:
    for key in given:
        if key in known:
            continue
        if inside := [name for name in known if name.startswith(f"{key}.")]:
            some = f"{', '.join(inside[:8])}{', ...' if len(inside) > 8 else ''}"
            raise InputError(f"{source}: {key} is a group of keys, which are {some}")
        raise InputError(
            f"{source}: there is no config key {key or repr(key)}{did_you_mean(key, known)}"
        )

"""YAML configs: how their files are read, and in what order their values are merged."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from detectron2.config import CfgNode

from hrnet_det.config.allowed import check_values
from hrnet_det.config.files import config_folder, is_shipped
from hrnet_det.config.keys import get_cfg
from hrnet_det.errors import InputError, MissingInputError, did_you_mean, shown

BASE = "_BASE_"
TYPES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
}


class YamlFile(NamedTuple):
    """What a YAML file and its `_BASE_`s say: shipped configs, and the user's own files."""

    shipped: dict
    own: dict


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """The defaults, with a YAML file (and its `_BASE_`s) and KEY VALUE pairs merged over them.

    From below: the defaults, shipped configs, configs/conventions/ of MODEL.CONVENTIONS, the user's
    files, overrides. YAML is loaded safely: a tag that would run code is refused.

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
    if name := flat(file.own).get("MODEL.CONVENTIONS"):
        _merge_conventions(cfg, str(name), source=source)
    merge_content(cfg, file.own, source=source)
    merge_overrides(cfg, overrides)
    check_values(cfg, source=source, typed=overrides[::2])
    return cfg


def merge_content(cfg: CfgNode, content: dict, *, source: str) -> None:
    """Merge what a YAML file says into cfg. Raises: InputError as load_config does."""
    given, known = flat(content), flat(cfg)
    _check_keys(known, given, source=source)
    if empty := [k for k, value in given.items() if value is None and known[k] is not None]:
        raise InputError(f"{source}: {', '.join(empty)} has no value; write one, or leave it out")
    _set_values(cfg, given, source=source)


def merge_overrides(cfg: CfgNode, overrides: Sequence[str]) -> None:
    """Merge KEY VALUE pairs into cfg. Raises: InputError as load_config does."""
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
    if "MODEL.CONVENTIONS" in given:
        _switch_conventions(cfg, str(given["MODEL.CONVENTIONS"]))
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


def _switch_conventions(cfg: CfgNode, name: str) -> None:
    """Follow other conventions than those that cfg has: what these have set is set back first."""
    before = cfg.MODEL.CONVENTIONS
    if name == before:
        return
    back = flat(_overlay(cfg, "detectron2", source="command line"))
    values = flat(cfg)
    for key, value in flat(_overlay(cfg, before, source="command line")).items():
        if key in back and _plain(values[key]) == _plain(value):
            cfg.merge_from_list([key, back[key]])
    _merge_conventions(cfg, name, source="command line")
    cfg.MODEL.CONVENTIONS = name


def _merge_conventions(cfg: CfgNode, name: str, *, source: str) -> None:
    if name != "detectron2":
        cfg.merge_from_other_cfg(CfgNode(_overlay(cfg, name, source=source)))


def _overlay(cfg: CfgNode, name: str, *, source: str) -> dict:
    """configs/conventions/NAME.yaml, or that of the meta-architecture, NAME.fcos.yaml."""
    folder = config_folder() / "conventions"
    known = sorted({path.name.split(".")[0] for path in folder.glob("*.yaml")})
    if name not in known:
        raise InputError(f"{source}: unknown MODEL.CONVENTIONS {name!r}; known: {', '.join(known)}")
    special = folder / f"{name}.{cfg.MODEL.META_ARCHITECTURE.lower()}.yaml"
    return read_yaml(special if special.is_file() else folder / f"{name}.yaml").shipped


def _plain(value: object) -> object:
    """Tuples, and YAML's "(1, 2)", as the lists that they are equal to."""
    if isinstance(value, str) and value.startswith("("):
        value = yaml.safe_load(f"[{value[1:-1]}]")
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def read_yaml(path: str | Path, *, above: tuple[Path, ...] = ()) -> YamlFile:
    """What a YAML file and its `_BASE_`s say; above are the files that have it as `_BASE_`.

    Raises: MissingInputError if one is not there; InputError if one is not valid YAML, or no
        mapping of keys, or if a `_BASE_` is none or leads back to its own file.
    """
    path = Path(path)
    if not os.path.isfile(path):
        needed = f"{above[-1]}: its {BASE} {path}" if above else f"config {path}"
        raise MissingInputError(f"{needed} is not there")
    if path.resolve() in above:
        ring = " -> ".join(str(step) for step in (*above, path.resolve()))
        raise InputError(f"{above[-1]}: its {BASE} leads back to the file itself: {ring}")
    content = _parsed(path)
    bases = content.pop(BASE, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) and base for base in bases):
        raise InputError(f"{path}: {BASE} is {bases!r}; give the path of a YAML file, or a list")
    file = YamlFile({}, {})
    for base in bases:
        below = read_yaml(path.parent / Path(base).expanduser(), above=(*above, path.resolve()))
        _merge(file.shipped, below.shipped)
        _merge(file.own, below.own)
    _merge(file.shipped if is_shipped(path) else file.own, content)
    return file


class _Loader(yaml.SafeLoader):
    """PyYAML's safe one, for which a key that is there twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for number, key in enumerate(keys) if key in keys[:number]]
        if twice:
            raise yaml.YAMLError(f"the key {twice[0]!r} is there twice\n{node.start_mark}")
        return super().construct_mapping(node, deep=deep)


def _parsed(path: Path) -> dict:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        flat({"": content})  # an alias may make a group a part of itself
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid YAML: not text in UTF-8 ({error.reason})") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # such as a date that does not exist
        problem = getattr(error, "problem", None)
        if "could not determine a constructor" in str(problem):
            reason = f": YAML tags that run code are not loaded ({problem}); write plain values"
        else:
            reason = f" is not valid YAML: {error}"
        raise InputError(f"{path}{reason}") from error
    except RecursionError as error:
        raise InputError(f"{path} is not valid YAML for a config: it is nested too deep") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} has no KEY: VALUE lines, but {type(content).__name__}")
    return content


def _merge(under: dict, over: dict) -> None:
    """Merge nested groups of keys into others, in place."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            _merge(under[key], value)
        else:
            under[key] = value


def flat(content: dict, prefix: str = "") -> dict[str, object]:
    """{GROUP.KEY: value} of all values in nested groups."""
    found: dict[str, object] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


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

"""How YAML files and the `_BASE_`s that they are made from are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import yaml

from hrnet_det.config.files import config_folder, is_shipped, names
from hrnet_det.errors import InputError, MissingInputError

BASE = "_BASE_"


class YamlFile(NamedTuple):
    """What a YAML file and its `_BASE_`s say: shipped configs, and the user's own files."""

    shipped: dict
    own: dict


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
        below = read_yaml(_base_file(path, base), above=(*above, path.resolve()))
        _merge(file.shipped, below.shipped)
        _merge(file.own, below.own)
    _merge(file.shipped if is_shipped(path) else file.own, content)
    return file


def _base_file(path: Path, base: str) -> Path:
    """What a `_BASE_` names: a file, from the folder of its own on, or else a shipped config."""
    beside = path.parent / Path(base).expanduser()
    return config_folder() / base if base in names() and not beside.exists() else beside


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

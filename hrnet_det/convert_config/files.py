"""The files of a config: how their text is parsed, and where the files that they name are."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from pathlib import Path

from hrnet_det.convert_config.nodes import Node, Place
from hrnet_det.errors import InputError, MissingInputError

MOST_BYTES = 1_000_000  # of a file
BASE = "_base_"
_ENVIRONMENT = re.compile(
    r"\{\{['\"]?\s{0,9}\$(\w{1,99})\s{0,9}:\s{0,9}(\S{0,999}?)\s{0,9}['\"]?\}\}"
)
_FILE_NAMES = ("fileDirname", "fileBasenameNoExtension", "fileBasename", "fileExtname")


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file. Raises: InputError if it is no Python, with the line."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path} is too large for a config: over {MOST_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
        return ast.parse(filled_in(text, path), filename=str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8 ({error.reason})") from error
    except SyntaxError as error:
        raise InputError(
            f"{path}:{error.lineno or 1}: is not valid Python ({error.msg})"
        ) from error
    except InputError:
        raise
    except (RecursionError, MemoryError, ValueError) as error:
        raise InputError(f"{path} cannot be parsed as Python ({error})") from error


def filled_in(text: str, path: Path) -> str:
    """The text with the file's own names, and variables of the environment, filled in."""
    whole = path.absolute()
    values = (whole.parent.as_posix(), whole.stem, whole.name, whole.suffix)
    for name, value in zip(_FILE_NAMES, values, strict=True):
        text = re.sub(rf"\{{\{{\s*{name}\s*\}}\}}", lambda _, value=value: value, text)

    def value_of(found: re.Match) -> str:
        value = os.environ.get(found[1]) or found[2]
        if not value:
            line = text.count("\n", 0, found.start()) + 1
            raise InputError(
                f"{path}:{line}: {found[0]}: the environment has no {found[1]}, and no other value "
                "is given: set it"
            )
        return value

    return _ENVIRONMENT.sub(value_of, text)


def base_path(node: Node, path: Path, above: tuple[Path, ...]) -> Path:
    """The file that a `_base_` of a file names; above are the files that have that one as base."""
    text = node.value
    if not isinstance(text, str):
        raise InputError(f"{node.place}: {BASE} {text!r}: give the path of a file, or a list")
    scope, _, rest = text.partition("::")
    named = package(scope, node.place) / ".mim" / "configs" / rest if rest else path.parent / text
    return checked(named, path, above, node.place, f"its {BASE} {text}")


def module_path(line: ast.ImportFrom, path: Path, above: tuple[Path, ...]) -> Path:
    """The file that an import names whose values a config takes over."""
    place, parts = Place(path, line.lineno), (line.module or "").split(".")
    if line.level:
        folder = path.absolute().parents[line.level - 1]
    else:
        folder, parts = package(parts[0], place), parts[1:]
    named = folder.joinpath(*parts).with_suffix(".py")
    return checked(named, path, above, place, f"what {ast.unparse(line)} names")


def checked(path: Path, of: Path, above: tuple[Path, ...], place: Place, words: str) -> Path:
    """A file that another one names, without detours; it is there, and not the other one itself."""
    path = Path(os.path.normpath(path))
    if path.suffix != ".py":
        raise InputError(f"{place}: {words}: only Python configs (.py) are read")
    if not path.is_file():
        raise MissingInputError(
            f"{place}: {words} is not there ({path}): keep the config in mmdetection's configs "
            "folder, or copy the files that it names"
        )
    if path.resolve() in [known.resolve() for known in (*above, of)]:
        raise InputError(f"{place}: {words} leads back to the file itself")
    return path


def package(name: str, place: Place) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"{place}: {name} is not installed, whose configs it names: install it, or copy the "
            "file and name it by its path"
        )
    return Path(spec.submodule_search_locations[0])

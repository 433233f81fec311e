"""Exported files are opened, whoever has written them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from hrnet_det.checkpoint.signatures import signature_of
from hrnet_det.errors import InputError, shown
from hrnet_det.export.formats import Engine, Format, format_of
from hrnet_det.export.options import PARTS, PROCESSING

# Of formats whose module has no UNREADABLE of its own.
_UNREADABLE = (RuntimeError, ValueError, OSError, zipfile.BadZipFile)
_REASON = 200  # characters of what a library says
_AGAIN = "export it again (hrnet-det export WEIGHTS {name})"


def is_exported(path: str | Path) -> bool:
    """Whether a path or address names an exported file, by its suffix."""
    return format_of(path) is not None


def open_exported(path: str | Path) -> Engine:
    """The function that an exported file is: named arrays in, named arrays out.

    What it is of is in its `metadata`.

    Raises: InputError if the file is damaged, none that hrnet-det export has written, or its engine
        is not installed.
    """
    path, row = Path(path), format_of(path)
    if row is None:
        raise InputError(f"{path} is no exported file: its name ends with none of their suffixes")
    if row.suffix != ".xml" and (other := signature_of(path)):
        raise InputError(f"{path} is {other}, not a file of {row.title}: {_again(path)}")
    module = row.load()
    try:
        engine = module.open_file(path)
    except InputError:
        raise
    except getattr(module, "UNREADABLE", _UNREADABLE) as error:
        raise InputError(
            f"{path} cannot be opened as {row.title} ({_first_line(error)}): it is damaged, or of "
            f"another program: {_again(path)}"
        ) from error
    _check_origin(path, row, engine.metadata)
    return engine


def _check_origin(path: Path, row: Format, metadata: dict) -> None:
    given = metadata if isinstance(metadata, dict) else {}
    lacking = [key for key in ("export", "config", "classes") if not given.get(key)]
    if lacking:
        raise InputError(
            f"{path} is a file of {row.title} that hrnet-det export has not written: it does not "
            f"say what it detects, nor in which images ({', '.join(lacking)}): {_again(path)}"
        )
    if wrong := _changed(metadata):
        raise InputError(
            f"{path} says of itself what hrnet-det export does not write "
            f"({', '.join(f'{name} {shown(value)}' for name, value in wrong.items())}): "
            f"{_again(path)}"
        )


def _changed(metadata: dict) -> dict[str, object]:
    """Of what a file's use relies on, that which somebody must have changed, by its name."""
    made, classes = metadata["export"], metadata["classes"]
    if not isinstance(made, dict):
        return {"export": made}
    size, part = made.get("size"), made.get("part")
    right = {
        "part": part in PARTS,
        "processing": made.get("processing") in PROCESSING,
        "inputs": made.get("inputs") == _inputs_of(made),
        "size": size == [] or (_are_counts(size) and len(size) == 2),
        "batch": _are_counts([made.get("batch")]),
    }
    if part == "detector":
        score = made.get("score")
        right["score"] = isinstance(score, (int, float)) and 0 <= score <= 1
        right["max_detections"] = _are_counts([made.get("max_detections")])
    wrong = {f"export.{name}": made.get(name) for name, holds in right.items() if not holds}
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        wrong["classes"] = classes
    return wrong


def _inputs_of(made: dict) -> list[str]:
    inside = made.get("part") == "detector" and made.get("processing") == "inside"
    return ["image"] if inside else ["images"]


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(type(each) is int and each > 0 for each in values)


def _again(path: Path) -> str:
    return _AGAIN.format(name=path.name)


def _first_line(error: Exception) -> str:
    """What a library says first, without the places in its source, which are OpenVINO's first."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    lines = [line for line in lines if not line.startswith("Exception from ")] or lines
    return lines[0][:_REASON]

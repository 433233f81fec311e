"""Exported files are opened, whoever has written them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from hrnet_det.checkpoint.signatures import signature_of
from hrnet_det.errors import InputError
from hrnet_det.export.formats import Engine, Format, format_of

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
    lacking = [key for key in ("export", "config", "classes") if not metadata.get(key)]
    if lacking:
        raise InputError(
            f"{path} is a file of {row.title} that hrnet-det export has not written: it does not "
            f"say what it detects, nor in which images ({', '.join(lacking)}): {_again(path)}"
        )


def _again(path: Path) -> str:
    return _AGAIN.format(name=path.name)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:_REASON]

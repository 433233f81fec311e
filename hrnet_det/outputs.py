"""Folders that a command writes to, tried before its work is done."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hrnet_det.errors import InputError

RUNNING = ".running"  # the file that a run holds a lock on, with its process and machine


def check_folder(folder: str | Path, *, shown: str, advice: str) -> None:
    """A folder can be written to, or be made in one that can; nothing is left there.

    Args:
        shown: what the user has given, for the message; advice: what to do instead.
    Raises: InputError if it cannot.
    """
    place = Path(str(folder))
    if not str(folder):
        raise InputError(f"{shown!r}: no folder to write to: {advice}, such as output/mine")
    try:
        place = _nearest(place.absolute())
        with tempfile.TemporaryFile(dir=place):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{shown}: nothing can be written to {place} ({reason}): {advice}"
        ) from error


def _nearest(place: Path) -> Path:
    """The place itself or, where there is none, the folder above that is there."""
    try:
        place.lstat()
    except FileNotFoundError:
        return _nearest(place.parent)
    return place


@contextlib.contextmanager
def alone_in(folder: str | Path) -> Iterator[None]:
    """Within, no other process that asks for it gets the folder; on file systems that have locks.

    The lock ends with this process, however it ends, and its children do not have it.

    Raises: InputError if another process has the folder.
    """
    path = Path(folder, RUNNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            raise InputError(
                f"{folder} belongs to another run, which has not ended ({file.read().strip()}): "
                "wait for its end, or give another folder to write to"
            ) from error
        except OSError:  # there are no locks here
            pass
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

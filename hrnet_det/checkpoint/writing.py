"""Files that are there whole or not at all: written aside, brought to the disk, and renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hrnet_det.errors import InputError

PARTIAL = ".partial"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL = (*_NO_ROOM, errno.EROFS)
# Files of a run that are written so.
_OURS = re.compile(
    r"(model_\w+\.(pth|safetensors|md)|last_checkpoint|config\.yaml|(results|metrics)\.json"
    r"|report\.html)\.partial"
)


@contextlib.contextmanager
def written_aside(path: str | Path, *, needed: int = 0, advice: str = "") -> Iterator[BinaryIO]:
    """Yields a file to write, which takes the place of `path` once it is whole and on the disk.

    Whenever the process or the machine ends, `path` is what it was before or what was written.

    Args:
        needed: bytes that will be written, as far as they are known.
        advice: what to do where it cannot be written; by default what helps a training.
    Raises: InputError if it cannot be written, as on a full disk; `path` then stays as it was.
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        # torch.save tells of its own surprise, and the system's reason is behind it.
        reason = error if isinstance(error, OSError) else error.__context__
        if isinstance(error, (OSError, RuntimeError)) and isinstance(reason, OSError):
            raise _cannot_write(str(path), path.parent, reason, needed, advice) from error
        raise


def _cannot_write(
    what: str, folder: Path, error: OSError, needed: int = 0, advice: str = ""
) -> InputError:
    """The error of a file that could not be written, with the space it needs and there is."""
    need = f", for {_size(needed)}" if needed else ""
    with contextlib.suppress(OSError):
        need += f"; {_size(shutil.disk_usage(folder).free)} are free there"
    said = f"{what} cannot be written ({error.strerror or error}{need})"
    if advice:
        return InputError(f"{said}: {advice}")
    advice = "Make that possible"
    if error.errno in _NO_ROOM:
        advice = (
            "Make room, or keep fewer of them (SOLVER.CHECKPOINTS_KEPT, train.checkpoints_kept)"
        )
    return InputError(
        f"{said}. Checkpoints that were there before are whole. {advice}; --resume then goes on "
        "from the last one"
    )


def tell_full_disk(error: BaseException, folder: str | Path) -> None:
    """Raises: InputError if the error says that nothing more can be written, to any file there."""
    if isinstance(error, OSError) and error.errno in _FULL:
        if isinstance(error.__context__, InputError):  # which has told it of a checkpoint
            raise error.__context__
        what = str(error.filename or f"a file of {folder}")
        raise _cannot_write(what, Path(folder), error) from error


@contextlib.contextmanager
def full_disk_is_told(folder: str | Path) -> Iterator[None]:
    """As `tell_full_disk`, for all that is done within."""
    try:
        yield
    except OSError as error:
        tell_full_disk(error, folder)
        raise


def remove_partial(folder: str | Path) -> None:
    """Remove what a process that was killed while it wrote a checkpoint has left."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if _OURS.fullmatch(entry.name):
                os.unlink(entry.path)


def _sync_folder(folder: Path) -> None:
    """The rename, too, is on the disk; file systems that cannot sync folders do it themselves."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"

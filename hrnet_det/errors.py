"""Errors in what a user gave, and how a command tells any error: in one message."""

import difflib
import errno
import reprlib
import sys
import traceback
from collections.abc import Collection
from pathlib import Path

FAULT = "This is a fault of hrnet_det or of a library, not of your input: "
LESS_MEMORY = (
    "a smaller batch, SOLVER.GRADIENT_ACCUMULATION_STEPS, ACTIVATION_CHECKPOINTING and smaller "
    "images take less (hrnet-det plan)"
)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # what a print into a file says of a full disk
MOST = 500  # characters of the message of an unexpected error

_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 12
_SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 200, 60, 200


class InputError(ValueError):
    """A config, path or file that cannot be used; says what was given, allowed, and to do next."""


class MissingInputError(InputError, FileNotFoundError):
    """A file or folder that was named but is not there."""


class SetupError(RuntimeError):
    """Something that hrnet_det needs is not installed, or cannot be; says what to do next."""


def nearest(given: str, known: Collection[str]) -> list[str]:
    """The three known names that are most like the given one, as a whole or in the last part."""
    ends: dict[str, str] = {}
    for name in known:
        ends.setdefault(last_part(name), name)
    similar = difflib.get_close_matches(given, known, cutoff=0.5)
    similar += [ends[e] for e in difflib.get_close_matches(last_part(given), ends, cutoff=0.5)]
    return list(dict.fromkeys(similar))[:3]


def last_part(name: str) -> str:
    """Of a path or a key in parts: what comes after the last / or, without one, the last dot."""
    return name.rsplit("/", 1)[-1] if "/" in name else name.rsplit(".", 1)[-1]


def did_you_mean(given: str, known: Collection[str]) -> str:
    """For the end of a message: "; did you mean a or b?", "" where nothing is near."""
    near = nearest(given, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def shown(value: object) -> str:
    """A value as Python writes it, on one line and cut short."""
    return _SHORT.repr(value)


def tell(error: BaseException, *, debug: bool = False) -> int:
    """Print an error that ends a command, on standard error; returns the exit status.

    Status 2 is for what the user can change: input, and files that cannot be read or written.
    Anything else is a fault of the program, status 1, of which it is said where it is from.

    Args:
        debug: print the traceback before it, as --debug asks.
    """
    if debug:
        traceback.print_exception(error)
    print(f"error: {message(error)}", file=sys.stderr)
    return 2 if is_input(error) else 1


def is_input(error: BaseException) -> bool:
    """Whether a user can change what it is of: input, or a file that cannot be read or written."""
    return (
        isinstance(error, InputError)
        or getattr(error, "filename", None) is not None
        or getattr(error, "errno", None) in NO_ROOM
    )


def message(error: BaseException) -> str:
    """What is said of an error; of one that is not foreseen, where it is from."""
    if isinstance(error, (InputError, SetupError)):
        return str(error)
    reason = " ".join(str(error).split())[:MOST]
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or reason}"
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return f"{error.strerror}: make room where files and the command's own output are written"
    if isinstance(error, MemoryError) or "out of memory" in reason or "allocate memory" in reason:
        return f"the memory does not suffice ({reason or 'MemoryError'}): {LESS_MEMORY}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    log = getattr(error, "log", "")  # of a training
    where = f"{log} has" if log else "the same command with --debug shows"
    return f"{type(error).__name__}{place}: {reason}. {FAULT}{where} the traceback"

"""Errors in what a user gave: shown as one message, without a traceback, by the commands."""

import difflib
from collections.abc import Collection


class InputError(ValueError):
    """A config, path or file that cannot be used; says what was given, allowed, and to do next."""


class MissingInputError(InputError, FileNotFoundError):
    """A file or folder that was named but is not there."""


def nearest(given: str, known: Collection[str], most: int = 3) -> list[str]:
    """The known names that are most like the given one; first by the whole, then by the last part.

    Args:
        given: what a user typed. known: what would have been right. most: of them at most.
    """
    found = difflib.get_close_matches(given, known, n=most, cutoff=0.5)
    ends: dict[str, str] = {}
    for name in known:
        ends.setdefault(last_part(name), name)
    for end in difflib.get_close_matches(last_part(given), ends, n=most, cutoff=0.5):
        if ends[end] not in found:
            found.append(ends[end])
    return found[:most]


def last_part(name: str) -> str:
    """Of a path or a key in parts: what comes after the last / or, without one, the last dot."""
    return name.rsplit("/", 1)[-1] if "/" in name else name.rsplit(".", 1)[-1]


def did_you_mean(given: str, known: Collection[str]) -> str:
    """For the end of a message: "; did you mean a or b?", "" where nothing is near."""
    near = nearest(given, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""

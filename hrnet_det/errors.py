"""Errors in what a user gave: shown as one message, without a traceback, by the commands."""

import difflib
from collections.abc import Collection


class InputError(ValueError):
    """A config, path or file that cannot be used; says what was given, allowed, and to do next."""


class MissingInputError(InputError, FileNotFoundError):
    """A file or folder that was named but is not there."""


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

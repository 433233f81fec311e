"""What is known of a project's weights files, and how names of tensors become other names."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

BODY = "backbone.bottom_up."  # what our names of an HRNet's tensors start with
_PLACES = {
    "body": r"(?:conv[12]|bn[12]|layer1|transition\d+|stage\d+)\..+",
    "p": r"weight|bias",
    "n": r"\d+",
    "s": r"(?:\.\d+)?",
    "name": r".+",
}
# What tools leave in files of any project: patterns of names, and the reason to leave them out.
_IGNORED = (
    (r"(.+\.)?total_(ops|params)", "counts of a profiler"),
    (r"(.+\.)?anchor_generator\.cell_anchors\..+", "anchors follow from the config"),
    (r"pixel_(mean|std)", "pixel mean and deviation follow from the config"),
)
Names = Collection[str]
Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Format:
    """One project's weights files."""

    name: str  # a word, such as "mmdet"
    title: str  # for messages
    recognises: Callable[[Names], bool]  # whether a file is of this format
    # Pairs of patterns (its name, our name). {body} is a name inside HRNet, {p} weight or bias, {n}
    # a number, {s} the stage of a cascade or nothing, {name} any name; all else is literal. A name
    # that no rule matches is unknown.
    rules: Rules
    # What its detectors compute, a key of `conventions.CONVENTIONS`; "" where its files are of no
    # detector, or say so themselves.
    conventions: str = ""
    # KEY, VALUE, ... of a config: what else its detectors compute, where files of other formats
    # follow the same conventions.
    overrides: tuple[str, ...] = ()
    # Pairs of a pattern of names that are left out on purpose, and the reason.
    ignored: tuple[tuple[str, str], ...] = ()
    background_first: bool = False  # the background is the first class, here the last
    refuses: Callable[[Names], str] = lambda names: ""  # what a file is that cannot be loaded
    # What a .pth file has, from tensors by its names and what `convert.describe` knows of them;
    # None where `convert` does not write the format.
    wraps: Callable[[dict[str, Tensor], dict[str, Any]], dict[str, Any]] | None = None
    # Why it has no place for a detector, by our names; "" if it has.
    cannot_hold: Callable[[Names], str] = lambda names: ""

    def to_ours(self, name: str) -> str | None:
        """Our name of a tensor of theirs; None if no rule matches."""
        return _renamed(name, self.rules)

    def to_theirs(self, name: str) -> str | None:
        """Their name of a tensor of ours; None if they have none."""
        return _renamed(name, [(ours, theirs) for theirs, ours in self.rules])

    def reason_to_ignore(self, name: str) -> str | None:
        """Why a tensor is left out on purpose; None if it is not."""
        patterns = (*self.ignored, *_IGNORED)
        return next((why for what, why in patterns if re.fullmatch(what, name)), None)


def has(names: Names, *starts: str) -> bool:
    """Whether any of the names begins with one of these."""
    return any(name.startswith(starts) for name in names)


@cache
def _compiled(pattern: str) -> re.Pattern:
    escaped = re.escape(pattern)
    return re.compile(re.sub(r"\\{(\w+)\\}", lambda m: f"(?P<{m[1]}>{_PLACES[m[1]]})", escaped))


def _renamed(name: str, rules: Collection[tuple[str, str]]) -> str | None:
    for pattern, target in rules:
        if found := _compiled(pattern).fullmatch(name):
            return target.format(**found.groupdict())
    return None

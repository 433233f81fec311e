"""What is predicted on: files, folders, patterns, addresses, and standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.predict.sources.addresses import MOST_BYTES, is_address, name_in
from hrnet_det.predict.sources.file_types import (
    HEAD,
    IMAGE,
    OTHER,
    VIDEO,
    image_suffixes,
    kind_of_bytes,
    kind_of_file,
    stem_of,
)

STANDARD_INPUT = "-"  # the word for it
SHOWN = 3  # files that are left out, in the line about them


@dataclass(frozen=True)
class Source:
    """An image or a video.

    Attributes:
        kind: IMAGE or VIDEO.
        place: a file, an address, or the bytes that came by standard input.
        name: what messages and results call it: the path or address as it was given, or
            "standard input".
        below: where its drawing belongs below the output, without a suffix: its name, and its
            folders below the one that was named.
    """

    kind: str
    place: Path | str | bytes
    name: str
    below: Path


@dataclass
class Found:
    """Sources in order, each once, and what was left out of folders and patterns."""

    sources: dict[object, Source] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)  # neither images nor videos
    hidden: int = 0
    own: bool = False  # whether the folder for the output was among them

    def add(self, source: Source) -> None:
        place = source.place
        key = _entry(place) if isinstance(place, Path) else place
        self.sources.setdefault(key, source)

    @property
    def left_out(self) -> str:
        """In words what was left out, "" for nothing."""
        parts = []
        if self.others:
            names = ", ".join(path.name for path in self.others[:SHOWN])
            more = ", ..." if len(self.others) > SHOWN else ""
            are = "file that is" if len(self.others) == 1 else "files that are"
            parts.append(f"{len(self.others)} {are} neither image nor video ({names}{more})")
        if self.hidden:
            parts.append(f"{self.hidden} hidden {'entry' if self.hidden == 1 else 'entries'}")
        if self.own:
            parts.append("the folder that is written to")
        return " and ".join(parts)


def find_sources(
    words: Iterable[str | Path], *, output: Path, stdin: BinaryIO | None = None
) -> Found:
    """All images and videos that are named.

    Args:
        words: files, whatever their names end with; folders, with those inside them; patterns such
            as "images/**/*.jpg"; http:// and https:// addresses of images; "-" for standard input,
            an image or lines of these.
        output: of folders and patterns, what lies in this folder is left out.
    Raises: InputError if a folder, a pattern or standard input has none; MissingInputError if a
        file is not there.
    """
    found = Found()
    for word in words:
        if word == STANDARD_INPUT:
            _add_standard_input(found, stdin or _standard_input(), output)
        else:
            _add(found, str(word), output)
    return found


def _add(found: Found, word: str, output: Path) -> None:
    if is_address(word):
        return found.add(_of_address(word))
    path = Path(word)
    if not os.path.lexists(path) and word.startswith("~"):
        path = path.expanduser()
    if os.path.isfile(path):
        return found.add(_of_file(path, Path()))
    if os.path.isdir(path):
        return _add_folder(found, path, output)
    if os.path.exists(path):
        raise InputError(f"{path} is a device or a pipe: give {STANDARD_INPUT} for standard input")
    if glob.has_magic(word):
        return _add_pattern(found, str(path), output)
    raise MissingInputError(f"{word}: there is no such file or folder")


def _of_address(word: str) -> Source:
    try:
        return Source(IMAGE, word, word, Path(stem_of(name_in(word))))
    except ValueError as error:
        raise InputError(f"{word} is not a valid address ({error})") from error


def _of_file(path: Path, folder: Path, kind: str | None = None) -> Source:
    kind = kind or _kind(path) or IMAGE  # of a file that is named Pillow may know more
    return Source(kind, path, str(path), folder / stem_of(path.name))


def _kind(path: Path) -> str:
    try:
        return kind_of_file(path)
    except OSError:
        return IMAGE if path.suffix.lower() in image_suffixes() else OTHER


def _add_folder(found: Found, folder: Path, output: Path) -> None:
    before, inside = len(found.others), _Below(found, folder, output)
    for path in inside.files(folder):
        inside.add(path)
    if not inside.taken:
        others = len(found.others) - before
        more = f" ({others} other files)" if others else ""
        raise InputError(f"there are no images in the folder {folder}{more}")


def _add_pattern(found: Found, pattern: str, output: Path) -> None:
    """Files that a pattern matches, and those in the folders that it does."""
    parts = Path(pattern).parts
    fixed = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    inside = _Below(found, Path(*parts[:fixed]), output)
    for match in sorted(map(Path, glob.glob(pattern, recursive=True))):
        for path in inside.files(match) if match.is_dir() else (match,):
            inside.add(path)
    if not inside.taken:
        raise MissingInputError(f"{pattern} matches no image and no video")


class _Below:
    """What is taken from below a folder, and what is left out."""

    def __init__(self, found: Found, root: Path, output: Path) -> None:
        self.taken = 0
        self._found, self._root, self._seen = found, root, set()
        own = os.path.realpath(output)
        self._own = own if _is_below(own, os.path.realpath(root)) else None

    def files(self, folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
        """Files below a folder, sorted; a link to a folder above it is not followed."""
        real = os.path.realpath(folder)
        if real in above:
            return
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                self._found.hidden += 1
            elif not os.path.isdir(path):
                yield path
            elif os.path.realpath(path) == self._own:
                self._found.own = True
            else:
                yield from self.files(path, (*above, real))

    def add(self, path: Path) -> None:
        """Take a file if it is an image or a video."""
        if path in self._seen:  # a pattern matches a folder and what is in it
            return
        self._seen.add(path)
        if self._own and _is_below(os.path.realpath(path), self._own):
            self._found.own = True
        elif os.path.isfile(path) and (kind := _kind(path)):
            self.taken += 1
            self._found.add(_of_file(path, path.parent.relative_to(self._root), kind))
        else:
            self._found.others.append(path)


def _is_below(path: str, folder: str) -> bool:
    """Whether a path without links and dots leads into a folder."""
    return path.startswith(os.path.join(folder, ""))


def _standard_input() -> BinaryIO:
    """Raises: InputError if the command was started with standard input closed (<&-)."""
    if sys.stdin is None:
        raise InputError("standard input is closed: give an image, or lines of paths")
    return sys.stdin.buffer


def _add_standard_input(found: Found, stream: BinaryIO, output: Path) -> None:
    content = stream.read(MOST_BYTES + 1)
    if not content:
        raise InputError("standard input is empty: give an image, or lines of paths")
    if len(content) > MOST_BYTES:
        raise InputError(f"standard input has more than {MOST_BYTES / 2**20:g} MiB: name the file")
    kind = kind_of_bytes(content[:HEAD])
    if kind == VIDEO:
        raise InputError("standard input is a video: write it to a file, and name that")
    lines = _lines(content)
    if kind == IMAGE or not lines:
        found.add(Source(IMAGE, content, "standard input", Path("stdin")))
    for line in () if kind == IMAGE else lines:
        if line == STANDARD_INPUT:
            raise InputError(f"standard input has a line {line!r}: give paths or addresses")
        _add(found, line, output)


def _lines(content: bytes) -> Sequence[str]:
    """The lines of a text, or what lies between NUL characters (find -print0); else none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return ()
    parts = text.split("\0") if "\0" in text else text.splitlines()
    parts = [part for part in parts if part.strip()]
    return parts if all(part.isprintable() for part in parts) else ()


def _entry(path: Path) -> tuple[str, str]:
    """The same for all paths to an entry of a folder."""
    return os.path.realpath(path.parent), path.name

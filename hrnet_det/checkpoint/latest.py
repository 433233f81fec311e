"""The checkpoint of a folder that a run goes on from: the last one that can be read."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hrnet_det.checkpoint.finite import check_state, check_values
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.errors import InputError

logger = logging.getLogger("detectron2.hrnet_det")
LAST = "last_checkpoint"  # the file with the name of the one that was saved last
NUMBERED = re.compile(r"model_(\d{7,})\.pth")  # the iteration after which it was saved
UNNUMBERED = ("model_final.pth", "model_best.pth")


@dataclass(frozen=True)
class Latest:
    """The checkpoint to go on from, "" for none, and what was skipped to come to it, with why."""

    path: str = ""
    skipped: tuple[str, ...] = ()

    def tell(self) -> None:
        """Say what was skipped."""
        for reason in self.skipped:
            logger.warning("--resume skips what cannot be used: %s", reason)


def latest_checkpoint(folder: str | Path, *, allow_pickle: bool = False) -> Latest:
    """The checkpoint that last_checkpoint names, or where it cannot be read the one before it.

    All of a file is read, once in a process, to know whether it is damaged or has values that are
    not finite. After the one that last_checkpoint names come the others of the folder, from the
    last iteration to the first.

    Args:
        folder: OUTPUT_DIR, which need not be there.
        allow_pickle: permit files that run code when they are loaded.
    """
    folder, skipped = Path(folder), []
    for path in _candidates(folder, skipped, allow_pickle):
        reason = _state(path, allow_pickle).damage
        if not reason:
            return Latest(str(path), tuple(skipped))
        skipped.append(reason)
    return Latest("", tuple(skipped))


def numbered_checkpoints(folder: str | Path) -> list[Path]:
    """Those named after their iteration, from the first to the last."""
    found = {}
    for path in Path(folder).glob("model_*.pth"):
        if name := NUMBERED.fullmatch(path.name):
            found[int(name[1]), path.name] = path
    return [found[key] for key in sorted(found)]


def remove_earlier(path: Path, kept: int) -> None:
    """Leave of the numbered checkpoints up to this one only so many last ones.

    It goes by the files of the folder, so it goes on in a run that is resumed.
    """
    numbered = numbered_checkpoints(path.parent)
    if path in numbered:
        for earlier in numbered[: max(0, numbered.index(path) + 1 - kept)]:
            earlier.unlink(missing_ok=True)
            logger.info("Removed %s: the last %d are kept", earlier, kept)


def iteration_of(path: Path, *, allow_pickle: bool = False) -> int:
    """The last iteration that is in a checkpoint; -1 if it does not say, or cannot be read."""
    return _state(path, allow_pickle).iteration


def _candidates(folder: Path, skipped: list[str], allow_pickle: bool) -> Iterator[Path]:
    """In the order in which they are tried; a last_checkpoint that names none is skipped."""
    named = None
    if (folder / LAST).is_file():
        named = _named(folder / LAST)
        if named is None:
            skipped.append(f"{folder / LAST} names no file of its folder")
        else:
            yield named
    others = {path: int(NUMBERED.fullmatch(path.name)[1]) for path in numbered_checkpoints(folder)}
    for path in map(folder.joinpath, UNNUMBERED):
        if path.is_file():
            others[path] = iteration_of(path, allow_pickle=allow_pickle)
    others.pop(named, None)
    yield from sorted(others, key=others.get, reverse=True)


def _named(last: Path) -> Path | None:
    """The file that last_checkpoint names, which lies beside it; None if there is none."""
    try:
        with last.open("rb") as file:
            name = file.read(1000).decode("utf-8", "replace").strip()
    except OSError:
        return None
    # Beside it: no path leads out of the folder.
    inside = name.isprintable() and name == os.path.basename(name)
    return last.with_name(name) if inside and os.path.isfile(last.parent / name) else None


@dataclass(frozen=True)
class _State:
    damage: str  # why it cannot be read; "" if it can
    iteration: int = -1


def _state(path: Path, allow_pickle: bool) -> _State:
    try:
        found = path.stat()
    except OSError as error:
        return _State(f"{path} cannot be read: {error.strerror}")
    return _read(str(path), allow_pickle, (found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=256)
def _read(path: str, allow_pickle: bool, _: tuple[int, ...]) -> _State:
    """The state of a file; as long as it is not written again, it is read once."""
    try:
        file = read_weights(path, allow_pickle=allow_pickle)
        check_values(file.weights, path)
        check_state(file.rest, path)
    except (InputError, OSError) as error:
        return _State(" ".join(str(error).split()))
    iteration = file.rest.get("iteration")
    return _State("", iteration if isinstance(iteration, int) else -1)

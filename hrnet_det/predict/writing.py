"""Files of results that are whole at any time, and one error where one cannot be written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hrnet_det.errors import InputError


@contextlib.contextmanager
def said_of(path: Path) -> Iterator[None]:
    """Within, a file is written. Raises: InputError if it cannot be, as on a full disk."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be written ({reason}). What was done before is there; make room, or "
            "give another folder (--output)"
        ) from error


class JsonList:
    """A file with a list of objects, each on a line, which is valid JSON after each `add`.

    Raises: InputError if it cannot be written; what was added before stays valid.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with said_of(path):
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by close)
        self._end, self._between = 1, b"\n"  # where the next one is put, and what before it
        self._put(b"[]", 0)

    def add(self, rows: Iterable[Mapping]) -> None:
        lines = [json.dumps(row).encode() for row in rows]
        if lines:
            content = self._between + b",\n".join(lines)
            self._put(content + b"\n]", self._end)
            self._end, self._between = self._end + len(content), b",\n"

    def _put(self, content: bytes, place: int) -> None:
        try:
            with said_of(self.path):
                self._file.seek(place)
                while content:
                    content = content[self._file.write(content) :]
                self._file.truncate()
        except InputError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
                self._file.seek(self._end)
                self._file.write(b"]")
            raise

    def close(self) -> None:
        self._file.close()

"""Archives of records, which TorchScript's and torch.export's files are."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

EXTRA = "extra/hrnet_det.json"  # what a file says of itself; "hrnet_det.json" for torch
# Which torch adds by itself to every archive.
_ADDED = ("version", ".data/version", ".data/serialization_id")


class Archive:
    """The records of a file, by torch's own reader, so that what is checked is what it loads.

    Raises: RuntimeError if the file is no such archive.
    """

    def __init__(self, path: Path) -> None:
        self._reader = torch._C.PyTorchFileReader(str(path))
        self.names: list[str] = self._reader.get_all_records()

    def __getitem__(self, name: str) -> bytes:
        return self._reader.get_record(name)


def save(path: Path, write: Callable[[io.BytesIO], object]) -> None:
    """Write a file by way of memory: where a disk is full, torch's own writer ends the process.

    Raises: OSError if it cannot be written.
    """
    content = io.BytesIO()
    write(content)
    path.write_bytes(content.getbuffer())


def rewrite(
    path: Path, changed: Mapping[str, bytes], *, left_out: Callable[[str], bool] = lambda _: False
) -> None:
    """The same file with other contents of some records, which may be new, and without others."""
    archive, new = Archive(path), path.with_name(f"{path.stem}.new{path.suffix}")

    def write(content: io.BytesIO) -> None:
        writer = torch._C.PyTorchFileWriter(content)
        for name in archive.names:
            if name not in (*changed, *_ADDED) and not left_out(name):
                record = archive[name]
                writer.write_record(name, record, len(record))
        for name, record in changed.items():
            writer.write_record(name, record, len(record))
        writer.write_end_of_file()

    save(new, write)
    os.replace(new, path)

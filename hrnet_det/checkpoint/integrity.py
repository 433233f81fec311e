"""Whether a file's bytes are still those that were written."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, uint8

from hrnet_det.errors import InputError

DIGEST_KEY = "sha256"
# What zipfile raises for the archives of others, of which the name is no promise.
_NO_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)
_NO_ZIP += (OSError, LookupError, ArithmeticError, MemoryError)


def check_zip(path: Path) -> None:
    """Compare the records of a file of torch.save with their CRC32, which torch.load does not.

    Files from before torch 1.6, which are no archives, have none; nor have those written with
    torch.serialization.set_crc32_options(False), where all of them are 0.

    Raises: InputError if a record is not what was written, or the records are larger than the
        file: torch.save does not compress them.
    """
    if not zipfile.is_zipfile(path):  # older, or cut off: torch.load tells
        return
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            unpacked, size = sum(record.file_size for record in records), path.stat().st_size
            if unpacked > size:
                raise InputError(
                    f"{path} is not a file of torch.save: its {size} bytes would unpack to "
                    f"{unpacked}"
                )
            damaged = archive.testzip() if any(record.CRC for record in records) else None
    except _NO_ZIP as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {error}") from error
    if damaged:
        raise InputError(
            f"{path} is damaged: its record {damaged} is not what was written (CRC32). Copy or "
            "fetch the file again"
        )


def digest_of(weights: Mapping[str, Tensor], metadata: Mapping) -> str:
    """SHA-256 of named tensors and of what is said of them, as 64 hexadecimal digits."""
    said = {key: value for key, value in metadata.items() if key != DIGEST_KEY}
    found = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        found.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(uint8).numpy())
    return found.hexdigest()


def check_digest(path: Path, weights: Mapping[str, Tensor], metadata: Mapping) -> None:
    """Raises: InputError if the metadata has a digest, and these are not what it is of."""
    expected = metadata.get(DIGEST_KEY)
    if expected is not None and digest_of(weights, metadata) != expected:
        raise InputError(
            f"{path} is damaged: its tensors and metadata are not what was written (SHA-256). Copy "
            "or fetch the file again"
        )

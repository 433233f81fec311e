"""Bytes that are no longer those that were written are found when a file is read."""

import json
import zipfile

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hrnet_det.checkpoint.export import write_safetensors
from hrnet_det.checkpoint.integrity import digest_of
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.errors import InputError

WEIGHTS = {
    "b": torch.arange(300.0).reshape(3, 100),
    "a": torch.tensor(7, dtype=torch.int64),
    "half": torch.ones(5, dtype=torch.bfloat16),
}
METADATA = {"classes": ["cat", "dog"], "metrics": {"bbox": {"AP": 41.25}}}


def refusal(path, **options):
    with pytest.raises(InputError) as error:
        read_weights(path, **options)
    return str(error.value)


def inverted(path, start, count=1):
    """Invert some bytes of a file in place."""
    content = bytearray(path.read_bytes())
    content[start : start + count] = bytes(255 - byte for byte in content[start : start + count])
    path.write_bytes(content)


def records(path):
    """{name: place of the first byte, bytes} of the records of a zip file."""
    places = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            with archive.open(info) as record:
                places[info.filename] = (record._orig_compress_start, info.file_size)
    return places


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_an_inverted_byte_in_any_record_of_torch_save(tmp_path, allow_pickle):
    path = tmp_path / "a.pth"
    torch.save({"model": WEIGHTS, "iteration": 3}, path)
    whole = path.read_bytes()
    places = records(path)
    assert sum(name.startswith("a/data/") for name in places) == len(WEIGHTS)
    for name, (start, size) in places.items():
        inverted(path, start + size // 2)
        said = refusal(path, allow_pickle=allow_pickle)
        assert said == (
            f"{path} is damaged: its record {name} is not what was written (CRC32). Copy or fetch "
            "the file again"
        )
        path.write_bytes(whole)
    assert torch.equal(read_weights(path).weights["b"], WEIGHTS["b"])


def test_inverted_bytes_in_the_middle_of_a_checkpoint(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"model": {"w": torch.zeros(5000)}}, path)
    inverted(path, path.stat().st_size // 2, 64)
    taken = torch.load(path, weights_only=True)["model"]["w"]  # by torch, without a word
    assert not torch.equal(taken, torch.zeros(5000))
    assert "its record a/data/0 is not what was written" in refusal(path)


def test_files_without_checksums_are_read(tmp_path):
    path, old = tmp_path / "a.pth", tmp_path / "old.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(WEIGHTS, path)
    finally:
        torch.serialization.set_crc32_options(True)
    torch.save(WEIGHTS, old, _use_new_zipfile_serialization=False)
    for file in (path, old):
        assert list(read_weights(file).weights) == list(WEIGHTS)


def test_an_archive_that_unpacks_to_more_than_itself(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10**7))
    size = path.stat().st_size
    assert refusal(path) == (
        f"{path} is not a file of torch.save: its {size} bytes would unpack to 10000000"
    )


def test_an_archive_with_a_damaged_directory(tmp_path):
    path = tmp_path / "a.pth"
    torch.save(WEIGHTS, path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PK\x01\x02", b"PK\x00\x00"))
    assert refusal(path).startswith(f"{path} is damaged: ")


# --- safetensors ---


def test_the_digest_is_of_names_types_shapes_values_and_metadata():
    found = {digest_of(WEIGHTS, METADATA)}
    changes = [
        (WEIGHTS | {"b": WEIGHTS["b"] + 1}, METADATA),
        (WEIGHTS | {"b": WEIGHTS["b"].reshape(100, 3)}, METADATA),
        (WEIGHTS | {"b": WEIGHTS["b"].view(torch.int32)}, METADATA),
        ({{"a": "c"}.get(name, name): t for name, t in WEIGHTS.items()}, METADATA),
        (WEIGHTS, METADATA | {"classes": ["dog", "cat"]}),
    ]
    found |= {digest_of(*change) for change in changes}
    assert len(found) == 6 and all(len(digest) == 64 for digest in found)
    turned = dict(reversed(WEIGHTS.items())) | {"b": WEIGHTS["b"].t().contiguous().t()}
    assert digest_of(turned, METADATA | {"sha256": "0"}) in found  # neither order nor strides


def test_our_safetensors_have_a_digest_that_is_compared(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, WEIGHTS, METADATA)
    read = read_weights(path)
    assert read.classes == ["cat", "dog"] and read.metadata["metrics"] == METADATA["metrics"]
    assert {n: t.dtype for n, t in read.weights.items()} == {n: t.dtype for n, t in WEIGHTS.items()}
    assert all(torch.equal(tensor, WEIGHTS[name]) for name, tensor in read.weights.items())
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["hrnet_det"])["sha256"] == digest_of(WEIGHTS, METADATA)
    whole = path.read_bytes()
    for start in (len(whole) - 1, len(whole) - 700, whole.index(b"cat")):
        content = bytearray(whole)
        content[start] ^= 1
        path.write_bytes(content)
        assert refusal(path) == (
            f"{path} is damaged: its tensors and metadata are not what was written (SHA-256). Copy "
            "or fetch the file again"
        )


def test_safetensors_of_others_have_none(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(WEIGHTS, path, {"format": "pt"})
    assert torch.equal(read_weights(path).weights["b"], WEIGHTS["b"])

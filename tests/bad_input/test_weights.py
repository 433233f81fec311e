"""Files that are no weights, or weights of nothing that can be computed with."""

import json
import math
import pickle
import struct
import zipfile
from functools import cache

import pytest
import torch
from helpers.refusals import refusal

from hrnet_det import HRNet
from hrnet_det.checkpoint import Checkpointer
from hrnet_det.checkpoint.addresses import find_weights
from hrnet_det.checkpoint.io import read_weights


def safetensors(header, body=b"", length=None):
    """A file with a header, of bytes or of what becomes JSON, that says it is so long."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def tensor(*offsets, dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


# Bytes of a .safetensors file, and what is said.
HEADERS = {
    "a length of 2^63": (safetensors({}, length=2**63), "no whole safetensors file"),
    "a length of 2^64 - 1": (safetensors({"a": tensor(0, 4)}, length=2**64 - 1), "no whole"),
    "a length beyond the file": (safetensors({"a": tensor(0, 4)}, length=10_000), "no whole"),
    "a length of 0": (safetensors(b"", length=0), "no whole"),
    "a header that is cut": (safetensors(b'{"a": {"dtype": "F32"'), "no whole"),
    "a header that is a list": (safetensors([1]), "no whole"),
    "a header that is no JSON": (safetensors(b"{hello}"), "no whole"),
    "a header that is no text": (safetensors(b"{\xff\xfe}"), "no whole"),
    "a header 50,000 deep": (safetensors(b'{"a":' * 50_000), "no whole"),
    "overlapping tensors": (
        safetensors({"a": tensor(0, 4), "b": tensor(0, 4)}, b"\0" * 4), "no whole"),
    "a gap between tensors": (
        safetensors({"a": tensor(0, 4), "b": tensor(8, 12)}, b"\0" * 12), "no whole"),
    "offsets beyond the file": (safetensors({"a": tensor(0, 400, shape=(100,))}), "no whole"),
    "offsets that fall": (safetensors({"a": tensor(4, 0)}, b"\0" * 4), "no whole"),
    "negative offsets": (safetensors({"a": tensor(-4, 0)}, b"\0" * 4), "no whole"),
    "a negative side": (safetensors({"a": tensor(0, 4, shape=(-1,))}, b"\0" * 4), "no whole"),
    "a shape that is too large": (
        safetensors({"a": tensor(0, 4, shape=(2**40, 2**40))}, b"\0" * 4), "no whole"),
    "an unknown type": (safetensors({"a": tensor(0, 4, dtype="X9")}, b"\0" * 4), "no whole"),
    "no offsets": (safetensors({"a": {"dtype": "F32", "shape": [1]}}, b"\0" * 4), "no whole"),
    "metadata that is a number": (safetensors({"__metadata__": 3}), "no whole"),
    "metadata that is no JSON": (
        safetensors({"__metadata__": {"hrnet_det": "{"}, "a": tensor(0, 4)}, b"\0" * 4),
        "its header's hrnet_det is not valid JSON"),
    "no tensor": (safetensors({}), "a state_dict without a tensor"),
}  # fmt: skip


def zip_of(path, *entries, compressed=False):
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, raw in entries:
            archive.writestr(name, raw)


def half(path):
    torch.save({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def inverted(path):
    torch.save({"a": torch.ones(10_000)}, path)
    raw = bytearray(path.read_bytes())
    raw[20_000:20_064] = bytes(255 - byte for byte in raw[20_000:20_064])
    path.write_bytes(raw)


def saved(content):
    return lambda path: torch.save(content, path)


def written(raw):
    return lambda path: path.write_bytes(raw)


# What writes a .pth file, and what is said.
FILES = {
    "empty": (written(b""), "an empty file"),
    "one byte": (written(b"\x80"), "cannot be read as plain tensors"),
    "text": (written(b"hello"), "cannot be read as plain tensors"),
    "an HTML page": (written(b"<!DOCTYPE html><html>"), "an HTML page"),
    "a JSON": (written(b'{"a": 1}'), "a JSON file"),
    "a JPEG": (written(b"\xff\xd8\xff\xe0" + b"\0" * 100), "a JPEG image"),
    "a gzip archive": (written(b"\x1f\x8b\x08" + b"\0" * 100), "a gzip archive"),
    "an LFS pointer": (written(b"version https://git-lfs.github.com/spec/v1\n"), "a Git LFS"),
    "NUL bytes": (written(b"\0" * 1000), "cannot be read as plain tensors"),
    "a half": (half, ""),
    "64 inverted bytes": (inverted, ""),
    "an empty zip": (zip_of, ""),
    "a zip of a text": (lambda path: zip_of(path, ("a.txt", b"hello")), ""),
    "a zip without an end": (written(b"PK\x03\x04" + b"\0" * 500), ""),
    "a zip bomb": (
        lambda path: zip_of(path, ("a/data.pkl", b"\0" * 2**26), compressed=True), ""),
    "a pickle that is cut": (written(pickle.dumps({"a": [1] * 1000})[:100]), "cannot be read as"),
    "a pickle 50,000 deep": (written(b"\x80\x02" + b"(" * 50_000 + b"."), "cannot be read as"),
    "a pickle that calls": (written(b"\x80\x02cos\nsystem\n(S'true'\ntR."), "it holds os.system"),
    "a pickle that is long": (written(b"\x80\x04\x8e" + b"\xff" * 8), "cannot be read as plain"),
    "a list": (saved([1, 2]), "no dictionary of tensors, but a list"),
    "a number": (saved(3), "no dictionary of tensors, but a int"),
    "a tensor": (saved(torch.ones(2)), "no dictionary of tensors, but a Tensor"),
    "an empty dictionary": (saved({}), "a state_dict without a tensor"),
    "a dictionary of none": (saved({"model": {}}), "a state_dict without a tensor"),
    "scalars": (saved({"a": 1.0, "b": 2}), "2 of its 2 entries are no named tensors"),
    "numbers as names": (saved({1: torch.ones(1)}), "1 of its 1 entries are no named tensors"),
    "null": (saved({"model": None}), "1 of its 1 entries are no named tensors"),
}  # fmt: skip
NAME = "conv1.weight"
# Makes of the first layer's weights others, and what is said.
TENSORS = {
    "NaN": (lambda w: w.fill_(math.nan), "of 1728 values 1728 are NaN and 0 infinite"),
    "one NaN": (lambda w: w.put_(torch.tensor(5), torch.tensor(math.nan)), "1 are NaN"),
    "infinity": (lambda w: w.fill_(math.inf), "0 are NaN and 1728 infinite"),
    "whole numbers": (lambda w: w.long(), "int64, not floating-point numbers"),
    "truth values": (lambda w: w > 0, "bool, not floating-point numbers"),
    "complex numbers": (lambda w: w.to(torch.complex64), "complex64, not floating-point numbers"),
    "sparse": (lambda w: w.to_sparse(), "sparse_coo, not dense numbers"),
    "no values": (lambda w: w.to("meta"), "meta, not dense numbers"),
    "a scalar": (lambda w: w.sum(), "mismatched"),
    "another shape": (lambda w: w[:, :1], "mismatched"),
    "no numbers at all": (lambda w: w[:0], "mismatched"),
}  # fmt: skip
# Names of no file, and what is said.
PLACES = {
    "a folder": (".", "is a folder"),
    "nothing": ("no.pth", "are not there"),
    "NUL": ("a\0b.pth", "are not there"),
    "5,000 letters": ("x" * 5000, "are not there"),
    "a device": ("/dev/null", "are not there"),
    "an address of an unknown kind": ("x://y", "nothing here fetches x://"),
    "half an address": ("hf://a", "write hf://ORGANISATION/REPOSITORY/FILE"),
    "a name without a tag": ("timm://x", "have no tag"),
    "an address that nobody answers": ("https://127.0.0.1:1/x.pth", "cannot be fetched"),
}
TABLE = {
    **HEADERS,
    **FILES,
    **TENSORS,
    **PLACES,
    "a loop of links": None,
    "a tensor too many": None,
}


def said_of(path):
    message = refusal(read_weights, path)
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_safetensors(name, tmp_path):
    raw, said = HEADERS[name]
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw)
    assert said in said_of(path)


@pytest.mark.parametrize("name", FILES)
def test_files(name, tmp_path):
    write, said = FILES[name]
    write(tmp_path / "a.pth")
    assert said in said_of(tmp_path / "a.pth")


@cache
def network():
    torch.manual_seed(0)
    return HRNet(variant="w18_small_v1")


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name, tmp_path):
    change, said = TENSORS[name]
    weights = {name: value.clone() for name, value in network().state_dict().items()}
    weights[NAME] = change(weights[NAME])
    path = tmp_path / "a.pth"
    torch.save(weights, path)
    message = refusal(Checkpointer(network()).load, str(path))
    assert str(path) in message and NAME in message and said in message
    assert torch.isfinite(network().conv1.weight).all()  # the model is as it was


def test_a_tensor_too_many(tmp_path):
    """A part that the network does not have at all is left out, and said; a layer is an error."""
    path = tmp_path / "a.pth"
    torch.save(network().state_dict() | {"stage2.0.extra.weight": torch.ones(3)}, path)
    message = refusal(Checkpointer(network()).load, str(path))
    assert "1 unexpected" in message and "stage2.0.extra.weight" in message


@pytest.mark.parametrize("name", PLACES)
def test_places(name):
    given, said = PLACES[name]
    message = refusal(find_weights, given)
    assert message.startswith(f"weights {given}") and said in message


def test_a_loop_of_links(tmp_path):
    (tmp_path / "a.pth").symlink_to("b.pth")
    (tmp_path / "b.pth").symlink_to("a.pth")
    assert refusal(find_weights, str(tmp_path / "a.pth")).endswith("those that are published)")

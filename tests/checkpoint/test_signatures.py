"""Files that are no weights are called what they are."""

import io
import json
import struct

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.signatures import kind_of_file
from hrnet_det.cli import main
from hrnet_det.errors import InputError


def image(format):
    written = io.BytesIO()
    Image.new("RGB", (4, 3)).save(written, format)
    return written.getvalue()


FILES = {
    "a.png": (image("PNG"), "a PNG image"),
    "weights.pth": (image("JPEG"), "a JPEG image"),  # whatever its name is
    "a.gif": (image("GIF"), "a GIF image"),
    "a.bmp": (image("BMP"), "a BMP image"),
    "a.tif": (image("TIFF"), "a TIFF image"),
    "a.json": (json.dumps({"images": []}).encode(), "a JSON file"),
    "b.pth": (b'[\n\n\n\n\n\n{"id": 1}]', "a JSON file"),
    "a.yaml": (b"MODEL:\n  DEVICE: cpu\n", "a YAML file"),
    "a.txt": (b"notes", "a text file"),
    "c.pth": (b"", "an empty file"),
    "d.pth": (
        b"<!DOCTYPE html><html>",
        "an HTML page, maybe of a download that wants a login or a click",
    ),
    "e.pth": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "a Git LFS pointer, which stands for the file: git lfs pull",
    ),
    "f.pth": (b"\x1f\x8b\x08\x00", "a gzip archive"),
}


@pytest.mark.parametrize("allow_pickle", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_other_files_are_named(tmp_path, name, allow_pickle):
    path = tmp_path / name
    content, kind = FILES[name]
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_weights(path, allow_pickle=allow_pickle)
    assert str(error.value) == (
        f"{path} is not a file of weights but {kind}: name a .pth, .pkl or .safetensors file"
    )


@pytest.mark.parametrize("length", [*struct.unpack("<HH", b"BM\x1f\x8b")])
def test_a_safetensors_file_whose_header_is_as_long_as_a_signature(tmp_path, length):
    """The file begins with this length: 19778 and 35615 are the bytes of BMP and gzip."""
    path, weights = tmp_path / "a.safetensors", {"a": torch.ones(2)}
    save_file(weights, path, {"filler": ""})
    (header,) = struct.unpack("<Q", path.read_bytes()[:8])
    for filler in range(length - header - 8, length - header + 9):
        save_file(weights, path, {"filler": "x" * filler})
        if struct.unpack("<Q", path.read_bytes()[:8])[0] == length:
            break
    content = path.read_bytes()
    found = length.to_bytes(2, "little")
    if content[:2] != found:  # headers are padded to 8 bytes: pad this one by hand
        (header,) = struct.unpack("<Q", content[:8])
        padded = content[8 : 8 + header].ljust(length)
        content = struct.pack("<Q", length) + padded + content[8 + header :]
        path.write_bytes(content)
    assert path.read_bytes()[:2] == found and kind_of_file(path) == ""


def test_a_command_says_it_in_one_line(tmp_path, capsys):
    path = tmp_path / "image.png"
    path.write_bytes(image("PNG"))
    assert main(["predict", str(path), str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path} is not a file of weights but a PNG image")
    assert "pickle" not in said

"""Files that are no weights, told by how they begin."""

from __future__ import annotations

from pathlib import Path

_SIGNATURES = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer, which stands for the file: git lfs pull"),
    (b"<!doctype", "an HTML page, maybe of a download that wants a login or a click"),
    (b"<html", "an HTML page, maybe of a download that wants a login or a click"),
    (b"<?xml", "an XML file"),
)
_TEXTS = {".json": "a JSON file", ".yaml": "a YAML file", ".yml": "a YAML file"}


# Of exported detectors, by their suffix; an .xml is a text, of which its first bytes tell.
_PROGRAMS = (".onnx", ".torchscript", ".pt2")


def kind_of_file(path: Path) -> str:
    """What a file is that holds no weights, with an article; "" if it may hold some."""
    if kind := signature_of(path):
        return kind
    exported = "an exported detector, whose weights cannot be taken out again"
    return exported if path.suffix.lower() in _PROGRAMS else ""


def signature_of(path: Path) -> str:
    """The same, told by how the file begins alone."""
    with path.open("rb") as file:
        start = file.read(4096)
    if not start:
        return "an empty file"
    if start[4:9] == b"\0\0\0\0{":  # safetensors: the length of its header, and the header
        return ""
    for signature, kind in _SIGNATURES:
        if start.lstrip().lower().startswith(signature.lower()):
            return kind
    text = _is_text(start)
    if text and start.lstrip()[:1] in (b"{", b"["):
        return "a JSON file"
    if text and path.suffix in (*_TEXTS, ".py", ".txt", ".md", ".csv", ".log"):
        return _TEXTS.get(path.suffix, "a text file")
    return ""


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r" for byte in start)

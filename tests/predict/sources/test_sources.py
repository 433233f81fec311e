"""What is predicted on: which files of what is named, in which order, drawn where."""

import io
import os
from pathlib import Path

import pytest
from helpers.finds import noise
from PIL import Image

from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.predict.names import LONGEST, drawing_names
from hrnet_det.predict.sources.file_types import kind_of_file
from hrnet_det.predict.sources.find import find_sources

MP4 = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41"


def content(kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(noise()).save(file, kind)
    return file.getvalue()


@pytest.fixture
def tree(tmp_path):
    """Images in folders of folders, with what else is found there."""
    root = tmp_path / "images"
    for name, kind in (
        *(("b.jpg", "JPEG"), ("a/x.png", "PNG"), ("b/x.png", "PNG"), ("b/c/scan", "TIFF")),
        *((".hidden.png", "PNG"), (".cache/y.png", "PNG"), ("out/b.png", "PNG")),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(kind))
    (root / "notes.txt").write_text("no image")
    (root / "a" / "labels.json").write_text("{}")
    (root / "b" / "walk").write_bytes(MP4)
    return root


def names(found, root):
    return [os.path.relpath(source.name, root) for source in found.sources.values()]


def drawn(found):
    return [str(name) for name in drawing_names(list(found.sources.values()))]


def test_a_folder_with_those_inside_it(tree):
    found = find_sources([tree], output=tree / "out")
    assert names(found, tree) == ["a/x.png", "b/c/scan", "b/walk", "b/x.png", "b.jpg"]
    assert [source.kind for source in found.sources.values()] == [
        *("image", "image", "video", "image", "image")
    ]
    assert drawn(found) == ["a/x.png", "b/c/scan.png", "b/walk.mp4", "b/x.png", "b.png"]
    assert found.left_out == (
        "2 files that are neither image nor video (labels.json, notes.txt) and 2 hidden entries "
        "and the folder that is written to"
    )


def test_an_output_elsewhere_hides_nothing(tree):
    found = find_sources([tree / "out"], output=tree / "out")
    assert names(found, tree) == ["out/b.png"] and found.left_out == ""
    assert len(find_sources([tree], output=tree).sources) == 6


def test_an_image_that_is_named_twice_is_one(tree, monkeypatch):
    monkeypatch.chdir(tree)
    found = find_sources(
        ["b.jpg", "./b.jpg", tree / "a" / ".." / "b.jpg", "b", "b/x.png", "b/*.png"], output="out"
    )
    assert [source.name for source in found.sources.values()] == [
        *("b.jpg", "b/c/scan", "b/walk", "b/x.png")
    ]


def test_folders_that_lead_back_to_themselves(tree):
    (tree / "a" / "again").symlink_to(tree)
    (tree / "link").symlink_to(tree / "a")
    found = find_sources([tree], output=tree / "out")
    assert names(found, tree) == ["a/x.png", "b/c/scan", "b/walk", "b/x.png", "b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "taken", "places"),
    [
        ("*.jpg", ["b.jpg"], ["b.png"]),
        ("*/x.png", ["a/x.png", "b/x.png"], ["a/x.png", "b/x.png"]),
        (
            "**/*",
            ["a/x.png", "b/c/scan", "b/walk", "b/x.png", "b.jpg"],
            ["a/x.png", "b/c/scan.png", "b/walk.mp4", "b/x.png", "b.png"],
        ),
        ("[b]/c", ["b/c/scan"], ["b/c/scan.png"]),
    ],
)
def test_patterns(tree, pattern, taken, places):
    found = find_sources([f"{tree}/{pattern}"], output=tree / "out")
    assert sorted(names(found, tree)) == sorted(taken)
    assert sorted(drawn(found)) == sorted(places)


def test_a_file_may_look_like_a_pattern(tree):
    path = tree / "shelf[1].png"
    path.write_bytes(content())
    assert names(find_sources([path], output=tree / "out"), tree) == ["shelf[1].png"]


def test_equal_names_get_numbers(tree):
    words = [tree / "a" / "x.png", tree / "b" / "x.png", tree / "b" / "c", tree / "a"]
    (tree / "a" / "X_2.webp").write_bytes(content("WEBP"))
    assert drawn(find_sources(words, output=tree / "out")) == [
        *("x.png", "x_2.png", "scan.png", "X_2_2.png")
    ]


def test_files_folders_and_results_do_not_share_a_name(tree):
    for name in ("predictions.json/z.png", "Crops/z.png", "b.png/z.png", "b/walk.jsonl/z.png"):
        (tree / name).parent.mkdir()
        (tree / name).write_bytes(content())
    found = find_sources([tree], output=tree / "out")
    names = drawing_names(list(found.sources.values()), reserved=("predictions.json", "crops"))
    assert sorted(map(str, names)) == sorted(
        [
            *("predictions.json_2/z.png", "Crops_2/z.png", "b.png/z.png", "b/walk.jsonl/z.png"),
            *("a/x.png", "b/c/scan.png", "b/walk_2.mp4", "b/x.png", "b_2.png"),
        ]
    )


def test_long_names_are_cut(tree):
    for name in ("x" * 250 + ".png", "x" * 251 + ".png", "\u00fc" * 127):
        (tree / "a" / name).write_bytes(content())
    found = find_sources([tree / "a"], output=tree / "out")
    cut = "x" * LONGEST
    assert drawn(found) == [
        "x.png",
        f"{cut}.png",
        f"{cut}_2.png",
        "\u00fc" * (LONGEST // 2) + ".png",
    ]


@pytest.mark.parametrize(
    ("file", "name"), [("street.JPG", "street"), ("scan.v2", "scan.v2"), ("plain", "plain")]
)
def test_only_the_suffix_of_an_image_is_cut_off(tmp_path, file, name):
    (tmp_path / file).write_bytes(content())
    assert drawn(find_sources([tmp_path / file], output="out")) == [f"{name}.png"]


@pytest.mark.parametrize(
    ("start", "name", "kind"),
    [
        (content("JPEG"), "x", "image"),
        (content("BMP"), "x", "image"),
        (content("WEBP"), "x.txt", "image"),
        (content("AVIF"), "x", "image"),
        (b"\0\0\0\x18ftypheic", "x", "image"),
        (MP4, "x.png", "video"),
        (b"\x1aE\xdf\xa3", "x", "video"),
        (b"RIFF\0\0\0\0AVI LIST", "x", "video"),
        ((b"G" + bytes(187)) * 2, "x", "video"),
        (b"anything", "x.MOV", "video"),
        (b"damaged", "x.jpeg", "image"),
        (b"RIFF\0\0\0\0WAVEfmt ", "x.wav", ""),
        (b"\0\0\0\x20ftypM4A ", "x.m4a", ""),
        (b"BM is a car", "x", ""),
        (b"\x89HDF", "x.h5", ""),
        (b"%!PS", "x.eps", ""),
        (b"", "x", ""),
    ],
)
def test_what_a_file_is(tmp_path, start, name, kind):
    (tmp_path / name).write_bytes(start)
    assert kind_of_file(tmp_path / name) == kind


def test_addresses():
    words = [
        *("https://example.org/a/street%20one.jpg?size=large", "HTTP://example.org/"),
        *("https://example.org/b/street one.jpg", "https://example.org/../..%2F..%2Fetc"),
    ]
    found = find_sources([*words, words[0]], output="out")
    assert [source.place for source in found.sources.values()] == words
    assert drawn(found) == ["street one.png", "image.png", "street one_2.png", "etc.png"]
    with pytest.raises(InputError, match=r"^http://\[x is not a valid address"):
        find_sources(["http://[x"], output="out")


@pytest.mark.parametrize("between", ["\n", "\r\n", "\0"])
def test_lines_of_standard_input(tree, between):
    text = between.join([str(tree / "b.jpg"), "", "https://example.org/c.png", f"{tree}/a"])
    found = find_sources(["-"], output=tree / "out", stdin=io.BytesIO(text.encode()))
    assert [source.name for source in found.sources.values()] == [
        *(f"{tree}/b.jpg", "https://example.org/c.png", f"{tree}/a/x.png")
    ]


@pytest.mark.parametrize("kind", ["PNG", "TGA"])  # the second is told by no mark
def test_an_image_as_standard_input(kind):
    stdin = io.BytesIO(content(kind))
    (source,) = find_sources(["-"], output="out", stdin=stdin).sources.values()
    assert (source.kind, source.place, source.name) == ("image", stdin.getvalue(), "standard input")
    assert source.below == Path("stdin")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "standard input is empty: give an image, or lines of paths"),
        (MP4, "standard input is a video: write it to a file, and name that"),
        (b"no.png\n", "no.png: there is no such file or folder"),
        (b"-\n", "standard input has a line '-': give paths or addresses"),
    ],
)
def test_standard_input_that_cannot_be_used(given, said):
    with pytest.raises(InputError) as error:
        find_sources(["-"], output="out", stdin=io.BytesIO(given))
    assert str(error.value) == said


def test_what_is_not_there(tree, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    os.mkfifo(tmp_path / "pipe")
    for word, kind, said in (
        (tree / "*.bmp", MissingInputError, f"{tree / '*.bmp'} matches no image and no video"),
        (tree / "no", MissingInputError, f"{tree / 'no'}: there is no such file or folder"),
        (
            tmp_path / "texts",
            InputError,
            f"there are no images in the folder {tmp_path / 'texts'} (1 other files)",
        ),
        (
            tmp_path / "pipe",
            InputError,
            f"{tmp_path / 'pipe'} is a device or a pipe: give - for standard input",
        ),
    ):
        with pytest.raises(kind) as error:
            find_sources([word], output="out")
        assert str(error.value) == said


def test_standard_input_that_is_closed(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)  # as Python has it after <&-
    with pytest.raises(InputError, match="standard input is closed: give an image, or lines of"):
        find_sources(["-"], output="out")

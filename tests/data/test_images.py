"""What the headers of image files say, and which files are damaged."""

import threading

import cv2
import numpy as np
import pytest
from detectron2.data.detection_utils import read_image
from PIL import Image, ImageFile

from hrnet_det.data.images import ImageFacts, decode, open_image, probe, probe_all

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
RGB, GREY = Image.fromarray(NOISE), Image.fromarray(NOISE[:, :, 0])


def saved(folder, name, image, **options):
    path = folder / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "image", "mode", "bits"),
    [
        ("a.jpg", RGB, "RGB", 8),
        ("a.jpg", RGB.convert("CMYK"), "CMYK", 8),
        ("a.png", GREY, "L", 8),
        ("a.png", GREY.convert("1"), "1", 1),
        ("a.png", RGB.convert("P"), "P", 8),
        ("a.png", RGB.convert("RGBA"), "RGBA", 8),
        ("a.png", Image.fromarray(NOISE[:, :, 0].astype(np.uint16)), "I;16", 16),
        ("a.tif", Image.fromarray(NOISE[:, :, 0].astype(np.uint16)), "I;16", 16),
        ("a.tif", Image.fromarray(NOISE[:, :, 0].astype(np.float32)), "F", 32),
        ("a.tif", Image.fromarray(NOISE[:, :, 0].astype(np.int32)), "I", 32),
        ("a.gif", GREY, "L", 8),
        ("a.webp", RGB, "RGB", 8),
        ("a.bmp", RGB, "RGB", 8),
    ],
)
def test_the_header_says_mode_and_size(tmp_path, name, image, mode, bits):
    path = saved(tmp_path, name, image)
    facts = probe(path)
    assert facts == ImageFacts(str(path), 60, 40, mode, bits)
    assert facts.deep == (bits > 8) and not facts.turned


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_colours_of_16_bits_are_seen_where_pillow_says_rgb(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), NOISE.astype(np.uint16) * 257)
    facts = probe(tmp_path / name)
    assert (facts.mode, facts.bits, facts.deep) == ("RGB", 16, True)


def test_the_size_is_that_of_the_turned_image(tmp_path):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        facts = probe(saved(tmp_path, f"{orientation}.jpg", RGB, exif=exif))
        assert facts.orientation == orientation
        assert (facts.width, facts.height) == ((40, 60) if orientation >= 5 else (60, 40))
        assert facts.turned == (orientation >= 5)


def test_a_png_may_have_its_exif_data_behind_its_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, "a.png", RGB, exif=exif)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4], "big")]
    rest = content.replace(chunk, b"")
    end = rest.index(b"IEND") - 4
    path.write_bytes(rest[:end] + chunk + rest[end:])
    assert read_image(path, "RGB").shape == (60, 40, 3)  # as Detectron2 reads it
    assert (probe(path).width, probe(path).height, probe(path).orientation) == (40, 60, 6)


def test_headers_are_read_without_decoding(tmp_path, monkeypatch):
    paths = [saved(tmp_path, f"a.{end}", RGB) for end in ("jpg", "png", "gif", "tif", "webp")]

    def load(image):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert [facts.width for facts in map(probe, paths)] == [60] * 5


def test_pages_are_counted(tmp_path):
    more = {"save_all": True, "append_images": [GREY.rotate(90), GREY.rotate(180)]}
    assert probe(saved(tmp_path, "a.tif", GREY, **more)).pages == 3
    assert probe(saved(tmp_path, "a.gif", GREY, **more)).pages == 3
    assert probe(saved(tmp_path, "a.mpo", RGB, save_all=True, append_images=[RGB])).pages == 1


@pytest.mark.parametrize("end", ["jpg", "png", "gif", "tif", "webp", "bmp", "ppm"])
def test_files_that_lack_their_end(tmp_path, end, monkeypatch):
    path = saved(tmp_path, f"whole.{end}", GREY)
    content, half = path.read_bytes(), tmp_path / f"half.{end}"
    half.write_bytes(content[: len(content) * 2 // 3])
    assert probe(path).problem == "" == decode(path)
    problem = probe(half).problem
    assert problem == decode(half)
    assert problem.startswith(("is truncated", "is damaged (could not create decoder"))
    monkeypatch.setattr("hrnet_det.data.images.decode", lambda _: "was decoded")
    by_header = end not in ("bmp", "ppm")  # which have no mark at their end
    assert probe(path).problem == ("" if by_header else "was decoded")
    assert probe(half).problem == ("was decoded" if end != "webp" else problem)


def test_what_follows_the_end_of_a_file_is_no_damage(tmp_path):
    for end in ("jpg", "png", "gif"):
        path = saved(tmp_path, f"a.{end}", GREY)
        path.write_bytes(path.read_bytes() + b"\0" * 100)
        assert probe(path).problem == ""


def test_a_damaged_middle_is_found_by_decoding(tmp_path):
    path = saved(tmp_path, "a.png", GREY)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert probe(path).problem == ""
    assert decode(path).startswith("is damaged (")


def test_what_is_no_image(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").touch()
    for name in ("text.jpg", "empty.png"):
        path = str(tmp_path / name)
        assert probe(path) == ImageFacts(path, problem="is not an image that Pillow can read")
    assert probe(tmp_path / "no.png").problem == "is not there"
    assert "Is a directory" in probe(tmp_path).problem


def test_many_at_once_in_order(tmp_path):
    paths = [saved(tmp_path, f"{i}.png", GREY.resize((i + 1, 3))) for i in range(20)]
    assert [facts.width for facts in probe_all(paths)] == list(range(1, 21))


def test_pillows_limit_is_lifted_while_files_are_opened_alone(tmp_path, monkeypatch):
    path = saved(tmp_path, "a.png", GREY)  # 2400 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    threads = [threading.Thread(target=probe_all, args=([path] * 20,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    with open_image(path) as image:
        assert image.size == (60, 40)
    for thread in threads:
        thread.join()
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)


def test_other_threads_can_use_images_while_the_limit_is_lifted(tmp_path, monkeypatch):
    """Pillow compares what they cut out with twice the limit that it has just seen."""
    path, limits, opened = saved(tmp_path, "a.png", GREY), [], Image.open

    def look(*words):
        limits.append(2 * Image.MAX_IMAGE_PIXELS)
        return opened(*words)

    monkeypatch.setattr(Image, "open", look)
    with open_image(path):
        pass
    assert limits == [float("inf")]

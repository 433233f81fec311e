"""Images of any depth and mode are the same 8 bits, or refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from hrnet_det.data import pixels
from hrnet_det.data.images import ORIENTATION, probe
from hrnet_det.data.pixels import measured_range, read_pixels
from hrnet_det.errors import InputError, MissingInputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY_RGB = np.repeat(GREY[:, :, None], 3, axis=2)
# The same scene at other depths: values that become 0 and 255.
DEPTHS = {
    "16.png": (GREY.astype(np.uint16) * 180 + 500, (500, 500 + 255 * 180)),
    "16.tif": (GREY.astype(np.uint16) * 4, (0, 1020)),
    "big.tif": ((GREY.astype(np.uint16) * 257).astype(">u2"), (0, 65535)),
    "32.tif": (GREY.astype(np.int32) * 1000, (0, 255_000)),
    "float.tif": (GREY.astype(np.float32) / 255, (0, 1)),
    "signed.tif": (GREY.astype(np.float32) - 128, (-128, 127)),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_a_deeper_image_has_the_pixels_of_the_8_bit_one(tmp_path, name):
    array, value_range = DEPTHS[name]
    image = Image.fromarray(array)
    image.save(tmp_path / name)
    for source in (tmp_path / name, image, array.astype(array.dtype.newbyteorder("="))):
        found = read_pixels(source, "RGB", pixel_range=value_range)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, GREY_RGB)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_of_colour(tmp_path, monkeypatch, suffix):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / f"colour.{suffix}"
    assert cv2.imwrite(str(path), COLOUR[:, :, ::-1].astype(np.uint16) * 16)  # 12 bits used
    np.testing.assert_array_equal(read_pixels(path, "RGB", pixel_range=(0, 4080)), COLOUR)
    np.testing.assert_array_equal(
        read_pixels(path, "BGR", pixel_range=(0, 4080)), COLOUR[:, :, ::-1]
    )
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(InputError, match="16 bits for each colour, which need OpenCV: pip install"):
        read_pixels(path, "RGB", pixel_range=(0, 4080))


def test_an_image_without_a_finite_pixel_is_said_to_be_one():
    array = np.array([[np.nan, np.inf, -np.inf]], dtype=np.float32)
    for pixel_range in ((), (0, 1)):
        with pytest.raises(InputError, match=r"^the image has no finite pixel: all are nan or inf"):
            read_pixels(array, "RGB", pixel_range=pixel_range)


def test_what_lies_beyond_the_range_is_cut_and_nan_is_black(tmp_path):
    array = np.array([[-5, 0, 0.5, 1, 7, np.nan, np.inf, -np.inf]], dtype=np.float32)
    Image.fromarray(array).save(tmp_path / "a.tif")
    found = read_pixels(tmp_path / "a.tif", "RGB", pixel_range=(0, 1))
    assert found[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0, 255, 0]


def test_without_a_range_a_deeper_image_is_refused_with_its_own(tmp_path):
    Image.fromarray(np.arange(2000, dtype=np.uint16).reshape(40, 50)).save(tmp_path / "a.png")
    with pytest.raises(InputError) as error:
        read_pixels(tmp_path / "a.png", "RGB")
    # percentiles 0.1 and 99.9 of 0 to 1999
    assert "a.png has pixels of uint16 (from 1.999 to 1997 but" in str(error.value).replace(",", "")
    assert "--pixel-range 1.999 1997" in str(error.value)


MODES = {
    "1": GREY_RGB,  # of black and white alone
    "L": GREY_RGB,
    "LA": GREY_RGB,
    "RGBA": COLOUR,
    "RGB": COLOUR,
    "P": COLOUR,
}


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_8_bits(tmp_path, mode):
    if mode == "1":
        expected = np.where(GREY_RGB > 127, 255, 0).astype(np.uint8)
        image = Image.fromarray(expected[:, :, 0]).convert("1")
    elif mode == "P":
        expected = COLOUR
        image = Image.new("P", (9, 6))
        image.putdata(list(range(54)))
        image.putpalette(COLOUR.reshape(-1).tolist())
    else:
        expected = MODES[mode]
        image = Image.fromarray(GREY if mode.startswith("L") else COLOUR).convert(mode)
        if mode.endswith("A"):
            image.putalpha(Image.fromarray(255 - GREY))  # which is left out
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png", "RGB"), expected)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png", "BGR"), expected[:, :, ::-1])


def test_cmyk_is_converted_as_pillow_does(tmp_path):
    image = Image.fromarray(COLOUR).convert("CMYK")
    image.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif", "RGB"), COLOUR)


@pytest.mark.parametrize("suffix", ["tif", "gif"])
def test_of_several_pages_or_frames_the_first_is_read(tmp_path, suffix):
    first, second = (Image.fromarray(np.full((6, 9), value, np.uint8)) for value in (40, 200))
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second])
    assert (read_pixels(tmp_path / f"a.{suffix}", "RGB") == 40).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_data_says(tmp_path, orientation):
    """As Pillow's own function, at any depth."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(GREY).save(tmp_path / "8.png", exif=exif)
    Image.fromarray(GREY.astype(np.uint16)).save(tmp_path / "16.png", exif=exif)
    with Image.open(tmp_path / "8.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read_pixels(tmp_path / "8.png", "RGB"), expected)
    deep = read_pixels(tmp_path / "16.png", "RGB", pixel_range=(0, 255))
    np.testing.assert_array_equal(deep, expected)


UPRIGHT = {  # by EXIF orientation
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("bits", [8, 16])
def test_tiffs_are_turned_once(tmp_path, orientation, bits):
    """Pillow turns them when it decodes them, and one that lies on its side by a wrong width."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image, expected = Image.fromarray(GREY.astype(f"u{bits // 8}")), UPRIGHT[orientation](GREY)
    for name, compression in (("packed.tif", "tiff_lzw"), ("plain.tif", None)):
        path = tmp_path / name
        image.save(path, exif=exif, compression=compression)
        facts = probe(path)
        assert (facts.height, facts.width) == expected.shape
        try:
            found = read_pixels(path, "RGB", pixel_range=(0, 255))
        except InputError as error:
            assert (name, orientation > 4) == ("plain.tif", True)
            assert str(error) == f"{path} {facts.problem}"
            assert "lies on its side and is not compressed" in facts.problem
        else:
            assert facts.problem == ""
            np.testing.assert_array_equal(found[:, :, 0], expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_deep_colours_are_turned_once(tmp_path, suffix, orientation):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), COLOUR[:, :, ::-1].astype(np.uint16) * 257)
    turn = {"png": _turn_png, "tif": _turn_tiff}[suffix]
    path.write_bytes(turn(path.read_bytes(), orientation))
    expected = UPRIGHT[orientation](COLOUR)
    with Image.open(path) as image:
        assert image.getexif()[ORIENTATION] == orientation
    for source in (path, Image.open(path), Image.open(io.BytesIO(path.read_bytes()))):
        found = read_pixels(source, "RGB", pixel_range=(0, 65535))
        np.testing.assert_array_equal(found, expected)


def _turn_png(content, orientation):
    """With a chunk of EXIF data before the pixels."""
    entry = struct.pack("<HHIHH", ORIENTATION, 3, 1, orientation, 0)
    chunk = b"eXIf" + b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    at = content.index(b"IDAT") - 4
    return content[:at] + chunk + content[at:]


def _turn_tiff(content, orientation):
    """With a list of tags at the end that has one more."""
    assert content[:4] == b"II*\0"
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    entries = [content[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(count)]
    entries = [e for e in entries if e[:2] != struct.pack("<H", ORIENTATION)]
    entries = sorted(
        [*entries, struct.pack("<HHIHH", ORIENTATION, 3, 1, orientation, 0)],
        key=lambda e: struct.unpack("<H", e[:2]),
    )
    tags = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    content = content[:4] + struct.pack("<I", len(content)) + content[8:]
    return content + tags


def test_whole_numbers_of_32_bits_have_their_sign(tmp_path):
    cv2 = pytest.importorskip("cv2")
    for array, value_range in (
        (np.array([[0, 2**31, 2**32 - 1]], np.uint32), (0, 2**32 - 1)),
        (np.array([[-(2**31), 0, 2**31 - 1]], np.int32), (-(2**31), 2**31 - 1)),
    ):
        cv2.imwrite(str(tmp_path / "a.tif"), array)
        found = read_pixels(tmp_path / "a.tif", "RGB", pixel_range=value_range)
        assert found[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "CMYK", "PA", "RGBX"])
def test_pil_images_of_other_colours_are_converted(mode):
    """Of grey, which all of them have, to within what their own 8 bits round."""
    grey = np.repeat(np.arange(0, 256, 51, dtype=np.uint8)[None, :, None], 3, axis=2)
    if mode == "LAB":
        image = Image.frombytes("LAB", (2, 1), bytes([0, 0, 0, 255, 0, 0]))
        grey = np.array([[[0] * 3, [255] * 3]])
    elif mode == "PA":
        image = Image.fromarray(grey).convert("P").convert("PA")
    else:
        image = Image.fromarray(grey).convert(mode)
    assert image.mode == mode
    found = read_pixels(image, "RGB")
    assert np.abs(found.astype(int) - grey).max() <= 1


def test_pil_images_that_cannot_be_read_are_one_error(tmp_path):
    path = tmp_path / "half.png"
    Image.fromarray(RNG.integers(0, 256, (50, 50), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"^the image is truncated$"):
        read_pixels(Image.open(path), "RGB")
    with pytest.raises(InputError, match=r"^the image .*conversion from La"):
        read_pixels(Image.new("La", (3, 2)), "RGB")


def test_the_range_of_a_single_value_can_be_given(tmp_path):
    for value in (0, 7, 60_000):
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / "a.png")
        with pytest.raises(InputError) as error:
            read_pixels(tmp_path / "a.png", "RGB")
        words = str(error.value).split("--pixel-range ")[1].split()[:2]
        assert float(words[0]) == value < float(words[1])


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a.png has 9x6 pixels, more than INPUT.MAX_PIXELS 53:"):
        read_pixels(tmp_path / "a.png", "RGB", max_pixels=53)
    assert read_pixels(tmp_path / "a.png", "RGB", max_pixels=54).shape == (6, 9, 3)


def test_what_is_no_image_is_one_error(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    for source, kind, text in (
        (tmp_path, InputError, "is a folder"),
        (tmp_path / "none.png", MissingInputError, "is not there"),
        (tmp_path / "text.png", InputError, "is not an image that Pillow can read"),
        (5, InputError, "not a int"),
        (np.zeros((3, 4, 5)), InputError, r"this one is \(3, 4, 5\) float64"),
    ):
        with pytest.raises(kind, match=text):
            read_pixels(source, "RGB")


def test_the_range_of_images_is_their_percentiles(tmp_path, monkeypatch):
    for number in range(4):
        array = np.arange(10_000, dtype=np.uint16).reshape(100, 100) + 20_000 * (number == 3)
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    low, high = measured_range(paths)  # of 30,000 pixels, three of each value
    assert (round(low), round(high)) == (10, 9989)
    monkeypatch.setattr(pixels, "SAMPLE", 1)
    assert measured_range(paths) == measured_range(paths[::-1])

"""Images of any depth and mode are the same 8 bits, or refused."""

import numpy as np
import pytest
from PIL import Image

from hrnet_det.data import pixels
from hrnet_det.data.images import ORIENTATION
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
    from PIL import ImageOps

    with Image.open(tmp_path / "8.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read_pixels(tmp_path / "8.png", "RGB"), expected)
    deep = read_pixels(tmp_path / "16.png", "RGB", pixel_range=(0, 255))
    np.testing.assert_array_equal(deep, expected)


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

"""Files of a json's images: damaged, of another size, of several pages."""

import numpy as np
import pytest
from PIL import Image

from hrnet_det.data.image_checks import image_findings
from hrnet_det.data.images import ORIENTATION, probe_all

HEIGHT, WIDTH = 20, 30
NOISE = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def found(tmp_path):
    """The findings about one image beside a right one, of a size (width, height) in the json."""
    Image.fromarray(NOISE).save(tmp_path / "right.png")

    def found(name, size=(WIDTH, HEIGHT)):
        names = {"right.png": (WIDTH, HEIGHT), name: size}
        rows = [
            {"id": n, "file_name": file, "width": width, "height": height}
            for n, (file, (width, height)) in enumerate(names.items(), 1)
        ]
        facts = probe_all(tmp_path / row["file_name"] for row in rows)
        return [(f.kind, f.severity, f.images, f.text) for f in image_findings(rows, facts)]

    return found


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif"])
def test_a_truncated_image_is_found(tmp_path, found, suffix):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(NOISE).save(path)
    assert found(path.name) == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    ((kind, severity, images, text),) = found(path.name)
    assert (kind, severity, images) == ("images-damaged", "error", (2,))
    assert text.startswith(f"1 of 2 images cannot be read: 'cut.{suffix}' is ")


def test_a_file_that_is_no_image_is_found(tmp_path, found):
    (tmp_path / "text.png").write_text("not an image")
    ((kind, *_, text),) = found("text.png")
    assert kind == "images-damaged"
    assert text.endswith("'text.png' is not an image that Pillow can read")


def test_another_size_than_the_jsons_is_found(found, tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "b.png")
    ((kind, severity, images, text),) = found("b.png", (100, HEIGHT))
    assert (kind, severity, images) == ("images-of-another-size", "error", (2,))
    assert text.endswith("than the json says: 'b.png' is 30x20, not 100x20")


def test_sizes_are_those_of_the_turned_image(found, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(NOISE).save(tmp_path / "turned.jpg", exif=exif)
    assert found("turned.jpg", (HEIGHT, WIDTH)) == []
    ((*_, text),) = found("turned.jpg")
    assert "(images are turned as their EXIF data says, and so must the json's boxes be)" in text


def test_several_pages_are_told(found, tmp_path):
    page = Image.fromarray(NOISE)
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page, page])
    ((kind, severity, images, text),) = found("pages.tif")
    assert (kind, severity, images) == ("images-of-several-pages", "warning", (2,))
    assert text.endswith("of which the first is read: 'pages.tif' has 3")

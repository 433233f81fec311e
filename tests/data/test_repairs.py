"""What tools write in another form than COCO's: converted where it can mean one thing, and told."""

import json

import pytest
from helpers.own_json import HEIGHT, POLYGON, RUNS, WIDTH, changed, valid, write_images
from PIL import Image

from hrnet_det.data.coco_json import CocoJson

NOTHING = {"masks": False, "keypoints": False, "evaluated": True}


def at(content, path):
    for key in path.split("."):
        content = content[int(key) if key.isdigit() else key]
    return content


@pytest.mark.parametrize(
    ("path", "given", "made", "kind"),
    [
        ("annotations.3.iscrowd", "1", 1, "iscrowd"),
        ("annotations.0.iscrowd", "0", 0, "iscrowd"),
        ("annotations.0.iscrowd", None, 0, "iscrowd"),
        ("annotations.0.iscrowd", ..., 0, "iscrowd"),
        ("annotations.3.iscrowd", True, 1, "iscrowd"),
        ("annotations.0.area", ..., 80.0, "area-missing"),
        ("annotations.1.area", None, 160.0, "area-missing"),  # two polygons
        ("annotations.2.area", None, 80.0, "area-missing"),  # run lengths
        ("annotations.0.segmentation", POLYGON, [POLYGON], "polygon-flat-list"),
        ("annotations.0.segmentation", [RUNS], RUNS, "run-lengths-in-list"),
        ("annotations.0.segmentation", [[]], [], "polygon-degenerate"),
        ("annotations.0.segmentation", [[1, 2, 3, 4], POLYGON], [POLYGON], "polygon-degenerate"),
        ("annotations.0.bbox", ..., [4.0, 4.0, 10.0, 8.0], "boxes-of-masks"),
        ("annotations.0.bbox", [4, 4, 0, 8], [4.0, 4.0, 10.0, 8.0], "boxes-of-masks"),
        ("annotations.2.bbox", None, [4.0, 4.0, 10.0, 8.0], "boxes-of-masks"),
        ("annotations.0.image_id", "1", 1, "image-id"),
        ("annotations.0.category_id", 7.0, 7, "category-id"),
        ("annotations.0.num_keypoints", ..., 2, "num-keypoints"),
        ("annotations.0.num_keypoints", "2", 2, "num-keypoints"),
        ("categories.0.name", 5, "5", "category-name-number"),
        ("categories.0.name", "ba\nr", "ba r", "category-name-controls"),
        ("categories.0.name", "ba\r\nr\t", "ba r", "category-name-controls"),
        ("categories.0.name", "ba\0r\x85", "ba r", "category-name-controls"),
        ("images.0.height", "24", HEIGHT, "image-size"),
        ("images.0.width", 32.0, WIDTH, "image-size"),
        ("images.0.width", None, WIDTH, "image-size-missing"),
        ("images.0.height", ..., HEIGHT, "image-size-missing"),
        ("images.0.id", "1", 1, "image-id"),
    ],
)  # fmt: skip
def test_one_value_is_converted_and_told(read_all, path, given, made, kind):
    file = read_all(changed(path, given), **NOTHING)
    assert at(file.content, path) == made
    assert type(at(file.content, path)) is type(made)
    (found,) = file.findings
    assert (found.kind, found.severity, file.changed) == (kind, "change", True)
    assert found.text.startswith(f"1 of {len(valid()[path.split('.')[0]])} ")


def test_what_is_right_is_left_alone(read_all):
    file = read_all(valid(), masks=True, keypoints=True, evaluated=True)
    assert (file.content, file.findings, file.changed) == (valid(), [], False)


def test_names_without_letters_and_names_that_become_the_same_are_refused(problems):
    (line,) = problems(changed("categories.0.name", "\n"))
    assert line == "1 of 2 categories have a 'name' that is not text: '\\n' of id 7"
    content = changed("categories.0.name", "a\nb")
    content["categories"][1]["name"] = "a b"
    assert problems(content) == ["category name given more than once: 'a b'"]


@pytest.mark.parametrize("ids", [[1, 1, 2, 3], [1, None, 2, 3], ["a", "b", "c", "d"], [1.5] * 4])
def test_annotations_are_numbered_anew_where_their_ids_are_none(read_all, ids):
    content = valid()
    for row, value in zip(content["annotations"], ids, strict=True):
        row["id"] = value
    file = read_all(content, **NOTHING)
    assert [row["id"] for row in file.content["annotations"]] == [1, 2, 3, 4]
    assert [found.kind for found in file.findings] == ["annotation-ids"]


@pytest.mark.parametrize("ids", [[0, 1, 2, 3], [-5, 7, 2**62, 3]])
def test_ids_that_are_different_numbers_stay(read_all, ids):
    """Evaluations give them numbers of their own."""
    content = valid()
    for row, value in zip(content["annotations"], ids, strict=True):
        row["id"] = value
    assert not read_all(content, **NOTHING).changed


def test_an_object_of_no_width_without_a_mask_is_left_out(read_all):
    content = changed("annotations.0.bbox", [4, 4, 0, 8])
    content["annotations"][0]["segmentation"] = []
    file = read_all(content, **NOTHING)
    assert [row["id"] for row in file.content["annotations"]] == [2, 3, 4]
    (found,) = file.findings
    assert (found.kind, found.annotations, found.images) == ("boxes-empty", (1,), (1,))
    assert found.text.endswith("these objects are left out: id 1")


@pytest.fixture
def tree(tmp_path):
    """Images in a folder within the images' folder, one name there twice, and a json's reader."""
    write_images(tmp_path / "images" / "day one")
    (tmp_path / "images" / "2").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / "2" / "2.png")

    def read(*names):
        content = valid()
        for row, name in zip(content["images"], names, strict=True):
            row["file_name"] = name
        (tmp_path / "own.json").write_text(json.dumps(content))
        return CocoJson(tmp_path / "own.json", tmp_path / "images", **NOTHING)

    return read


@pytest.mark.parametrize(
    "name",
    ["day one\\1.png", "/data/upload/1/1.png", "day%20one/1.png", "C:\\data\\1.png", "1.png"],
)
def test_an_image_is_found_by_its_last_part(tree, name):
    file = tree(name, "2/2.png", "day one/3.png")
    assert file.content["images"][0]["file_name"] == "day one/1.png"
    (found,) = file.findings
    assert (found.kind, found.images) == ("file-name-found", (1,))
    assert found.text.endswith("is 'day one/1.png'")


def test_a_last_part_that_is_there_twice_is_not_guessed(tree):
    (found,) = tree("day one/1.png", "/server/2.png", "day one/3.png").errors
    assert (found.kind, found.images) == ("images-missing", (2,))
    file = tree("day one/1.png", "day one\\2.png", "day one/3.png")  # but for this one
    assert file.content["images"][1]["file_name"] == "day one/2.png"


def test_a_number_as_a_name_is_text_where_there_is_such_a_file(tree, tmp_path):
    (tmp_path / "images" / "7").write_bytes((tmp_path / "images/day one/1.png").read_bytes())
    file = tree(7, "2/2.png", "day one/3.png")
    assert file.content["images"][0]["file_name"] == "7"
    (found,) = tree(8, "2/2.png", "day one/3.png").errors
    assert found.text.startswith("1 of 3 images are not in ")

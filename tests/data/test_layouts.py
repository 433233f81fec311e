"""Layouts of folders as tools export them, and the split of one json."""

import re

import pytest
from helpers.coco_content import content_of
from helpers.tiny import write_json

from hrnet_det.data.layouts import find_layout
from hrnet_det.data.splitting import split_content
from hrnet_det.errors import InputError, MissingInputError


def lay(folder, json_file, images, count=3, start=1, name="{}.png"):
    """A json of so many images, which are there, empty."""
    content = content_of(*[((64, 64), [(1, 2, 10, 12)])] * count)
    for number, row in enumerate(content["images"], start=start):
        row["file_name"] = name.format(number)
        path = folder / images / re.split(r"[\\/]", row["file_name"])[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write_json(folder / json_file, content)


def found(folder, **options):
    """The layout's parts, as (json, images) from the folder."""
    layout = find_layout(folder, **options)
    parts = {"train": layout.train, "test": layout.test, "aside": layout.aside}
    return {
        name: tuple(path.relative_to(folder).as_posix() for path in part)
        for name, part in parts.items()
        if part
    }


@pytest.mark.parametrize("images", ["{}", "images/{}"])
@pytest.mark.parametrize("suffix", ["2017", "2014", "", "_v3"])
def test_coco(tmp_path, images, suffix):
    for split in ("train", "val"):
        place = images.format(f"{split}{suffix}")
        lay(tmp_path, f"annotations/instances_{split}{suffix}.json", place)  # the same names
        lay(tmp_path, f"annotations/person_keypoints_{split}{suffix}.json", place)
        write_json(tmp_path / f"annotations/captions_{split}{suffix}.json", {"images": []})
    write_json(tmp_path / "annotations/image_info_test.json", {"images": [], "categories": []})
    expected = {
        ("train" if split == "train" else "test"): (
            f"annotations/{{}}_{split}{suffix}.json",
            images.format(f"{split}{suffix}"),
        )
        for split in ("train", "val")
    }
    for task, keypoints in (("instances", False), ("person_keypoints", True)):
        named = {split: (file.format(task), place) for split, (file, place) in expected.items()}
        assert found(tmp_path, keypoints=keypoints) == named


def test_roboflow_keeps_its_test_set_aside(tmp_path):
    for start, split in ((1, "train"), (4, "valid"), (7, "test")):
        lay(tmp_path, f"{split}/_annotations.coco.json", split, start=start)
    expected = {
        "train": ("train/_annotations.coco.json", "train"),
        "test": ("valid/_annotations.coco.json", "valid"),
        "aside": ("test/_annotations.coco.json", "test"),
    }
    assert found(tmp_path) == expected
    (tmp_path / "valid/_annotations.coco.json").unlink()
    assert found(tmp_path) == {"train": expected["train"], "test": expected["aside"]}


@pytest.mark.parametrize("images", ["images", "images/default"])
def test_cvat_without_subsets(tmp_path, images):
    lay(tmp_path, "annotations/instances_default.json", images)
    assert found(tmp_path) == {"train": ("annotations/instances_default.json", images)}


def test_cvat_with_subsets(tmp_path):
    for subset in ("Train", "Validation"):
        lay(tmp_path, f"annotations/instances_{subset}.json", f"images/{subset}")
    assert found(tmp_path) == {
        "train": ("annotations/instances_Train.json", "images/Train"),
        "test": ("annotations/instances_Validation.json", "images/Validation"),
    }


@pytest.mark.parametrize(
    ("name", "place"),
    [("{}.png", "images"), ("images/{}.png", "."), ("images\\{}.png", "images"),
     ("/data/upload/3/{}.png", "images")],
)  # fmt: skip
def test_label_studio(tmp_path, name, place):
    lay(tmp_path, "result.json", "images", name=name)
    assert found(tmp_path) == {"train": ("result.json", place)}


@pytest.mark.parametrize("test", ["val", "valid", "validation", "test"])
def test_names_with_train_and_val(tmp_path, test):
    lay(tmp_path, "my_train.json", "images")
    lay(tmp_path, f"my_{test}.json", "images", start=4)
    assert found(tmp_path) == {
        "train": ("my_train.json", "images"),
        "test": (f"my_{test}.json", "images"),
    }


def test_a_folder_in_a_folder_as_archives_are_unpacked(tmp_path):
    lay(tmp_path / "export", "labels.json", "pictures")
    assert found(tmp_path) == {"train": ("export/labels.json", "export/pictures")}


def test_other_jsons_are_passed_over(tmp_path):
    lay(tmp_path, "labels.json", ".")
    write_json(tmp_path / "settings.json", {"a": 1})
    write_json(tmp_path / "list.json", [1, 2])
    assert found(tmp_path) == {"train": ("labels.json", ".")}


def test_labels_with_the_names_of_the_images_are_not_the_images(tmp_path):
    for split in ("train", "val"):
        for place in (f"masks_{split}", f"semantic/{split}", split):
            lay(tmp_path, f"instances_{split}.json", place)
    assert found(tmp_path)["train"] == ("instances_train.json", "train")


def test_a_json_that_is_not_valid_is_left_to_the_check_of_its_content(tmp_path):
    lay(tmp_path, "val.json", "images")
    (tmp_path / "train.json").write_text("{")
    assert found(tmp_path)["train"][0] == "train.json"


# --- what is refused ---


def refusal(folder, kind=InputError):
    with pytest.raises(kind) as error:
        find_layout(folder)
    text = str(error.value)
    if "Looked for" in text:
        assert "(Roboflow)" in text and "Next: " in text
    return text


def test_no_folder_and_nothing_in_it(tmp_path):
    absent = tmp_path / "absent"
    assert refusal(absent, MissingInputError) == (
        f"the folder of data {absent} is not there: give one of jsons and images"
    )
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "a.txt").touch()
    text = refusal(tmp_path, MissingInputError)
    assert "has no json of COCO's format" in text
    assert "Found in it: images/, labels/, 1 .txt.\n" in text


def test_several_that_could_be_meant(tmp_path):
    lay(tmp_path, "a.json", "images")
    lay(tmp_path, "b.json", "images")
    assert "has several jsons that could be meant: a.json, b.json\n" in refusal(tmp_path)
    (tmp_path / "b.json").rename(tmp_path / "train.json")
    assert "could be meant: a.json, train.json\n" in refusal(tmp_path)


def test_a_json_for_each_image(tmp_path):
    for number in range(101):
        write_json(tmp_path / f"{number}.json", {"shapes": []})
    assert "has 101 jsons, not one for all images of a split\n" in refusal(tmp_path)


def test_images_that_are_nowhere_or_twice(tmp_path):
    lay(tmp_path, "labels.json", "images")
    lay(tmp_path, "labels.json", "imgs")
    assert f"twice: {tmp_path / 'images'} and {tmp_path / 'imgs'}\n" in refusal(tmp_path)
    for path in tmp_path.glob("im*/*"):
        path.unlink()
    text = refusal(tmp_path, MissingInputError)
    assert f"has no image of {tmp_path / 'labels.json'}, such as '1.png'\n" in text


# --- the split ---


def test_a_fifth_is_tested_on_and_always_the_same():
    content = content_of(*[((64, 64), [(1, 2, 10, 12)])] * 10)
    train, test = split_content(content)
    assert (len(train["images"]), len(test["images"])) == (8, 2)
    names = {row["file_name"] for row in test["images"]}
    assert not names & {row["file_name"] for row in train["images"]}
    for part in (train, test):
        assert part["categories"] == content["categories"]
        ids = [row["id"] for row in part["images"]]
        assert [row["image_id"] for row in part["annotations"]] == ids
    turned = {**content, "images": content["images"][::-1]}
    assert {row["file_name"] for row in split_content(turned)[1]["images"]} == names
    others = [split_content(content, seed=s)[1]["images"] for s in range(1, 5)]
    assert any({row["file_name"] for row in part} != names for part in others)


def test_every_class_is_trained_on():
    for rare in range(10):  # whichever image has the only object of a class
        content = content_of(*[((64, 64), [(1, 2, 10, 12)])] * 10)
        content["annotations"][rare]["category_id"] = 2
        content["categories"].append({"id": 2, "name": "rare"})
        train, test = split_content(content)
        assert any(row["category_id"] == 2 for row in train["annotations"])
        assert len(test["images"]) == 2


def test_the_images_of_one_file_stay_together():
    content = content_of(*[((64, 64), [(1, 2, 10, 12)])] * 20)
    for row in content["images"]:
        row["file_name"] = f"{(row['id'] - 1) // 2}.png"
    train, test = split_content(content)
    assert (len(train["images"]), len(test["images"])) == (16, 4)
    names = [{row["file_name"] for row in part["images"]} for part in (train, test)]
    assert not names[0] & names[1]

"""Results with the ids of a user's json: which image is which, and the AP that COCO computes."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from helpers.finds import Finds, noise
from helpers.tiny import CATEGORIES as CLASSES
from helpers.tiny import write_json
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_det.cli import main
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.predict import check_request, predict
from hrnet_det.predict.coco_ids import CocoIds
from hrnet_det.predict.sources.find import find_sources

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 90, "name": "cat"}]


def users(folder, images, categories=CATEGORIES):
    rows = [{"id": image_id, "file_name": name} for name, image_id in images.items()]
    return write_json(folder / "users.json", {"images": rows, "categories": categories})


@pytest.fixture
def folder(tmp_path):
    for name in ("train/1.png", "train/2.png", "val/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise()).save(tmp_path / name)
    return tmp_path


def found(json_file, words):
    sources = find_sources(words, output=Path("out")).sources.values()
    return CocoIds(json_file).of_images(list(sources))


def test_the_longest_file_name_that_a_path_ends_with(folder, monkeypatch):
    json_file = users(folder, {"train/1.png": 5, "val\\1.png": "v", "1.png": 7, "/old/2.png": 0})

    def absent(count):
        return (
            f"--coco-json {json_file}: {count} of its 4 images are not given: an AP counts all of "
            "their objects as missed"
        )

    every = [folder / "val", folder / "train"]
    alone = "1 images are found in it by their names alone, without their folders"
    assert found(json_file, every) == (
        ["v", 5, 0],
        [absent(1), f"--coco-json {json_file}: {alone}"],
    )
    monkeypatch.chdir(folder / "val")
    assert found(json_file, ["1.png"]) == (["v"], [absent(3)])
    assert found(json_file, ["https://example.org/train/1.png?x=1", "http://a.b/1.png"]) == (
        *([5, 7], [absent(2)]),
    )


def test_images_that_the_json_does_not_have_are_drawn_and_not_in_its_results(folder):
    json_file = users(folder, {"train/2.png": 3})
    said = []
    predict(Finds(), [folder / "train"], folder / "out", coco_json=json_file, log=said.append)
    assert (
        f"--coco-json {json_file}: 1 given images are not among its images, by file_name, and so "
        f"not in the results: {folder}/train/1.png" in said
    )
    results = json.loads((folder / "out" / "coco_results_bbox.json").read_text())
    assert [row["image_id"] for row in results] == [3, 3]
    drawn = {row["file_name"] for row in json.loads((folder / "out/predictions.json").read_text())}
    assert drawn == {f"{folder}/train/1.png", f"{folder}/train/2.png"}


def test_images_that_the_json_does_not_tell(folder):
    json_file = users(folder, {"a/1.png": 1, "b/1.png": 2, "train/2.png": 3})
    once = "Leave them out, or leave out --coco-json"
    for words, said in (
        (
            [folder / "val", folder / "train"],
            f"2 of 3 given images have a name that several of its images have, by file_name: "
            f"{folder}/val/1.png, {folder}/train/1.png. {once}",
        ),
        (
            ["http://a.b/3.png"],
            "1 of 1 given images are not among its images, by file_name: http://a.b/3.png. " + once,
        ),
        (
            ["http://a.b/2.png", "http://c.d/2.png"],
            "2 of 2 given images are the same one of its images as another, by file_name: "
            "http://a.b/2.png, http://c.d/2.png. " + once,
        ),
    ):
        with pytest.raises(InputError) as error:
            check_request(words, folder / "out", coco_json=json_file)
        assert str(error.value) == f"--coco-json {json_file}: {said}"


def test_classes_that_the_json_does_not_tell(folder):
    twice = users(folder, {"train/2.png": 3}, [*CATEGORIES, {"id": 7, "name": "dog"}])
    given = {"coco_json": twice}
    with pytest.raises(InputError, match=r"it has 2 categories 'dog'\. Name the classes that"):
        predict(Finds(), [folder / "train" / "2.png"], folder / "out", **given)
    named = [{"id": 0, "name": "dogs"}, {"id": 2, "name": "people"}]
    json_file = users(folder, {"train/2.png": 3}, named)
    detector = Finds()
    with pytest.raises(InputError) as error:
        predict(detector, [folder / "train" / "2.png"], folder / "out", coco_json=json_file)
    assert str(error.value) == (
        f"--coco-json {json_file}: it has no category 'person'; did you mean people? (2 of the "
        "detector's classes are missing). Name the classes that are wanted (--classes), or give "
        "the json that the detector was trained with"
    )
    assert detector.calls == [] and not (folder / "out").exists()
    with pytest.raises(InputError, match=r"no category 'dog'; did you mean dogs\?\. Name"):
        predict(
            detector, [folder / "train/2.png"], folder / "out", coco_json=json_file, classes=["1"]
        )


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (None, MissingInputError, "is not there"),
        ("{", InputError, "is not valid JSON: "),
        ("[]", InputError, "is not in COCO's format: it has no list of images, categories"),
        ('{"images": [{"id": 1}], "categories": []}', InputError, "an image without id and file_n"),
    ],
)
def test_a_json_that_is_none(tmp_path, content, kind, said):
    path = tmp_path / "users.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(kind) as error:
        CocoIds(path)
    assert f"--coco-json {path}" in str(error.value) and said in str(error.value)


def test_rows_have_the_keys_of_coco_alone(folder):
    json_file = users(folder, {"train/2.png": "b", "train/1.png": 5})
    finds = Finds()
    finds.masks = finds.keypoints = True
    predict(finds, [folder / "train"], folder / "out", coco_json=json_file, classes=["dog"])
    rows = {
        task: json.loads((folder / "out" / f"coco_results_{task}.json").read_text())
        for task in ("bbox", "segm", "keypoints")
    }
    box = {"bbox": [3, 4, 2.5, 2], "score": 0.5, "category_id": 18}
    assert rows["bbox"] == [box | {"image_id": 5}, box | {"image_id": "b"}]
    assert [sorted(row) for row in rows["segm"]] == 2 * [
        ["category_id", "image_id", "score", "segmentation"]
    ]
    assert rows["keypoints"][1] == box | {"image_id": "b", "keypoints": [4, 6, 1]}
    assert [row["image_id"] for row in json.loads((folder / "out/predictions.json").read_text())]


def test_the_json_itself_is_not_overwritten(folder):
    output = folder / "out"
    output.mkdir()
    json_file = users(folder, {"train/1.png": 5}).rename(output / "predictions.json")
    before = json_file.read_bytes()
    with pytest.raises(InputError, match=r"predictions\.json would overwrite .*: give another fol"):
        predict(Finds(), [folder / "train" / "1.png"], output, coco_json=json_file)
    assert json_file.read_bytes() == before


def test_results_of_an_earlier_call_do_not_stay_beside_the_new_ones(folder, tmp_path):
    json_file, finds, lines = users(folder, {"1.png": 1}), Finds(), []
    (tmp_path / "out").mkdir()
    for name in ("coco_results_segm.json", "coco_results_keypoints.json", "predictions.json"):
        (tmp_path / "out" / name).write_text("of another detector")
    options = {"score": 0, "coco_json": json_file, "log": lines.append}
    predict(finds, [folder / "val"], tmp_path / "out", **options)
    assert sorted(path.name for path in tmp_path.glob("out/*.json")) == [
        *("coco_results_bbox.json", "predictions.json")
    ]
    assert lines[0] == (
        f"--output {tmp_path / 'out'} has an earlier prediction: files of equal names are "
        "replaced, others stay"
    )


def test_without_objects_the_results_are_empty_lists(folder):
    json_file = users(folder, {"train/2.png": 3})
    finds = Finds()
    finds.masks = True
    given = {"coco_json": json_file, "score": 1}
    predict(finds, [folder / "train" / "2.png"], folder / "out", **given)
    written = {path.name: path.read_text() for path in (folder / "out").glob("*.json")}
    assert written == dict.fromkeys(
        ("predictions.json", "coco_results_bbox.json", "coco_results_segm.json"), "[]"
    )


def ap(truth, results, task):
    """The twelve figures of pycocotools itself, of a json and a file of results."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        evaluation = COCOeval(coco, coco.loadRes(str(results)), task)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def truth_of(rows, images):
    """A json whose objects are every second of some results, and their boxes' masks."""
    objects = []
    for number, row in enumerate(rows[::2], 1):
        x, y, w, h = row["bbox"]
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        area = {"area": w * h, "iscrowd": 0, "segmentation": [polygon]}
        ids = {key: row[key] for key in ("image_id", "category_id", "bbox")}
        objects.append({"id": number, **ids, **area})
    return {"images": images, "annotations": objects, "categories": CLASSES}


def test_the_ap_is_that_of_an_evaluation(coco, run, tmp_path, capsys):
    out = tmp_path / "out"
    given = ["--coco-json", str(coco / "polygons.json"), "--score", "0", "--device", "cpu"]
    given += ["--output", str(out), "--batch", "4"]
    assert main(["predict", str(run / "model_final.pth"), str(coco / "images"), *given]) == 0
    capsys.readouterr()
    theirs = json.loads(next(run.rglob("coco_instances_results.json")).read_text())
    images = json.loads((coco / "polygons.json").read_text())["images"]
    truth = write_json(tmp_path / "truth.json", truth_of(theirs, images))
    for task, left_out in (("bbox", "segmentation"), ("segm", "bbox")):
        rows = [{key: row[key] for key in row if key != left_out} for row in theirs]
        reference = ap(truth, write_json(tmp_path / "theirs.json", rows), task)
        assert ap(truth, out / f"coco_results_{task}.json", task) == pytest.approx(reference)
        assert reference[0] > (0.3 if task == "bbox" else 0)

"""From files of an evaluation to arrays: ids of any kind, masks in any form, and refusals."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from helpers.coco_results import HEIGHT, WIDTH, random_data, registering
from helpers.diagnosis import evaluated_of
from helpers.evaluations import evaluate, run_in
from pycocotools import mask as coco_mask

from hrnet_det.diagnosis.arrays import Predictions
from hrnet_det.diagnosis.diagnosis import diagnose
from hrnet_det.diagnosis.loading import load_predictions
from hrnet_det.errors import InputError
from hrnet_det.evaluation.predictions import RECORD, RESULTS, augmented_run

TRUTH, ROWS = random_data(0)


def with_ids(image, category):
    """The json and results with other ids: functions of those of images and categories."""
    truth, rows = copy.deepcopy(TRUTH), copy.deepcopy(ROWS)
    for row in truth["images"]:
        row["id"] = image(row["id"])
    for row in truth["categories"]:
        row["id"] = category(row["id"])
    for row in (*truth["annotations"], *rows):
        row["image_id"], row["category_id"] = image(row["image_id"]), category(row["category_id"])
    for row in truth["annotations"]:
        row["id"] = 7
    return truth, rows


# --- arrays ---


def test_the_arrays_by_hand():
    evaluated = evaluated_of(
        truth=[(1, 1, [1, 2, 30, 40]), (0, 0, [5, 5, 10, 10], "crowd")],
        found=[(1, 0, [0, 0, 10, 20], 0.2), (0, 1, [1, 1, 2, 2], 0.1), (1, 1, [3, 4, 5, 6], 0.7)],
        images=2,
        max_detections=300,
    )
    assert (evaluated.task, evaluated.max_detections) == ("bbox", 300)
    assert evaluated.classes == ("cat", "dog")
    assert [(image.id, image.path) for image in evaluated.images] == [(0, "0.png"), (1, "1.png")]
    truth, found = evaluated.truth, evaluated.found
    assert truth.image.tolist() == [0, 1]
    assert truth.classes.tolist() == [0, 1]
    assert truth.boxes.tolist() == [[5, 5, 15, 15], [1, 2, 31, 42]]
    assert truth.areas.tolist() == [100, 1200]
    assert truth.crowd.tolist() == [True, False]
    assert truth.scores.tolist() == [1, 1]
    assert found.image.tolist() == [0, 1, 1]
    assert found.classes.tolist() == [1, 1, 0]
    assert found.scores.tolist() == [0.1, 0.7, 0.2]
    assert found.boxes.tolist() == [[1, 1, 3, 3], [3, 4, 8, 10], [0, 0, 10, 20]]
    assert found.areas.tolist() == [4, 30, 200]
    assert truth.masks is found.masks is None
    assert [truth.of_image(n) for n in (0, 1)] == [slice(0, 1), slice(1, 2)]


def test_masks_may_be_polygons_or_run_lengths_in_any_form():
    box = [20, 30, 40, 50]
    filled = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    filled[30:80, 20:60] = 1
    packed = coco_mask.encode(filled)
    text = packed | {"counts": packed["counts"].decode()}
    first = 20 * HEIGHT + 30
    runs = [first, *[50, HEIGHT - 50] * 39, 50]
    plain = {"size": [HEIGHT, WIDTH], "counts": [*runs, HEIGHT * WIDTH - sum(runs)]}
    polygon = [[20, 30, 60, 30, 60, 80, 20, 80]]
    shapes = {"polygon": polygon, "plain": plain, "text": text, "bytes": packed}
    base = {"image_id": 1, "category_id": 1, "bbox": box}
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [base | {"id": 1, "area": 7, "segmentation": s} for s in shapes.values()],
    }
    results = [base | {"score": 0.5, "segmentation": shapes[name]} for name in ("text", "bytes")]
    results[0]["segmentation"] = dict(text)
    evaluated = Predictions(truth, results, image_root="root").evaluated("segm")
    assert evaluated.images[0].path == "root/a.png"
    assert evaluated.truth.areas.tolist() == [7] * 4  # as the json says
    assert evaluated.found.areas.tolist() == [2000] * 2  # of the mask
    for mask in (*evaluated.truth.masks, *evaluated.found.masks):
        assert (coco_mask.decode(mask) == filled).all()
    assert results[0]["segmentation"] == text  # what was given is as it was


@pytest.mark.parametrize(
    ("image", "category"),
    [
        (lambda n: f"image {n:03d}", lambda n: f"class {n}"),
        (lambda n: n - 40, lambda n: n - 5),
        (lambda n: 2**70 + n, lambda n: n * 10**12),
    ],
    ids=["text", "negative", "large"],
)
def test_ids_of_any_kind_change_nothing(image, category):
    truth, rows = with_ids(image, category)
    expected = Predictions(TRUTH, ROWS).evaluated("segm")
    given = Predictions(truth, rows).evaluated("segm")
    assert [i.id for i in given.images] == [image(i.id) for i in expected.images]
    assert given.classes == expected.classes
    for side in ("truth", "found"):
        for name in ("image", "classes", "boxes", "areas", "scores", "crowd", "masks"):
            values = [getattr(getattr(e, side), name) for e in (given, expected)]
            assert np.array_equal(*values), (side, name)


def test_numbers_come_before_text():
    truth, rows = with_ids(lambda n: str(n) if n % 2 else n, lambda n: n)
    ids = [image.id for image in Predictions(truth, rows).evaluated("bbox").images]
    numbers = [value for value in ids if isinstance(value, int)]
    assert ids == [*sorted(numbers), *sorted(set(ids) - set(numbers))]


def test_annotations_of_what_the_json_has_not_are_left_out():
    truth = copy.deepcopy(TRUTH)
    kept = len(truth["annotations"])
    first = truth["annotations"][0]
    truth["annotations"] += [first | {"image_id": 10**6}, first | {"category_id": 10**6}]
    assert len(Predictions(truth, []).evaluated("bbox").truth) == kept


def test_classes_may_be_some_of_the_jsons_categories():
    """As of a panoptic set's things; 9 is the id of a category that is none."""
    rows = [row for row in ROWS if row["category_id"] != 9]
    evaluated = Predictions(TRUTH, rows, classes={4: "four", 2: "two"}).evaluated("bbox")
    assert evaluated.classes == ("four", "two")
    expected = [row["category_id"] for row in TRUTH["annotations"] if row["category_id"] != 9]
    assert [(4, 2)[place] for place in evaluated.truth.classes] == expected


@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_detections_of_other_data_are_refused(key):
    with pytest.raises(InputError, match=r"a detection is of image .+ and category .+, which"):
        Predictions(TRUTH, [ROWS[0] | {key: "other"}]).evaluated("bbox")


def test_masks_that_are_not_there():
    rows = [{k: v for k, v in row.items() if k != "segmentation"} for row in ROWS]
    with pytest.raises(InputError, match="a detection of image 3 has no segmentation, which"):
        Predictions(TRUTH, rows).evaluated("segm")
    truth = TRUTH | {"annotations": [TRUTH["annotations"][0] | {"segmentation": []}]}
    with pytest.raises(InputError, match="an annotation of image 6 has no segmentation, which"):
        Predictions(truth, ROWS).evaluated("segm")


# --- of a run ---


@pytest.fixture(scope="module")
def register(tmp_path_factory):
    with registering(tmp_path_factory.mktemp("loading")) as register:
        yield register


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_what_an_evaluation_measures_is_what_is_loaded(task, register, tmp_path, monkeypatch):
    names = register(TRUTH), register(TRUTH)
    run = run_in(tmp_path, *names, augmented=True)
    results = evaluate(run, TRUTH, {names[0]: ROWS, names[1]: ROWS[::2]}, monkeypatch)
    for name in names:
        for augmented, of in enumerate((run, augmented_run(run))):
            evaluated = load_predictions(of, name).evaluated(task)
            expected = results[name + "_TTA" if augmented else name][task]["AP50"]
            assert (evaluated.dataset, evaluated.task) == (name, task)
            given = 100 * diagnose(evaluated).overall.ap
            assert given == pytest.approx(expected, abs=1e-9)
            assert len(evaluated.found) == len(ROWS[:: 1 if name == names[0] else 2]) - augmented


def test_predictions_that_are_not_of_the_dataset(register, tmp_path, monkeypatch):
    name, other = register(TRUTH), register(TRUTH)
    run = run_in(tmp_path, name)
    with pytest.raises(InputError) as error:
        load_predictions(run, name)
    assert str(error.value) == (
        f"no evaluation has left what was found in {name} in {tmp_path}/inference: evaluate the "
        f"weights on {name} again (--eval-only)"
    )
    evaluate(run, TRUTH, {name: ROWS}, monkeypatch)
    with pytest.raises(InputError, match=rf"/inference \(but of {name}\): evaluate the weights"):
        load_predictions(run, other)
    path = Path(MetadataCatalog.get(name).json_file)
    before = path.read_text()
    path.write_text(json.dumps(TRUTH | {"annotations": TRUTH["annotations"][1:]}))
    with pytest.raises(InputError, match=r"\.json has changed since the evaluation, or"):
        load_predictions(run, name)
    path.write_text(before)
    assert len(load_predictions(run, name).evaluated("bbox").found) == len(ROWS)
    (tmp_path / "inference" / RESULTS).unlink()
    with pytest.raises(InputError, match="no evaluation has left what was found"):
        load_predictions(run, name)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (RECORD, "{", "is damaged: evaluate again (--eval-only)"),
        (RECORD, "{}", "is damaged: evaluate again (--eval-only)"),
        (RECORD, "[]", "is damaged: evaluate again (--eval-only)"),
        (RESULTS, "[{", "is damaged (Expecting property name"),
        (RESULTS, '{"image_id": 3}', "is not what an evaluation writes: evaluate again"),
        (RESULTS, '[{"image_id": 3}]', "is not what an evaluation writes: evaluate again"),
    ],
)
def test_damaged_files_are_an_error_that_names_them(
    register, tmp_path, monkeypatch, file, content, message
):
    name = register(TRUTH)
    run = run_in(tmp_path, name)
    evaluate(run, TRUTH, {name: ROWS}, monkeypatch)
    (tmp_path / "inference" / file).write_text(content)
    with pytest.raises(InputError) as error:
        load_predictions(run, name)
    assert str(error.value).startswith(f"{tmp_path / 'inference' / file} {message}")


@pytest.mark.parametrize("kind", ["lvis", "pascal_voc", "sem_seg", "cityscapes_instance", "mine"])
def test_other_evaluators_do_not_leave_single_objects(kind, tmp_path):
    MetadataCatalog.get("loading_other").set(evaluator_type=kind)
    with pytest.raises(InputError, match=f"its evaluator, {kind}, does not write them in COCO's"):
        load_predictions(run_in(tmp_path, "loading_other"), "loading_other")
    MetadataCatalog.remove("loading_other")


def test_a_detector_without_classes(register, tmp_path):
    name = register(TRUTH)
    run = run_in(tmp_path, name)
    run.cfg.MODEL.META_ARCHITECTURE = "ProposalNetwork"
    with pytest.raises(InputError, match=r"^RPN finds no objects with classes that could be"):
        load_predictions(run, name)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("bbox", [1, 2], "bbox of an object is not 4 finite numbers"),
        ("bbox", [1, 2, None, 4], "bbox of an object is not 4 finite numbers"),
        ("bbox", [1, 2, "x", 4], "bbox of an object is not 4 finite numbers"),
        ("score", float("nan"), "score of an object is not 1 finite number$"),
        ("score", None, "score of an object is not 1 finite number$"),
    ],
)
def test_numbers_that_are_none(key, value, said):
    with pytest.raises(InputError, match=said):
        Predictions(TRUTH, [ROWS[0] | {key: value}]).evaluated("bbox")

"""`--eval-only` of an exported file: the AP of its weights, or why there is none."""

import json

import pytest
from helpers.detectors import config
from helpers.exported import truth_of
from helpers.tiny import custom, train_net, write_json

from hrnet_det import Detector


@pytest.fixture(scope="module")
def data(files, coco, tmp_path_factory):
    """A folder with images/, truth.json of half of what the weights find, and config.yaml."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").symlink_to(coco / "images")
    truth_of(Detector.from_pretrained(files["weights"]), coco / "images", folder / "truth.json")
    (folder / "config.yaml").write_text(config("mask").dump())
    return folder


def evaluated(data, output, file, *more, json_file="truth.json"):
    """The outcome of the command, and its results."""
    words = [
        "--config-file",
        data / "config.yaml",
        "--eval-only",
        *custom(data, json_file, ["TEST"]),
    ]
    words += ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", output]
    words = [*words[:2], *[w for w in more if str(w).startswith("--")], *words[2:]]
    overrides = [w for w in more if not str(w).startswith("--")]
    outcome = train_net(*words, "MODEL.WEIGHTS", file, *overrides)
    results = output / "results.json"
    return outcome, json.loads(results.read_text()) if results.is_file() else None


@pytest.fixture(scope="module")
def by_weights(files, data, tmp_path_factory):
    outcome, results = evaluated(data, tmp_path_factory.mktemp("runs"), files["weights"])
    assert outcome.code == 0
    return results


@pytest.mark.parametrize("form", ["inside", "outside"])
def test_the_ap_is_that_of_the_weights(files, data, by_weights, tmp_path, form):
    outcome, results = evaluated(data, tmp_path, files[form])
    assert (outcome.code, outcome.err) == (0, "")
    for task in ("bbox", "segm"):
        assert 20 < by_weights[task]["AP"] < 90
        assert results[task] == pytest.approx(by_weights[task], abs=1e-3, nan_ok=True)
    assert f"{files[form]}: Mask R-CNN w18_small_v1, ONNX in float32" in outcome.out
    assert f"--eval-only MODEL.WEIGHTS {files[form]}" in outcome.out  # how to do it again
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "predictions.png").is_file()


def test_classes_in_another_order_are_moved_by_name(files, data, by_weights, tmp_path):
    content = json.loads((data / "truth.json").read_text())
    content["categories"] = [row | {"id": 4 - row["id"]} for row in reversed(content["categories"])]
    for row in content["annotations"]:
        row["category_id"] = 4 - row["category_id"]
    write_json(data / "other.json", content)
    outcome, results = evaluated(data, tmp_path, files["inside"], json_file="other.json")
    assert outcome.code == 0
    assert results["bbox"]["AP"] == pytest.approx(by_weights["bbox"]["AP"], abs=1e-3)
    assert results["bbox"]["AP-bar"] == pytest.approx(by_weights["bbox"]["AP-bar"], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["TEST.DTYPE", "bfloat16"], "TEST.DTYPE bfloat16 is for weights; {} computes in float32"),
        (
            ["INPUT.FORMAT", "BGR"],
            "INPUT.FORMAT BGR, and the file has RGB: {} cannot be changed in",
        ),
        (
            ["INPUT.MIN_SIZE_TEST", "80"],
            "INPUT.MIN_SIZE_TEST 80, and the file has 64: {} cannot be",
        ),
        (
            ["MODEL.ROI_HEADS.NMS_THRESH_TEST", "0.9"],
            "MODEL.ROI_HEADS.NMS_THRESH_TEST 0.9, and the file has 0.5: {} cannot be",
        ),
        (["MODEL.MASK_ON", "False"], "{} is a Mask R-CNN, and the config describes a Faster R-CNN"),
        (["--resume"], "--resume evaluates the last checkpoint of OUTPUT_DIR, not {}: leave one"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_a_file_cannot_follow_is_an_error(files, data, tmp_path, words, said):
    outcome, _ = evaluated(data, tmp_path, files["inside"], *words)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {said.format(files['inside'])}")


def test_other_classes(files, data, tmp_path):
    content = json.loads((data / "truth.json").read_text())
    names = ["cat", "dog", "absent"]
    rows = [row | {"name": name} for row, name in zip(content["categories"], names, strict=True)]
    write_json(data / "names.json", content | {"categories": rows})
    outcome, _ = evaluated(data, tmp_path / "a", files["inside"], json_file="names.json")
    assert outcome.code == 0
    assert (
        "(disc in place of cat, bar in place of dog); its class layers are used all" in outcome.out
    )
    rows.append({"id": 9, "name": "bird"})
    write_json(data / "more.json", content | {"categories": rows})
    words = ["MODEL.ROI_HEADS.NUM_CLASSES", "4"]
    outcome, _ = evaluated(data, tmp_path / "b", files["inside"], *words, json_file="more.json")
    assert (outcome.code, outcome.err) == (
        2,
        f"error: {files['inside']} is of other classes: the file has 3 classes, the data 4; only "
        "the data has cat, dog, bird; only the file has disc, bar. Give its own config and data\n",
    )


def test_it_is_not_trained(files, data, tmp_path):
    words = ["--config-file", data / "config.yaml", *custom(data, "truth.json")]
    outcome = train_net(*words, "OUTPUT_DIR", tmp_path, "MODEL.WEIGHTS", files["inside"])
    assert (outcome.code, outcome.err) == (
        2,
        f"error: MODEL.WEIGHTS {files['inside']}: an exported file detects, and cannot be trained: "
        "give the weights that it was exported from, such as model_final.pth; or add --eval-only "
        "to evaluate it\n",
    )

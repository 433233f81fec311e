"""What `hrnet-det check-data` finds in data whose problems are known, and what it writes."""

import html
import json
import re
import shutil
from typing import NamedTuple

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from helpers.suspect_data import HOSTILE, Content, write_image, write_suspect_data
from PIL import Image

from hrnet_det import check_data, cli
from hrnet_det.check_data.page import as_page
from hrnet_det.check_data.sources import load
from hrnet_det.check_data.tables import as_json
from hrnet_det.check_data.text import summary

REPORTS = ("txt", "json", "html")
STATUS = {True: 2, False: 0}


class Made(NamedTuple):
    """A report, its page, and of each dataset's kinds of problems the ids of both kinds."""

    report: check_data.Report
    page: str
    found: dict


def checked(output, *words, config=None, test=None, draws=False):
    run = load(config, [str(word) for word in words], test=test, output=str(output))
    report = check_data.check(run)
    found = {
        (problem.source.name, problem.finding.kind): problem.finding for problem in report.problems
    }
    ids = {key: (list(f.images), list(f.annotations)) for key, f in found.items()}
    return Made(report, as_page(report) if draws else "", ids)


@pytest.fixture(scope="module")
def suspect(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suspect")
    write_suspect_data(folder)
    return folder


@pytest.fixture(scope="module")
def made(suspect, tmp_path_factory):
    test = [str(suspect / "val.json"), str(suspect / "images")]
    output = tmp_path_factory.mktemp("report")
    return checked(output, suspect / "train.json", suspect / "images", test=test, draws=True)


@pytest.fixture
def one_image(tmp_path):
    """A folder with one image, for jsons of a single problem."""
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "1.png", 0)
    return tmp_path


def test_each_problem_is_found_with_its_ids(made):
    assert made.found == {
        ("train", "mask-far-from-box"): ([2], [6, 7]),
        ("train", "masks-nearly-empty"): ([2], [7]),
        ("train", "polygons-flat"): ([3], [8]),
        ("train", "keypoints-outside-image"): ([4], [9]),
        ("train", "keypoints-outside-box"): ([4], [10]),
        ("train", "classes-without-objects"): ([], []),
        ("train", "images-repeated"): ([5], []),
        ("test", "classes-without-objects"): ([], []),
        ("test", "classes-only-in-test"): ([2], [2]),
        ("test", "images-in-training-too"): ([1], []),
    }
    assert summary(made.report) == "10 warnings"
    texts = {(p.source.name, p.finding.kind): p.finding.text for p in made.report.problems}
    assert texts["train", "classes-without-objects"] == (
        "1 of 4 classes have no objects, so they are not learnt: never"
    )
    assert texts["test", "classes-without-objects"].endswith(
        "so they have no AP: <b>sign</b> $x$, person"
    )
    assert texts["test", "classes-only-in-test"].endswith("none to train on: never (1)")
    assert texts["test", "images-in-training-too"].endswith("id 1 as id 3")


def test_the_page_needs_no_other_file_and_escapes_the_data(made):
    inlined = r"data:image/(?:jpeg|svg\+xml);base64,[\w+/=]+"
    sources = re.findall(r'(?:src|href)="([^"]*)"', made.page)
    assert len(sources) == 8 + 5  # samples and plots
    assert all(re.fullmatch(inlined, source) for source in sources)
    assert not re.search(r"https?:|//|<script|<link|@import|url\(", re.sub(inlined, "", made.page))
    assert html.escape(HOSTILE) in made.page
    assert "<b>" not in made.page
    assert "&lt;b&gt;sign&lt;/b&gt; $x$" in made.page
    assert len(made.page) < 10e6


def test_each_problem_with_images_has_samples_of_them(made):
    sections = re.findall(r"<section.*?</section>", made.page, re.DOTALL)
    assert len(sections) == len(made.report.problems)
    for problem, section in zip(made.report.problems, sections, strict=True):
        images = list(problem.finding.images)
        captions = re.findall(r"<figcaption>image (\d+),", section)
        assert list(map(int, captions)) == images[:3]
        assert section.count("data:image/jpeg") == len(captions)
        assert problem.finding.kind in section


def test_the_page_plots_and_counts_the_classes(made):
    # Of one size are all images: objects of classes and of images, their sides, shapes and anchors.
    assert made.page.count("data:image/svg+xml") == 5
    table = made.page[made.page.index("<h2>Classes") :]
    rows = re.findall(r"<tr>(?:<td[^>]*>([^<]*)</td>)(?:<td>([^<]*)</td>)(.*?)</tr>", table)
    counts = {name: re.findall(r">([\d,]+)<", rest) for _, name, rest in rows}
    assert counts == {
        "car": ["7", "1"],
        "person": ["3", "0"],
        "never": ["0", "1"],
        "&lt;b&gt;sign&lt;/b&gt; $x$": ["1", "0"],
    }


def test_the_json_has_all_ids(made):
    found = json.loads(json.dumps(as_json(made.report)))
    ids = {(p["dataset"], p["kind"]): (p["images"], p["annotations"]) for p in found["problems"]}
    assert ids == made.found
    (shared,) = [p for p in found["problems"] if p["kind"] == "images-in-training-too"]
    assert shared["same_as"] == {"1": ["train", 3]}
    assert {p["severity"] for p in found["problems"]} == {"warning"}
    train, test = found["datasets"]
    assert train["objects_of_classes"] == {
        "car": 7,
        "<b>sign</b> $x$": 1,
        "person": 3,
        "never": 0,
    }
    assert (test["statistics"]["images"], test["statistics"]["objects"]) == (2, 2)
    assert sum(train["anchors"]["objects_of_levels"]) == 11
    assert set(found["seconds"]) == {"json", "images", "objects"}


def test_the_text_is_what_is_printed(suspect, tmp_path, capsys):
    words = [str(suspect / "train.json"), str(suspect / "images")]
    assert cli.main(["check-data", *words, "--output", str(tmp_path)]) == STATUS[False]
    printed = capsys.readouterr().out
    text = (tmp_path / "report.txt").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {f"report.{x}" for x in REPORTS}
    assert text in printed
    assert "custom/faster_rcnn.yaml: 7 warnings" in text
    assert re.search(r"^images +5, 0 without objects$", text, re.MULTILINE)
    assert re.search(r"^classes +4, 1 without objects$", text, re.MULTILINE)
    assert re.search(r"^category ids +1 to 9, 5 numbers unused$", text, re.MULTILINE)
    assert re.search(r"^objects +11$", text, re.MULTILINE)
    assert re.search(r"^image height +120 pixels$", text, re.MULTILINE)


def test_a_damaged_image_and_wrong_boxes_are_errors(one_image, capsys):
    write_image(one_image / "images" / "2.png", 1)
    whole = (one_image / "images" / "2.png").read_bytes()
    (one_image / "images" / "2.png").write_bytes(whole[: len(whole) // 2])
    train = Content("1.png", "2.png")
    train.add(1, [10, 10, 40, 40])
    train.write(one_image / "train.json")
    words = [str(one_image / "train.json"), str(one_image / "images")]
    output = ["--output", str(one_image / "report")]
    assert cli.main(["check-data", *words, *output]) == STATUS[True]
    assert "images-damaged: 1 of 2 images cannot be read: '2.png' is truncated" in (
        capsys.readouterr().out
    )
    made = checked(one_image / "again", *words, draws=True)
    assert made.found["train", "images-damaged"] == ([2], [])
    assert made.page.count("data:image/jpeg") == 1  # the half of it that is there


def test_damage_that_only_decoding_shows(one_image):
    path = one_image / "images" / "1.png"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF  # the end of the file is whole
    path.write_bytes(raw)
    train = Content("1.png")
    train.add(1, [10, 10, 40, 40])
    train.write(one_image / "train.json")
    made = checked(one_image / "report", one_image / "train.json", one_image / "images")
    assert made.found["train", "images-damaged"] == ([1], [])


def test_objects_too_small_or_too_many_for_the_settings(one_image):
    train = Content("1.png")
    for i in range(30):
        train.add(1, [5 * (i % 10), 5 * (i // 10), 4, 4])
    train.add(1, [60, 60, 40, 40])
    train.write(one_image / "train.json")
    config = ["INPUT.MIN_SIZE_TRAIN", "(120,)", "TEST.DETECTIONS_PER_IMAGE", "20"]
    config += ["DATASETS.CUSTOM.TRAIN_JSON", one_image / "train.json"]
    config += ["DATASETS.CUSTOM.TRAIN_IMAGES", one_image / "images"]
    made = checked(one_image / "report", *config, config="hrnetv2p_faster_rcnn.yaml")
    small = list(range(1, 31))
    assert made.found["train", "more-objects-than-detections"] == ([1], [])
    assert made.found["train", "objects-small-after-resizing"] == ([1], small)
    assert made.found["train", "anchors-unsuitable"] == ([1], small)
    texts = {problem.finding.kind: problem.finding.text for problem in made.report.problems}
    assert texts["more-objects-than-detections"].startswith(
        "1 of 1 images have more objects than the 20 detections of an image at most, up to 31"
    )
    assert texts["objects-small-after-resizing"].startswith(
        "30 of 31 objects (97%) are smaller than 8 x 8 pixels after resizing (shorter side 120"
    )


@pytest.mark.parametrize("name", ["mmdet", "hrnet_object_detection", "detectron2"])
def test_what_conventions_leave_out_is_told(name, one_image):
    Image.new("RGB", (31, 64)).save(one_image / "images" / "thin.png")
    train = Content("1.png", "thin.png")
    train.images[1] |= {"width": 31, "height": 64}
    train.add(1, [10, 10, 40, 40])
    train.add(1, [10, 10, 0.5, 40])
    train.add(1, [10, 10, 20, 20], area=0)
    train.add(1, [10, 10, 0.5, 40], iscrowd=1)
    train.add(2, [1, 1, 20, 20])
    train.write(one_image / "train.json")
    config = ["DATASETS.CUSTOM.TRAIN_JSON", one_image / "train.json", "MODEL.CONVENTIONS", name]
    config += ["DATASETS.CUSTOM.TRAIN_IMAGES", one_image / "images"]
    made = checked(one_image / "report", *config, config="custom/faster_rcnn.yaml")
    kind = ("train", "left-out-by-conventions")
    if name == "detectron2":
        assert kind not in made.found
        return
    assert made.found[kind] == ([2], [2, 3, 5])
    (found,) = [p.finding for p in made.report.problems if p.finding.kind == kind[1]]
    assert found.severity == "warning"
    assert found.text == (
        f"MODEL.CONVENTIONS {name} leaves out 1 object with a side under 1 px, 1 object without an "
        "area, 1 image with a side under 32 px"
    )


def test_conventions_that_leave_nothing_to_learn_from_are_an_error(one_image, capsys):
    train = Content("1.png")
    train.add(1, [10, 10, 0.5, 40])
    train.write(one_image / "train.json")
    words = ["check-data", "--config-file", "custom/faster_rcnn.yaml", "--output"]
    words += [str(one_image / "report"), "MODEL.CONVENTIONS", "mmdet", "DATASETS.CUSTOM.TRAIN_JSON"]
    words += [str(one_image / "train.json"), "DATASETS.CUSTOM.TRAIN_IMAGES"]
    assert cli.main([*words, str(one_image / "images")]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "MODEL.CONVENTIONS mmdet leaves out 1 object with a side under 1 px, and no object is left "
        "to learn from"
    ) in said


def test_sizes_and_limits_follow_own_data_as_in_a_training(one_image, capsys):
    train = Content("1.png")
    for i in range(90):
        train.add(1, [12 * (i % 10), 12 * (i // 10), 10, 10])
    train.write(one_image / "train.json")
    made = checked(one_image / "report", one_image / "train.json", one_image / "images")
    assert made.report.recipe.detections == 150  # 90 and a fifth more, in fifties
    assert made.report.recipe.levels[0].sides != [32]
    assert any("TEST.DETECTIONS_PER_IMAGE 150" in note for note in made.report.notes)


def test_a_folder_is_read_as_for_a_training(suspect, tmp_path):
    shutil.copytree(suspect, tmp_path / "mine")
    made = checked(tmp_path / "report", tmp_path / "mine")
    assert [checked.source.name for checked in made.report.datasets] == ["train", "test"]
    assert ("test", "images-in-training-too") in made.found


def test_a_dataset_that_code_registered(one_image):
    train = Content("1.png")
    train.add(1, [10, 10, 40, 40])
    train.write(one_image / "train.json")
    register_coco_instances("of_code", {}, str(one_image / "train.json"), str(one_image / "images"))
    words = ["DATASETS.TRAIN", "('of_code',)", "DATASETS.TEST", "('of_code',)"]
    try:
        made = checked(one_image / "report", *words, config="hrnetv2p_faster_rcnn.yaml")
    finally:
        DatasetCatalog.remove("of_code")
        MetadataCatalog.remove("of_code")
    (checked_set,) = made.report.datasets
    assert checked_set.source.name == "of_code"
    assert len(checked_set.objects.rows) == 1
    assert made.report.config == "hrnetv2p_faster_rcnn.yaml"


def test_a_json_that_cannot_be_understood_is_an_error_of_the_report(one_image):
    (one_image / "train.json").write_text("{")
    made = checked(one_image / "report", one_image / "train.json", one_image / "images")
    assert made.found == {("train", "json-unreadable"): ([], [])}
    (one_image / "train.json").write_text(
        json.dumps({"images": [{"id": 1}], "annotations": [3], "categories": []})
    )
    made = checked(one_image / "report", one_image / "train.json", one_image / "images")
    assert {p.finding.severity for p in made.report.problems} == {"error"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "check-data: give a json and the folder of its images, or --config-file"),
        (["a.json", "images", "more"], "check-data a.json images more: give a folder, or a json"),
        (["a.json", "images"], "a.json"),
        (["--config-file", "custom/faster_rcnn.yaml"], "the config names no dataset"),
        (
            [
                "--config-file",
                "quickstart/mask_rcnn.yaml",
                "DATASETS.TRAIN",
                "('quickstart_trian',)",
            ],
            "there is no dataset 'quickstart_trian'; did you mean quickstart_train",
        ),
    ],
)
def test_what_cannot_be_checked_is_one_error(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check-data", *words]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert message in shown.err


def test_deep_images_and_samples_without_files(one_image):
    Image.new("I;16", (160, 120), 4000).save(one_image / "images" / "1.png")
    train = Content("1.png", "gone.png")
    train.add(1, [10, 10, 40, 40], mask=[[10, 10, 20, 20]])
    train.add(1, [150, 100, 40, 40])
    train.write(one_image / "train.json")
    words = one_image / "train.json", one_image / "images"
    made = checked(one_image / "report", *words, draws=True)
    assert made.found["train", "images-missing"] == ([2], [])
    assert "data:image/jpeg" not in made.page.split("images-missing")[1].split("</section>")[0]

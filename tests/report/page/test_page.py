"""The page of a run, as a reader's parser sees it."""

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from helpers.report_run import write_run

from hrnet_det import cli
from hrnet_det.config.load import load_run
from hrnet_det.data import prepare_datasets
from hrnet_det.errors import InputError
from hrnet_det.evaluation.predictions import predictions_folder, record_predictions
from hrnet_det.report.page import write_page

HOSTILE = "<script>alert(1)</script> $x$ \"quoted\" 'it'"


class Page(HTMLParser):
    """The text of each element with an id or a class, and the addresses that it loads."""

    def __init__(self, text):
        super().__init__()
        self.text, self.sources, self.scripts = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        self.sources += [v for k, v in attributes if k in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.text.append(data.strip())

    def has(self, text):
        return text in " ".join(" ".join(self.text).split())


def metrics(folder, *rows):
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


TRAINED = [
    {"iteration": 19, "total_loss": 2.0, "loss_cls": 1.0, "lr": 0.01, "bbox/AP": 10.0,
     "validation_loss/total": 1.0},
    {"iteration": 39, "total_loss": 1.0, "loss_cls": 0.5, "lr": 0.01, "bbox/AP": 8.0,
     "bbox/AP50": 20.0, f"bbox/AP-{HOSTILE}": 8.0, "validation_loss/total": 1.5},
]  # fmt: skip


def test_an_interrupted_run_has_its_history(tmp_path, capsys):
    metrics(tmp_path / "mine", *TRAINED)
    assert cli.main(["report", str(tmp_path / "mine")]) == 0
    assert capsys.readouterr().out == f"written: {tmp_path / 'mine' / 'report.html'}\n"
    page = Page((tmp_path / "mine" / "report.html").read_text())
    assert page.has("bbox/AP on the test set is 8.0, a mean over classes")
    assert page.has(
        "It overfits: the loss on the test set was lowest at iteration 19 (1) and has risen since "
        "then by 50.0% (to 1.5), while the loss in training fell by 50.0%."
    )
    assert page.has("metrics are those of its last evaluation, at iteration 39.")
    assert page.has("There is no config.yaml: its test sets are not known.")
    assert len(page.sources) == 4  # losses, metrics, parts of the loss, learning rate
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)


def test_what_was_not_measured_is_no_number(tmp_path):
    """A training that has not ended has NaN in its metrics.json, COCO's AP without objects."""
    values = {"bbox/AP": float("nan"), "bbox/AP50": 40.0, "bbox/APl": float("nan")}
    metrics(tmp_path / "mine", *TRAINED, {"iteration": 59, "total_loss": 1.0, **values})
    page = Page(write_page(tmp_path / "mine").read_text())
    assert page.has("box - 40.0 - - - -")
    assert page.has("-: the test data has nothing of that class or size.")
    assert not page.has("nan")


def test_the_page_goes_where_it_is_told_and_nothing_else_is_written(tmp_path, monkeypatch):
    metrics(tmp_path / "mine", *TRAINED)
    monkeypatch.chdir(tmp_path)
    for given in (tmp_path / "new" / "mine.html", Path("here.html")):
        assert write_page(tmp_path / "mine", given) == given and given.is_file()
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, r"mine: there is no such folder. Name the OUTPUT_DIR of"),
        ((), r"mine is not a run's folder: it has none of config.yaml, metrics.json, results.json"),
        (("metrics.json", ""), r"metrics.json cannot be used: it is empty"),
        (("results.json", "{"), r"results.json is not valid JSON .*: evaluate again"),
        (("results.json", "[1]"), r"results.json has no metrics: evaluate again"),
        (("results.json", '{"bbox": {"AP": "x"}}'), r"results.json has a metric that is no number"),
    ],
)
def test_what_is_no_run_is_one_error(tmp_path, capsys, made, message):
    folder = tmp_path / "mine"
    if made is not None:
        folder.mkdir()
    if made:
        (folder / made[0]).write_text(made[1])
    assert cli.main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(message, error)


def test_a_page_that_cannot_be_written_is_said_first(tmp_path, capsys):
    metrics(tmp_path / "mine", *TRAINED)
    assert cli.main(["report", str(tmp_path / "mine"), "--output", str(tmp_path)]) == 2
    assert "is a folder: name the file, such as" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["metrics.json", "model_final.pth", "-"])
def test_a_page_does_not_replace_what_is_no_page(tmp_path, capsys, monkeypatch, name):
    metrics(tmp_path / "mine", *TRAINED)
    monkeypatch.chdir(tmp_path / "mine")
    before = Path("metrics.json").read_bytes()
    assert cli.main(["report", ".", "--output", name]) == 2
    assert "the page is HTML: give a name that ends with .html" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["metrics.json"]
    assert Path("metrics.json").read_bytes() == before


def test_what_a_page_lacks_is_said_by_the_command_too(tmp_path, caplog):
    metrics(tmp_path / "mine", *TRAINED)
    write_page(tmp_path / "mine")
    assert "There is no config.yaml: its test sets are not known." in caplog.messages


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_said_of_the_page(tmp_path):
    metrics(tmp_path / "mine", *TRAINED)
    (tmp_path / "a.html.partial").symlink_to("/dev/full")
    with pytest.raises(InputError) as error:
        write_page(tmp_path / "mine", tmp_path / "a.html")
    assert "a.html cannot be written (No space left on device; " in str(error.value)
    assert str(error.value).endswith("free there): make room, or name another file (--output)")


def test_an_evaluation_has_its_page_where_metrics_json_is_empty(tmp_path):
    metrics(tmp_path / "mine")
    (tmp_path / "mine" / "results.json").write_text('{"bbox": {"AP": 30.0, "AP50": 40.0}}')
    page = Page(write_page(tmp_path / "mine").read_text())
    assert page.has("box 30.0 40.0") and page.has("metrics.json cannot be used: it is empty.")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of Mask R-CNN with hostile names, and its page."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    write_run(folder, ["cat", HOSTILE, "n" * 300], masks=True)
    return folder, write_page(folder).read_text()


def test_the_page_of_a_run(run_folder):
    _, text = run_folder
    page = Page(text)
    assert page.has("Mask R-CNN · HRNet w18 · 1,000 iterations of")
    assert page.has("bbox/AP on custom_test is 41.3, a mean over classes")
    assert page.has("it is 63.0 (AP50)")
    assert page.has("lowest at iteration 399 (0.8) and has risen since then by 25.0% (to 1)")
    assert page.has("AP counts the best 100 detections of an image (maxDets).")
    assert page.has("box 41.3 63.0 40.0 12.5 40.0 -")
    # of each of two views the worst images and the best, each twice
    assert sum(source.startswith("data:image/jpeg") for source in page.sources) == 2 * 2 * 12
    for name in ("custom_test, boxes", "custom_test, masks"):
        assert page.has(f"{name} 12 images, ")
    assert not re.search('class="left-out"', text)


def test_the_page_asks_nothing_of_the_network_and_escapes_names(run_folder):
    _, text = run_folder
    page = Page(text)
    assert page.scripts == 1
    assert all(source.startswith("data:image/") for source in page.sources)
    bare = re.sub(r"data:image/[\w+;/=,-]+", "", text)
    assert set(re.findall(r"\w+://[\w.]+", bare)) <= {"http://www.w3.org"}  # names of SVG
    assert not re.search(r"@import|url\((?!#)|<link|xlink:href=\"(?!#)", bare)
    assert "alert(1)</script>" not in text
    assert page.has(HOSTILE) and page.has("n" * 300)
    assert len(text) < 10e6


def test_datasets_that_are_gone_leave_history_and_metrics(run_folder, tmp_path):
    folder, _ = run_folder
    shutil.copytree(folder, tmp_path / "mine", ignore=shutil.ignore_patterns("own"))
    config = tmp_path / "mine" / "config.yaml"
    config.write_text(config.read_text().replace(str(folder), str(tmp_path / "gone")))
    page = Page(write_page(tmp_path / "mine").read_text())
    assert page.has("What was detected in custom_test cannot be compared with its objects, so that "
                    "all but the history and the metrics is left out: ")  # fmt: skip
    assert page.has("box 41.3 63.0") and page.has("lowest at iteration 399")
    assert not page.has("Kinds of errors")


def test_a_run_without_predictions_says_how_to_have_them(run_folder, tmp_path):
    folder, _ = run_folder
    shutil.copytree(folder, tmp_path / "mine", ignore=shutil.ignore_patterns("inference"))
    page = Page(write_page(tmp_path / "mine").read_text())
    assert page.has(
        "custom_test: single detections are left out: no evaluation has left what was found in "
    )
    assert not page.has("Kinds of errors")


def test_a_detector_without_objects_has_metrics_alone(tmp_path):
    folder = tmp_path / "mine"
    metrics(folder, {"iteration": 19, "total_loss": 2.0, "lr": 0.1, "sem_seg/mIoU": 10.0})
    run = load_run("quickstart/semantic.yaml", ["OUTPUT_DIR", str(folder)])
    (folder / "config.yaml").write_text(run.text())
    (folder / "results.json").write_text('{"sem_seg": {"mIoU": 12.34, "IoU-ground": 50.0}}')
    page = Page(write_page(folder).read_text())
    assert page.has("sem_seg/mIoU on quickstart_semantic_val is 12.3")
    assert page.has("semantic 12.3 - - -")
    assert page.has(
        "What this detector gives are no objects that could be looked at one by one: there are its "
        "metrics and its history alone."
    )
    assert page.has("quickstart_semantic_val, each class: semantic IoU class semantic IoU ground")
    assert page.has("ground 50.0")


@pytest.fixture
def both(tmp_path):
    """The names of two registered test sets, of whose images there are predictions."""
    names = ("first_val", "second_val")
    for name in names:
        folder = tmp_path / name
        write_run(folder, ["cat", "dog"], seed=len(name), images=6)
        json_file = str(folder / "own" / "test.json")
        register_coco_instances(name, {}, json_file, str(folder / "own"))
    yield names
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def run_on(folder, names):
    """The folder of a run on registered test sets, not evaluated yet."""
    run = load_run("custom/faster_rcnn.yaml", ["OUTPUT_DIR", str(folder)])
    run.cfg.DATASETS.TEST = names
    run.cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2
    folder.mkdir()
    (folder / "config.yaml").write_text(run.text())
    return run


def leave_predictions(run, folder, name):
    """What an evaluation on a test set of `both` leaves."""
    there = predictions_folder(run, name)
    there.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / name / "inference" / "coco_instances_results.json", there)
    record_predictions(run, name, max_detections=100)


def test_several_test_sets_have_a_view_each(both, tmp_path):
    run = run_on(tmp_path / "both", both)
    metrics(tmp_path / "both", {"iteration": 19, "first_val/bbox/AP": 20.0})
    prepare_datasets(run, trains=False)
    for name in both:
        leave_predictions(run, tmp_path, name)
    results = {
        name: {"bbox": {"AP": ap, "AP50": ap + 10}}
        for name, ap in zip(both, (20.0, 30.0), strict=True)
    }
    (tmp_path / "both" / "results.json").write_text(json.dumps(results))
    page = Page(write_page(tmp_path / "both").read_text())
    for name, ap in zip(both, ("20.0", "30.0"), strict=True):
        assert page.has(f" bbox/AP on {name} is {ap}")
        assert page.has(f"{name}, boxes 6 images, ")
    (tmp_path / "first_val" / "own" / "test.json").unlink()
    page = Page(write_page(tmp_path / "both").read_text())
    assert page.has("What was detected in first_val cannot be compared with its objects, so")
    assert page.has("second_val, boxes 6 images, ") and not page.has("first_val, boxes 6 images")


@pytest.mark.parametrize("trained_on", [("first_val",), ("first_val", "second_val")])
def test_an_evaluation_on_another_test_set_in_the_folder(both, tmp_path, trained_on):
    """It leaves the config of the training, and its results do not say what they are of."""
    run_on(tmp_path / "mine", trained_on)
    run = load_run(tmp_path / "mine" / "config.yaml")
    run.cfg.DATASETS.TEST = ("second_val",)
    prepare_datasets(run, trains=False)
    leave_predictions(run, tmp_path, "second_val")
    (tmp_path / "mine" / "results.json").write_text('{"bbox": {"AP": 30.0, "AP50": 40.0}}')
    page = Page(write_page(tmp_path / "mine").read_text())
    assert page.has(" bbox/AP on second_val is 30.0, ")
    assert page.has("second_val, boxes 6 images, ")
    said = "Its last evaluation was on second_val: its history is of first_val."
    assert page.has(said) == ("second_val" not in trained_on)
    assert not page.has("first_val is")


def test_the_command_uses_weights_that_are_there(tmp_path):
    """Those of the folder, or of the file that an evaluation into a new folder was of."""
    folder = tmp_path / "mine"
    write_run(folder, ["cat"], images=2)
    assert not Page(write_page(folder).read_text()).has("hrnet-det predict")
    config, weights = folder / "config.yaml", tmp_path / "other.pth"
    run = load_run(config, ["MODEL.WEIGHTS", str(weights)])
    config.write_text(run.text())
    for file, shown in ((weights, weights), (folder / "model_final.pth", folder)):
        file.touch()
        assert Page(write_page(folder).read_text()).has(f"hrnet-det predict {shown} IMAGES --score")


def test_files_are_read_once_for_boxes_and_masks(tmp_path, monkeypatch):
    write_run(tmp_path / "mine", ["cat"], images=2, masks=True)
    reads, read = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path.name) or read(path))
    write_page(tmp_path / "mine")
    assert reads.count("coco_instances_results.json") == reads.count("test.json") == 1

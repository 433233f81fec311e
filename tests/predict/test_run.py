"""Images of your own: drawn, written and counted, in Python and by the command."""

import collections
import json
import subprocess
import sys
import types

import numpy as np
import pytest
from helpers.finds import Finds, noise
from helpers.tiny import CLASSES
from PIL import Image
from pycocotools import mask as coco_mask

from hrnet_det import Detector
from hrnet_det.cli import main
from hrnet_det.config import settings
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.predict import Prediction, predict, tally


def test_prediction_draws_writes_and_counts(folder, tmp_path):
    output, (a, b) = tmp_path / "new" / "out", (folder / "a.png", folder / "b.PNG")
    found = predict(Finds(), [a, str(b), a], output)
    assert found == [
        Prediction(a, output / "a.png", {"person": 1, "dog": 1}),
        Prediction(b, output / "b.png", {}),
    ]
    assert sorted(path.name for path in output.iterdir()) == ["a.png", "b.png", "predictions.json"]
    where = {"file_name": str(a), "image_id": 0}
    person = {"category": "person", "category_id": 0, "bbox": [1, 2, 10, 20]}
    dog = {"category": "dog", "category_id": 1, "bbox": [3, 4, 2.5, 2], "score": 0.5}
    assert json.loads((output / "predictions.json").read_text()) == [
        where | person | {"score": pytest.approx(0.9)},
        where | dog,
    ]
    with Image.open(output / "a.png") as drawn:
        assert drawn.size == (500, 300)  # small images are enlarged: here 5 times
        assert not np.array_equal(np.asarray(drawn), noise().repeat(5, 0).repeat(5, 1))
    with Image.open(output / "b.png") as drawn:
        assert np.array_equal(np.asarray(drawn), noise(100, 60).repeat(5, 0).repeat(5, 1))


def test_prediction_into_the_folder_that_one_is_in(folder, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    predict(Finds(), [folder / "a.png"], ".")
    assert sorted(path.name for path in tmp_path.glob("here/*")) == ["a.png", "predictions.json"]


def test_a_folder_is_one_predictions_at_a_time(folder, tmp_path):
    (tmp_path / "out").mkdir()
    holds = "import sys; from hrnet_det.outputs import alone_in\n"
    holds += "with alone_in(sys.argv[1]): print('has it', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holds, tmp_path / "out"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"has it\n"
        with pytest.raises(InputError, match=r"out belongs to another run, which has not ended"):
            predict(Finds(), [folder / "a.png"], tmp_path / "out")
        other.stdin.close()
    predict(Finds(), [folder / "a.png"], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.glob("out/*")) == ["a.png", "predictions.json"]


def test_prediction_of_a_folder_with_a_score_and_masks(folder, tmp_path):
    finds, lines = Finds(), []
    finds.masks = True
    given = [folder, folder / "a.png"]
    found = predict(finds, given, tmp_path / "out", score=0.2, log=lines.append)
    assert [(one.image.name, one.drawing.name) for one in found] == [
        ("a.jpg", "a.png"),
        ("a.png", "a_2.png"),
        ("b.PNG", "b.png"),
    ]
    assert [one.counts for one in found] == [{"person": 2, "dog": 1}] * 2 + [{}]
    assert lines == [
        "left out of what is named: 1 file that is neither image nor video (notes.txt)",
        f"{folder / 'a.jpg'}: 2 person, 1 dog",
        f"{folder / 'a.png'}: 2 person, 1 dog",
        f"{folder / 'b.PNG'}: nothing over 0.2",
    ]
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"a.png", "a_2.png", "b.png", "predictions.json"}
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["image_id"] for row in rows] == [0, 0, 0, 1, 1, 1]
    mask = coco_mask.decode(rows[5]["segmentation"])
    assert (mask.shape, mask.sum(), mask[2:4, 5:9].sum()) == ((60, 100), 8, 8)


def test_every_image_has_a_drawing_of_its_own(folder, tmp_path):
    Image.fromarray(noise()).save(folder / "a_1.jpg")
    predict(Finds(), [folder], tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


def test_what_pillow_only_writes_is_no_image_of_a_folder(folder, tmp_path):
    Image.fromarray(noise()).save(folder / "manual.pdf")
    assert len(predict(Finds(), [folder], tmp_path / "out")) == 3


def test_a_damaged_image_is_left_out_and_named_at_the_end(folder, tmp_path):
    (folder / "a_damaged.png").write_bytes((folder / "a.png").read_bytes()[:500])
    lines = []
    said = r"^1 of 4 images cannot be read:\n  .*a_damaged\.png is truncated$"
    with pytest.raises(InputError, match=said):
        predict(Finds(), [folder], tmp_path / "out", log=lines.append)
    assert [": left out, " in line for line in lines[1:]] == [False, False, True, False]
    written = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert written == ["a.png", "a_2.png", "b.png"]
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["image_id"] for row in rows] == [0, 0, 1, 1]  # nothing is in b.png


def test_of_many_images_that_cannot_be_read_ten_are_named_at_the_end(folder, tmp_path):
    for number in range(12):
        (folder / f"c{number:02}.png").write_text("no image")
    with pytest.raises(InputError) as error:
        predict(Finds(), [folder], tmp_path / "out")
    first, *lines = str(error.value).split("\n  ")
    assert first == "12 of 15 images cannot be read:"
    unread = "is not an image that Pillow can read"
    assert lines == [*(f"{folder / f'c{n:02}.png'} {unread}" for n in range(10)), "and 2 more"]


def test_each_image_is_said_as_soon_as_it_is_done(folder, tmp_path):
    seen = []

    def log(line):
        seen.append((line, len(list((tmp_path / "out").glob("*.png")))))

    predict(Finds(), [folder / "b.PNG", folder / "a.jpg"], tmp_path / "out", log=log)
    assert [line for line, _ in seen] == [
        f"{folder / 'b.PNG'}: nothing over 0.5",
        f"{folder / 'a.jpg'}: 1 person, 1 dog",
    ]
    assert all(drawings >= place for place, (_, drawings) in enumerate(seen, 1))


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
def test_a_score_that_is_none_is_refused_before_anything_is_written(score, folder, tmp_path):
    with pytest.raises(InputError, match=f"score {score}: give a number from 0 to 1"):
        predict(None, [folder], tmp_path / "out", score=score)
    assert not (tmp_path / "out").exists()


def test_a_batch_of_nothing_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"^batch 0: give a whole number of at least 1$"):
        predict(Finds(), [folder], tmp_path / "out", batch=0)


def test_an_output_that_cannot_be_made_is_one_error(folder, tmp_path):
    (tmp_path / "file").touch()
    detector = collections.namedtuple("Names", "class_names")(CLASSES)
    with pytest.raises(InputError, match=r"--output .*/file/out: nothing can be written to .*/fil"):
        predict(detector, [folder], tmp_path / "file" / "out")


@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_images_are_never_overwritten(link, folder, tmp_path):
    output = folder
    if link == "symlink_to":
        output = tmp_path / "link"
        output.symlink_to(folder)
    if link == "hardlink_to":
        output = tmp_path / "out"
        output.mkdir()
        (output / "a.png").hardlink_to(folder / "a.png")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for given in ([folder / "a.png"], [folder / "b.PNG", folder / ".." / "images" / "a.png"]):
        with pytest.raises(InputError) as error:
            predict(Finds(), given, output)
        assert str(error.value) == (
            f"--output {output}: {output / 'a.png'} would overwrite {given[-1]}: "
            "give another folder"
        )
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_of_several_images_that_would_be_overwritten_one_is_named(folder):
    Image.fromarray(noise()).save(folder / "c.png")
    with pytest.raises(InputError, match=r"/a\.png would overwrite .*/a\.png and 1 more: "):
        predict(Finds(), [folder / "a.png", folder / "c.png"], folder)


def test_drawings_may_lie_beside_the_images_that_they_do_not_overwrite(folder):
    (one,) = predict(Finds(), [folder / "b.PNG"], folder)
    assert one.drawing == folder / "b.png" and one.image.read_bytes() != one.drawing.read_bytes()


def test_prediction_without_images(tmp_path):
    for path, kind, said in (
        (
            tmp_path / "no.jpg",
            MissingInputError,
            f"{tmp_path / 'no.jpg'}: there is no such file or folder",
        ),
        (tmp_path, InputError, f"there are no images in the folder {tmp_path}"),
    ):
        with pytest.raises(kind) as error:
            predict(Finds(), [path], tmp_path / "out")
        assert str(error.value) == said
    assert not (tmp_path / "out").exists()


def test_the_command_predicts(run, folder, tmp_path, capsys):
    weights, output, a = run / "model_final.pth", tmp_path / "out", folder / "a.png"
    words = ["--output", str(output), "--device", "cpu", "--score", "0"]
    assert main(["predict", str(weights), str(a), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    title = "hrnet_det or Detectron2: Mask R-CNN, HRNetV2p-W18-small-v1, 3 classes"
    assert lines[0] == f"{weights}: {title}"
    assert lines[-1].startswith("1 image: ")
    assert lines[-1].endswith(f" in 1 of them; drawn and written in {output} (predictions.json)")
    found = Detector.from_pretrained(weights, device="cpu")(a)
    counts = collections.Counter(CLASSES[k] for k in found.pred_classes.tolist()).most_common()
    assert lines[-2] == f"{a}: {', '.join(f'{n} {name}' for name, n in counts)}"
    rows = json.loads((output / "predictions.json").read_text())
    assert [row["score"] for row in rows] == found.scores.tolist() != []
    options = ["--size", "64,96", "--max-detections", "1", "--max-pixels"]
    assert main(["predict", *options, "6000", str(weights), str(a), *words]) == 0
    assert len(json.loads((output / "predictions.json").read_text())) == 1
    assert main(["predict", "--tile", "48", *options, "6000", str(weights), str(a), *words]) == 0
    assert len(json.loads((output / "predictions.json").read_text())) == 1
    assert main(["predict", *options, "5999", str(weights), str(a), *words]) == 2
    assert "a.png has 100x60 pixels, more than INPUT.MAX_PIXELS 5999" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["predict", "--size", "large", str(weights), str(a), *words])
    assert "argument --size: 'large': give pixels: 800 or 800,1333" in capsys.readouterr().err
    assert main(["predict", str(weights), f"{a}x", *words]) == 2
    assert capsys.readouterr().err == f"error: {a}x: there is no such file or folder\n"
    assert main(["predict", str(weights), str(a), *words, "--config-file", "no.yaml"]) == 2
    start = "error: config no.yaml is neither a file nor a shipped config"
    assert capsys.readouterr().err.startswith(start)


@pytest.mark.parametrize(
    ("device", "words", "batch"),
    [("cpu", [], 1), ("cuda:0", [], 8), ("cuda", ["--batch", "3"], 3)],
)
def test_images_at_once_by_the_device(device, words, batch, folder, tmp_path, monkeypatch):
    """Of a detector whose parameters are folded into its buffers, too."""
    given = []
    detector = types.SimpleNamespace(run={settings.DEVICE: device})
    monkeypatch.setattr(Detector, "from_pretrained", lambda *_, **__: detector)
    monkeypatch.setattr(tally, "run_plan", lambda *_, batch: given.append(batch) or 0)
    assert main(["predict", "w.pth", str(folder), "--output", str(tmp_path / "out"), *words]) == 0
    assert given == [batch]


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("", "gpu"),
        ("MODEL: {META_ARCHITECTURE: Unknown}", "cpu"),
        ("MODEL: {HRNET: {VARIANT: w33}}", "cpu"),
    ],
)
def test_the_command_refuses_in_one_line(run, folder, tmp_path, text, device, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(f'_BASE_: "{run / "config.yaml"}"\n{text}\n')
    words = ["--config-file", str(config), "--device", device]
    assert main(["predict", str(run / "model_final.pth"), str(folder), *words]) == 2
    assert capsys.readouterr().err.startswith("error: ")

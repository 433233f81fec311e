"""What metrics.json says of a training, in numbers and in sentences."""

import json

import pytest

from hrnet_det.config.load import load_run
from hrnet_det.errors import InputError
from hrnet_det.report.history import History, read_history
from hrnet_det.report.page.training_story import training_story


def rows(validation=(), ap=(), losses=(2.0, 1.0, 0.8, 0.6), period=100):
    """Rows of a training of len(losses) evaluations, with two rows of losses before each."""
    made = []
    for number, loss in enumerate(losses, start=1):
        end = number * period - 1
        made += [{"iteration": end - 20, "total_loss": loss, "loss_cls": loss / 2, "lr": 0.01}]
        made += [{"iteration": end, "total_loss": loss, "loss_cls": loss / 2, "lr": 0.01}]
        if len(validation) >= number:
            made[-1]["validation_loss/total"] = validation[number - 1]
        if len(ap) >= number:
            made[-1] |= {"bbox/AP": ap[number - 1], "bbox/AP-a/b": 1.0}
    return made


def story(made, run=None, **options):
    return training_story(History(made), run, "bbox/AP", **options)


def test_overfitting_is_named_with_its_iteration_and_by_how_much():
    loss, ap = story(rows(validation=(2.0, 1.25, 1.3, 1.4), ap=(10, 45.2, 44, 40.7)))
    assert (loss.kind, ap.kind) == ("bad", "bad")
    assert loss.text == (
        "It overfits: the loss on the test set was lowest at iteration 199 (1.25) and has risen "
        "since then by 12.0% (to 1.4), while the loss in training fell by 40.0%."
    )
    assert ap.text == (
        "bbox/AP was best at iteration 199 (45.2); at the end it is 4.5 lower (40.7)."
    )
    assert ap.advice.startswith("model_best.pth has the weights of that iteration: use those. ")
    assert "SOLVER.PATIENCE 3" in ap.advice


@pytest.mark.parametrize(
    ("validation", "ap", "losses", "kinds", "texts"),
    [
        (
            (2.0, 1.5, 1.2, 1.0),
            (10, 20, 30, 30.1),
            (2.0, 1.0, 0.8, 0.6),
            ["good", "good"],
            [
                "It does not overfit: the loss on the test set was lowest at the end (1), beside "
                "0.6 in training.",
                "bbox/AP is best at the end (30.1).",
            ],
        ),
        (
            (2.0, 1.0, 1.01, 1.01),
            (10, 20, 30, 40),
            (2.0, 1.0, 0.8, 0.6),
            ["neutral", "neutral"],
            ["The loss on the test set has not fallen since iteration 199 (1): it overfits little",
             "bbox/AP was still rising: from 30.0 at iteration 299 to 40.0 at the end."],
        ),
        (
            (2.0, 1.0, 1.1, 1.2),
            (10, 20, 30, 40),
            (2.0, 1.0, 0.8, 0.6),
            ["neutral", "neutral"],
            ["It begins to overfit: the loss on the test set was lowest at iteration 199 (1)",
             "bbox/AP was still rising"],
        ),
        (
            (2.0, 1.0, 1.1, 1.2),
            (10, 40, 30, 20),
            (2.0, 1.0, 1.1, 1.5),
            ["bad", "bad"],
            ["Its training was unstable: the loss on the test set was lowest at iteration 199 (1) "
             "and has risen since then by 20.0% (to 1.2), and that of training by 50.0%.",
             "bbox/AP was best at iteration 199 (40.0)"],
        ),
    ],
)  # fmt: skip
def test_other_courses_of_a_training(validation, ap, losses, kinds, texts):
    found = story(rows(validation=validation, ap=ap, losses=losses))
    assert [said.kind for said in found] == kinds
    for said, text in zip(found, texts, strict=True):
        assert said.text.startswith(text)


def test_what_cannot_be_told_says_which_key_would_show_it():
    (one,) = story(rows(ap=(), losses=[1.0] * 10))
    assert one.text == (
        "It was not evaluated: whether it overfits, or would learn more, cannot be told."
    )
    assert "TEST.EVAL_PERIOD 100," in one.advice and "TEST.LOSS True" in one.advice
    lazy = load_run("faster_rcnn_hrnetv2p_w18_1x.py")
    (one,) = story([*rows(), {"iteration": 400, "bbox/AP": 3.0}], lazy)
    assert one.text.startswith("It was evaluated once: ")
    assert "train.eval_period=40," in one.advice and "train.test.loss=True" in one.advice
    loss, _ = story(rows(ap=(1, 2, 3, 4)))
    assert loss.text.endswith("none were computed on the test set.")
    assert "TEST.LOSS True" in loss.advice
    assert story([{"iteration": 1, "bbox/AP": 3.0}]) == []  # nothing was trained


def test_the_last_evaluation_by_test_sets(tmp_path):
    first = {"iteration": 9, "a/bbox/AP": 1.0, "b/segm/AP": 2.0}
    last = {"iteration": 19, "a/bbox/AP": 3.0, "a/bbox/AP-x/y": 4.0, "b/segm/AP": 5.0, "lr": 1.0}
    path = tmp_path / "metrics.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in (first, last, {"iteration": 29})))
    history = read_history(path)
    assert history.results() == {
        "a": {"bbox": {"AP": 3.0, "AP-x/y": 4.0}}, "b": {"segm": {"AP": 5.0}}
    }  # fmt: skip
    curve = history.curve("a/bbox/AP")
    assert (curve.iterations, curve.values) == ((9, 19), (1.0, 3.0))


def test_damaged_lines_are_left_out_and_counted(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"iteration": 19, "lr": NaN}\n{"iter\n\n[1]\n{"iteration": 9, "lr": 0.1}\n')
    history = read_history(path)
    assert [row["iteration"] for row in history.rows] == [9, 19]
    assert list(history.left_out) == [2, 4]
    assert history.curve("lr").values == (0.1,)  # nan is no value
    assert not read_history(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "state"), [("", "it is empty"), ("{\nx\n", "none of its lines is a row of metrics")]
)
def test_a_file_without_rows_is_one_error(tmp_path, text, state):
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"metrics.json cannot be used: {state}. .*--resume"):
        read_history(path)

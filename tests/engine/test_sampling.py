"""How often images of a rare class are drawn, against the formula of repeat factors."""

import json
from collections import Counter
from itertools import islice

import pytest
from helpers.tiny import CATEGORIES, make_coco, train_net, write_json
from helpers.training import trainer, words

from hrnet_det.config.load import load_run
from hrnet_det.engine.job import Job
from hrnet_det.engine.training_checks import check_sampler
from hrnet_det.errors import InputError

RARE = 2  # the image with the only bar


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """Five images with a disc in each, one of them with a bar too (and one without objects)."""
    folder = make_coco(tmp_path_factory.mktemp("rare"))
    content = json.loads((folder / "boxes.json").read_text())
    assert CATEGORIES[0] == {"id": 7, "name": "bar"}
    rows = [r for r in content["annotations"] if r["category_id"] == 3 or r["image_id"] == RARE]
    write_json(folder / "boxes.json", content | {"annotations": rows})
    return folder


def drawn(data, output, *more, batches=110):
    """How often each image comes, of two in a batch."""
    built = trainer(data, output, "DATALOADER.ASPECT_RATIO_GROUPING", "False", *more)
    rows = [row for batch in islice(built.data_loader, batches) for row in batch]
    return Counter(row["image_id"] for row in rows)


@pytest.mark.parametrize(
    ("threshold", "root", "factor"),
    [
        # a bar is in a fifth of the images: sqrt(threshold / (1 / 5)), at least 1
        ("0.8", "True", 2.0),
        ("0.8", "False", 4.0),
        ("0.2", "True", 1.0),
        ("0.1", "False", 1.0),
    ],
)
def test_images_of_a_rare_class_are_drawn_as_the_formula_says(
    rare, tmp_path, threshold, root, factor
):
    counts = drawn(
        rare, tmp_path, "DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler",
        "DATALOADER.REPEAT_THRESHOLD", threshold, "DATALOADER.REPEAT_SQRT", root,
    )  # fmt: skip
    # every round draws the rare image `factor` times and the four others once
    assert set(counts) == {1, 2, 3, 5, 6} and sum(counts.values()) == 220
    assert counts[RARE] == pytest.approx(220 * factor / (factor + 4), abs=factor)


def test_factors_between_whole_numbers_hold_on_average(rare, tmp_path):
    counts = drawn(
        rare, tmp_path, "DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler",
        "DATALOADER.REPEAT_THRESHOLD", "0.45", batches=400,
    )  # fmt: skip
    # 800 draws, 5.5 in a round; in each of 145 rounds once or twice: a deviation of 6
    assert counts[RARE] == pytest.approx(800 * 1.5 / 5.5, abs=20)


def test_without_it_all_are_drawn_alike(rare, tmp_path):
    assert set(drawn(rare, tmp_path, batches=50).values()) == {20}


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("RepeatFactorTrainingSampler", [],
         "DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler with DATALOADER.REPEAT_THRESHOLD "
         "0.0: give the share of images, above 0 and at most 1, below which a class is rare"),
        ("RepeatFactorTrainingSampler", ["DATALOADER.REPEAT_THRESHOLD", 2.0],
         "DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler with DATALOADER."
         "REPEAT_THRESHOLD 2.0: give the share"),
        ("RepeatFactorSampler", [],
         "DATALOADER.SAMPLER_TRAIN 'RepeatFactorSampler' is not one of TrainingSampler, "
         "RepeatFactorTrainingSampler; did you mean RepeatFactorTrainingSampler"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_training(rare, tmp_path, name, more, message):
    outcome = train_net(*words(rare, tmp_path / "out", "DATALOADER.SAMPLER_TRAIN", name, *more))
    assert outcome.code == 2
    assert f"error: {message}" in outcome.err
    assert not (tmp_path / "out").exists()


def test_semantic_segmentation_has_no_classes_of_objects():
    more = ["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"]
    more += ["DATALOADER.REPEAT_THRESHOLD", "0.1"]
    given = Job(load_run("Cityscapes/semantic_hrnetv2_w48.yaml", more))
    with pytest.raises(InputError, match="of which Semantic segmentation has none"):
        check_sampler(given)

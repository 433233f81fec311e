"""Image sizes, anchors and limits that follow the data; what is stated stays."""

import numpy as np
import pytest
from detectron2.config import LazyCall as L
from detectron2.data import transforms as T
from helpers.coco_content import content_of

from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.data.proposals import (
    fit_sizes,
    fitting_anchors,
    fitting_size,
    raise_limits,
    training_size,
    warn_of_sizes,
)
from hrnet_det.data.statistics import Statistics

CUSTOM, SHIPPED = "custom/mask_rcnn.yaml", "mask_rcnn_hrnetv2p_w18_1x.yaml"
LAZY = "faster_rcnn_hrnetv2p_w18_1x.py"


def squares(size, sides, images=1):
    """Statistics of images of a size (height, width), each with squares of these sides."""
    return Statistics.of(content_of(*[(size, [(0, 0, side, side) for side in sides])] * images))


def run_of(*overrides, config=CUSTOM):
    return load_run(config, [str(word) for word in overrides])


def sizes(run):
    return tuple(
        run[s]
        for s in (settings.MIN_SIZE_TRAIN, settings.MAX_SIZE_TRAIN, settings.MIN_SIZE_TEST,
                  settings.MAX_SIZE_TEST)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((256, 256), 16, (512, 512)),  # enlarged until objects are 32, here by 2
        ((256, 256), 20, (410, 410)),  # by 1.6
        ((256, 256), 8, (512, 512)),  # by 2 at most
        ((512, 512), 30, (512, 512)),  # by less than 1.2 not at all
        ((1200, 1200), 40, (1200, 1200)),  # objects are large enough
        ((480, 640), 20, (768, 1024)),  # as COCO's, which recipes enlarge to 800x1067
        ((3000, 4000), 300, (1000, 1333)),  # made smaller, objects are 100
        ((3000, 4000), 72, (1333, 1778)),  # as far as objects stay 32
        ((3000, 4000), 40, (1500, 2000)),  # no larger than 2000, objects are 20
        ((100, 100), 90, (256, 256)),  # the coarsest level needs some cells
        ((64, 64), 2, (256, 256)),
    ],
)
def test_the_rule_for_sizes(size, side, expected):
    assert fitting_size(squares(size, [side]))[0] == expected


def test_images_of_several_sizes_by_their_median():
    images = [((side, side), [(0, 0, side / 10, side / 10)]) for side in (500, 900, 1200)]
    (shortest, longest), reason = fitting_size(Statistics.of(content_of(*images)))
    assert (shortest, longest) == (900, 900)  # objects are 90 in all of them
    assert reason.startswith("images are 900x900 (the median) and keep their size")


def test_one_long_image_among_many_does_not_change_the_longer_side():
    images = [((400, 400), [(0, 0, 50, 50)])] * 39 + [((400, 4000), [(0, 0, 50, 50)])]
    assert fitting_size(Statistics.of(content_of(*images)))[0] == (400, 400)


def test_the_rule_for_anchors():
    sides = np.linspace(12, 212, 201)  # 5 %: 22, 95 %: 202
    assert fitting_anchors(sides, 5) == [[22], [44], [88], [176], [352]]
    assert fitting_anchors(sides / 11, 5) == [[8], [16], [32], [64], [128]]
    assert fitting_anchors(sides * 4, 5) == [[32], [72], [161], [360], [808]]  # by 2.24
    assert fitting_anchors(sides, 1) == [[22]]


def test_what_fits_is_set_and_said_in_two_lines():
    run = run_of()
    fit_sizes(run, squares((400, 400), [18, 18, 18, 90]))
    assert sizes(run) == ((711,), 711, 711, 711)  # by 32 / 18
    assert run[settings.ANCHOR_SIZES] == [[32], [64], [128], [256], [512]]  # as they were
    assert run.notes == [
        "INPUT.MIN_SIZE_TRAIN (711,), INPUT.MAX_SIZE_TRAIN 711, INPUT.MIN_SIZE_TEST 711, "
        "INPUT.MAX_SIZE_TEST 711: images are 400x400, a quarter of the objects are under 18 "
        "pixels; resized by 1.78."
    ]
    run = run_of()
    fit_sizes(run, squares((1200, 1200), [16] * 10 + [100] * 90))
    assert sizes(run) == ((1200,), 1200, 1200, 1200)
    assert run.notes[1] == (
        "MODEL.ANCHOR_GENERATOR.SIZES [[16], [32], [64], [128], [256]]: 90 % of the objects are "
        "16 to 100 pixels after resizing."
    )


def test_objects_lost_in_large_images_bring_advice():
    run = run_of()
    fit_sizes(run, squares((3000, 4000), [40]))
    assert sizes(run) == ((1500,), 2000, 1500, 2000)
    assert run.notes[0].endswith(
        "images are 4000x3000, a quarter of the objects are under 40 pixels; resized by 0.50, "
        "which leaves these 20. For objects that small cut images and json into tiles, or train on "
        'crops at full size: INPUT.SCALES_TRAIN "[[3000, 4000]]" INPUT.CROP_TRAIN "[800, 1333]".'
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("INPUT.MIN_SIZE_TRAIN", "(320, 384)"), ((320, 384), 512, 384, 512)),
        (("INPUT.MIN_SIZE_TEST", 600), ((600,), 600, 600, 600)),
        (("INPUT.MAX_SIZE_TRAIN", 640), ((512,), 640, 512, 640)),
        (("INPUT.SCALES_TRAIN", "[[300, 400], [400, 500]]"), ((400,), 500, 400, 500)),
    ],
)
def test_sizes_that_are_stated_stay_and_the_others_follow_them(words, expected):
    run = run_of(*words)
    fit_sizes(run, squares((256, 256), [16]))
    assert sizes(run) == expected
    assert run.notes[0].endswith("as the sizes that are stated.")


def test_anchors_that_are_stated_stay():
    run = run_of("MODEL.ANCHOR_GENERATOR.SIZES", "[[9], [18], [36], [72], [144]]")
    fit_sizes(run, squares((256, 256), [10]))
    assert run[settings.ANCHOR_SIZES] == [[9], [18], [36], [72], [144]]


def test_images_without_objects_propose_nothing():
    run = run_of()
    fit_sizes(run, squares((256, 256), []))
    assert sizes(run) == ((800,), 1333, 800, 1333) and not run.notes


# --- configs of other data ---


def test_a_config_that_makes_objects_too_small_is_said():
    run = run_of(config="quickstart/mask_rcnn.yaml")
    warn_of_sizes(run, squares((1200, 1200), [40] * 3 + [400] * 7))  # by 0.12: 5 and 48 pixels
    assert run.notes == [
        "Warning: of images resized to a shorter side of 144 and a longer one of at most 256, 30% "
        "of the objects are under 8 pixels, hardly to be found: custom/mask_rcnn.yaml (or "
        "DATASETS.CUSTOM.FIT True) fits sizes and anchors to data."
    ]
    assert sizes(run) == ((144,), 256, 144, 256)


def test_anchors_that_fit_few_objects_are_said():
    run = run_of("INPUT.MIN_SIZE_TRAIN", "(400,)", config="faster_rcnn_hrnetv2p_w18_1x.yaml")
    warn_of_sizes(run, squares((400, 400), [12, 12, 12, 100]))
    (note,) = run.notes
    assert "75% of the objects are under half or over twice as large as every anchor" in note
    assert "custom/faster_rcnn.yaml" in note


def test_what_overrides_the_fit_is_named():
    run = run_of("INPUT.MIN_SIZE_TRAIN", "(64,)")
    fit_sizes(run, squares((1024, 1024), [32]))
    run.notes.clear()
    warn_of_sizes(run, squares((1024, 1024), [32]))
    assert "100% of the objects are under 8 pixels" in run.notes[0]
    assert "leave out INPUT.MIN_SIZE_TRAIN, INPUT.MAX_SIZE_TRAIN" in run.notes[0]


@pytest.mark.parametrize("config", [SHIPPED, CUSTOM, LAZY])
def test_data_that_fit_are_not_warned_of(config):
    run = run_of(config=config)
    warn_of_sizes(run, squares((800, 800), [20, 40, 200, 400]))
    assert not run.notes


# --- limits ---


@pytest.mark.parametrize(
    ("most", "limit"), [(83, 100), (84, 150), (150, 200), (417, 550), (900, 1100)]
)
def test_detections_follow_the_most_objects_in_an_image(most, limit):
    run = run_of()
    raise_limits(run, [squares((800, 800), [9] * 3), squares((800, 800), [9] * most)])
    assert run.detections_per_image == run.cfg.TEST.DETECTIONS_PER_IMAGE == limit
    proposals = (run.cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN, run.cfg.MODEL.RPN.POST_NMS_TOPK_TEST)
    assert proposals == (max(1000, limit),) * 2
    if limit == 100:
        assert not run.notes
    elif limit < 1000:
        assert run.notes == [f"TEST.DETECTIONS_PER_IMAGE {limit}: an image has {most} objects."]
    else:
        assert run.notes == [
            "TEST.DETECTIONS_PER_IMAGE 1100, MODEL.RPN.POST_NMS_TOPK_TRAIN 1100, "
            "MODEL.RPN.POST_NMS_TOPK_TEST 1100: an image has 900 objects; this takes more memory, "
            "most of all for masks."
        ]


def test_a_limit_is_never_lowered_and_a_stated_one_is_kept():
    run = run_of("TEST.DETECTIONS_PER_IMAGE", 40)
    raise_limits(run, [squares((800, 800), [9] * 50)])
    assert run.detections_per_image == 40
    assert run.notes == [
        "Warning: TEST.DETECTIONS_PER_IMAGE 40, but an image has 50 objects: the rest cannot be "
        "found."
    ]
    run = run_of()
    raise_limits(run, [squares((800, 800), [9])])
    assert run.detections_per_image == 100


@pytest.mark.parametrize(
    ("config", "place"),
    [
        (LAZY, "model.roi_heads.box_predictor.test_topk_per_image"),
        (
            "cascade_rcnn_hrnetv2p_w32_20e.py",
            "model.roi_heads.box_predictors.2.test_topk_per_image",
        ),
        ("fcos_hrnetv2p_w18_1x.py", "model.max_detections_per_image"),
    ],
)
def test_the_limits_of_lazy_configs(config, place):
    run = run_of(config=config)
    raise_limits(run, [squares((800, 800), [9] * 150)])
    assert run.detections_per_image == 200
    (note,) = run.notes
    assert note.removeprefix("+") == f"{place}=200: an image has 150 objects."


def test_detectors_of_no_objects_have_no_limit():
    run = run_of(config="rpn_hrnetv2p_w18_1x.yaml")
    raise_limits(run, [squares((800, 800), [9] * 150)])
    assert not run.notes


SHORTER = {"short_edge_length": (64, 80), "sample_style": "choice"}


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ([L(T.ResizeShortestEdge)(**SHORTER, max_size=96)], (80, 96)),
        ([T.ResizeShortestEdge(**SHORTER, max_size=96), T.RandomFlip()], (80, 96)),
        ([T.RandomFlip(), L(T.ResizeShortestEdge)(short_edge_length=64, max_size=96)], (64, 96)),
        ([L(T.ResizeShortestEdge)(**SHORTER)], None),  # the longer side is not bounded
        ([T.ResizeShortestEdge(**SHORTER)], None),
        ([L(T.RandomFlip)()], None),
        ([], None),
    ],
)
def test_the_training_size_of_a_lazy_config(steps, size):
    run = run_of(config=LAZY)
    run.cfg.dataloader.train.mapper.augmentations = steps
    assert training_size(run) == size
    del run.cfg.dataloader.train["mapper"]  # of a loader of the user's own
    assert training_size(run) is None

"""What detectors learn from by MODEL.CONVENTIONS: beside mmdetection, and by formulas."""

import logging

import cv2
import helpers.awkward_coco as awkward
import helpers.mmdet_reference as reference
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import BitMasks
from PIL import Image
from pycocotools.coco import COCO

from hrnet_det import get_cfg
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.data.checks import check_images
from hrnet_det.data.mapper import build_loss_mapper, build_mapper
from hrnet_det.data.rows import rows_to_learn_from, type_datasets
from hrnet_det.errors import InputError

REASON = reference.unavailable()
beside_mmdetection = pytest.mark.skipif(REASON is not None, reason=f"no mmdetection: {REASON}")
NAME = "awkward_coco"
LIMITS = [(50, 70), (133, 190)]  # shorter, longer side: images shrink, images grow
LEFT = {"mmdet": [1, 3, 4, 6, 7], "hrnet_object_detection": [1, 6, 7]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The dataset's folder; it is registered while the tests of this file run."""
    folder = tmp_path_factory.mktemp("awkward")
    awkward.write(folder)
    json_file, images = str(folder / "annotations.json"), str(folder / "images")
    register_coco_instances(NAME, {}, json_file, images)
    type_datasets([NAME])
    yield folder
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def config(conventions, shortest=50, longest=70, *, masks=True, empty=False):
    cfg = get_cfg()
    merge_overrides(cfg, ["MODEL.CONVENTIONS", conventions])
    cfg.INPUT.FORMAT, cfg.MODEL.MASK_ON = "RGB", masks
    cfg.DATASETS.TRAIN = (NAME,)
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = not empty
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (shortest,), longest
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    return cfg


def mapped(cfg, folder, *, flip, maps=False):
    """{image's id: what the mapper makes of its row} of all images that are learned from."""
    mapper = build_mapper(cfg, is_train=True)
    mapper.augmentations.augs[-1].prob = float(flip)
    rows = rows_to_learn_from(cfg, cfg.DATASETS.TRAIN)
    if maps:
        rows = [r | {"sem_seg_file_name": f"{folder}/maps/{r['image_id']}.png"} for r in rows]
    return {row["image_id"]: mapper(row) for row in rows}


def theirs(folder, shortest, longest, *, flip, masks=True, empty=False):
    """{image's id: inputs and data sample} of mmdetection's own dataset and pipeline."""
    from mmdet.datasets import CocoDataset

    dataset = CocoDataset(
        ann_file=str(folder / "annotations.json"),
        data_prefix={"img": str(folder / "images"), "seg": str(folder / "maps")},
        metainfo={"classes": awkward.CLASSES},
        filter_cfg={"filter_empty_gt": not empty, "min_size": 32},
        pipeline=[
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True, "with_mask": masks, "with_seg": True},
            {"type": "Resize", "scale": (longest, shortest), "keep_ratio": True},
            {"type": "RandomFlip", "prob": float(flip)},
            {"type": "PackDetInputs"},
        ],
    )
    samples = [dataset[i] for i in range(len(dataset))]
    return {sample["data_samples"].img_id: sample for sample in samples}


# --- beside mmdetection ---


@beside_mmdetection
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("limits", LIMITS)
def test_all_is_what_mmdetections_pipeline_makes_bit_by_bit(folder, limits, flip):
    ours = mapped(config("mmdet", *limits), folder, flip=flip, maps=True)
    others = theirs(folder, *limits, flip=flip)
    assert sorted(ours) == sorted(others) == LEFT["mmdet"]
    for image_id, sample in others.items():
        row, truth = ours[image_id], sample["data_samples"].gt_instances
        objects = row["instances"]
        pixels = sample["inputs"].flip(0).numpy()  # BGR
        np.testing.assert_array_equal(row["image"].numpy(), pixels)
        labels = sample["data_samples"].gt_sem_seg.sem_seg[0].numpy()
        np.testing.assert_array_equal(row["sem_seg"].numpy(), labels)
        assert objects.image_size == sample["data_samples"].img_shape
        np.testing.assert_array_equal(objects.gt_boxes.tensor, truth.bboxes.tensor)
        assert objects.gt_classes.tolist() == truth.labels.tolist()
        if len(objects):
            np.testing.assert_array_equal(objects.gt_masks.tensor, truth.masks.masks)
    assert [len(ours[i]["instances"]) for i in LEFT["mmdet"]] == [7, 0, 0, 1, 2]


@beside_mmdetection
def test_images_without_annotations_are_learned_from_as_mmdetection_does(folder):
    ours = mapped(config("mmdet", masks=False, empty=True), folder, flip=False)
    others = theirs(folder, *LIMITS[0], flip=False, masks=False, empty=True)
    assert sorted(ours) == sorted(others) == [1, 3, 4, 5, 6, 7]
    for image_id, sample in others.items():
        boxes = ours[image_id]["instances"].gt_boxes.tensor
        np.testing.assert_array_equal(boxes, sample["data_samples"].gt_instances.bboxes.tensor)
        assert not ours[image_id]["instances"].has("gt_masks")


# --- HRNet-Object-Detection, by formulas ---


def nearest(mask, size):
    """The value at the pixel that the upper left corner of each pixel of `size` falls in.

    The scale is rounded as OpenCV does, which tells where a corner lies on an edge.
    """
    rows, columns = (
        np.minimum(np.floor(np.arange(new) * (1 / (new / old))).astype(int), old - 1)
        for new, old in zip(size, mask.shape, strict=True)
    )
    return mask[rows[:, None], columns]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("limits", "resize"), [(LIMITS[0], "opencv"), (LIMITS[1], "opencv_float")])
def test_boxes_of_hrnet_object_detection_are_closed_ones_times_one_scale(
    folder, limits, resize, flip
):
    """And of mmdetection 1, which resizes whole levels: INPUT.RESIZE opencv."""
    cfg = config("hrnet_object_detection", *limits)
    cfg.INPUT.RESIZE = resize
    ours = mapped(cfg, folder, flip=flip)
    assert sorted(ours) == LEFT["hrnet_object_detection"]
    coco = COCO(str(folder / "annotations.json"))
    for image_id, row in ours.items():
        height, width = awkward.SIZES[image_id]
        shortest, longest = limits
        scale = min(longest / max(height, width), shortest / min(height, width))
        new_height, new_width = int(height * scale + 0.5), int(width * scale + 0.5)
        boxes, masks, classes = [], [], []
        for found in coco.imgToAnns[image_id]:
            x, y, w, h = found["bbox"]
            if found["iscrowd"] or found["area"] <= 0 or w < 1 or h < 1:
                continue
            closed = np.array([x, y, x + w - 1, y + h - 1]) * scale
            mask = nearest(coco.annToMask(found), (new_height, new_width))
            if flip:
                closed = np.array([new_width - 1, 0, new_width - 1, 0]) - closed * [1, -1, 1, -1]
                closed, mask = closed[[2, 1, 0, 3]], mask[:, ::-1]
            closed[0::2] = closed[0::2].clip(0, new_width - 1)
            closed[1::2] = closed[1::2].clip(0, new_height - 1)
            boxes.append(closed + np.array([0, 0, 1, 1]))
            masks.append(mask)
            classes.append({3: 0, 8: 1}[found["category_id"]])
        objects = row["instances"]
        np.testing.assert_allclose(objects.gt_boxes.tensor, boxes, rtol=0, atol=5e-5)
        np.testing.assert_array_equal(objects.gt_masks.tensor, np.stack(masks))
        assert objects.gt_classes.tolist() == classes
        with Image.open(folder / "images" / f"{image_id}.png") as image:
            dtype = np.uint8 if resize == "opencv" else np.float32
            pixels = np.asarray(image.convert("RGB"), dtype=dtype)
        pixels = cv2.resize(pixels, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
        pixels = pixels[:, ::-1] if flip else pixels
        np.testing.assert_array_equal(row["image"].permute(1, 2, 0), pixels)
    # Its own box would end a pixel outside the image, and one outside has a pixel at the border.
    assert len(ours[1]["instances"]) == 8


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("limits", [(70, 90), (50, 200)])
def test_before_a_crop_hrnet_object_detection_resizes_with_pillow(folder, limits, flip):
    """As its RandomResizeCrop: antialiased, the longer side cut off, the shorter one's scale."""
    cfg = config("hrnet_object_detection", masks=False)
    cfg.INPUT.SCALES_TRAIN, cfg.INPUT.CROP_TRAIN = [list(limits)], [300, 300]  # all of the image
    for image_id, row in mapped(cfg, folder, flip=flip).items():
        shortest, longest = limits
        with Image.open(folder / "images" / f"{image_id}.png") as image:
            width, height = image.size
            low, high = sorted((width, height))
            if high / low * shortest > longest:
                shortest = round(longest / high * low)
            scale = shortest / low
            size = (
                (int(scale * width), shortest) if low == height else (shortest, int(scale * height))
            )
            pixels = np.asarray(image.convert("RGB").resize(size, Image.BILINEAR))
        np.testing.assert_array_equal(
            row["image"].permute(1, 2, 0), pixels[:, ::-1] if flip else pixels
        )
        x, y, w, h = COCO(str(folder / "annotations.json")).imgToAnns[image_id][0]["bbox"]
        x0, x1 = x * scale, (x + w - 1) * scale + 1
        x0, x1 = (size[0] - x1, size[0] - x0) if flip else (x0, x1)
        expected = [x0, y * scale, x1, (y + h - 1) * scale + 1]
        np.testing.assert_allclose(row["instances"].gt_boxes.tensor[0], expected, rtol=0, atol=5e-5)
        shortest = limits[0]


# --- the mapper ---


def test_masks_are_bitmaps_also_where_losses_of_test_images_are_computed(folder):
    """The sliver, of whose mask no pixel is left, stays."""
    run = RunConfig(config("mmdet"))
    (row, *_) = rows_to_learn_from(run.cfg, [NAME])
    objects = build_loss_mapper(run)(row)["instances"]
    assert type(objects.gt_masks) is BitMasks
    assert objects.gt_masks.nonempty().tolist() == [True] * 4 + [False] + [True] * 2


def test_pasted_objects_bring_their_bitmaps(folder):
    cfg = config("mmdet")
    cfg.INPUT.AUGMENT.COPY_PASTE = 1.0
    cfg.INPUT.RANDOM_FLIP = "none"
    mapper = build_mapper(cfg, is_train=True)
    emptied = next(row for row in mapper.copy_paste.rows if row["image_id"] == 4)
    np.random.seed(1)
    pasted = max((mapper(emptied)["instances"] for _ in range(5)), key=len)
    assert len(pasted) and type(pasted.gt_masks) is BitMasks
    assert pasted.gt_masks.tensor.shape == (len(pasted), *pasted.image_size)


def test_the_config_says_bitmask_where_masks_are_learned_as_pixels(folder):
    for masks, expected in ((True, "bitmask"), (False, "polygon")):
        run = RunConfig(config("mmdet", masks=masks))
        check_images(run)
        assert expected == run.cfg.INPUT.MASK_FORMAT
        assert run.notes == masks * [
            "INPUT.MASK_FORMAT bitmask: MODEL.CONVENTIONS mmdet learns from the pixels of masks."
        ]


# --- what is left out ---


@pytest.mark.parametrize(
    ("conventions", "left_out"),
    [
        ("mmdet", "1 object outside its image, 1 image with a side under 32 px"),
        (
            "hrnet_object_detection",
            "1 image with a side under 32 px, 2 images of which no object is left",
        ),
    ],
)
def test_a_line_says_how_many_are_left_out(folder, caplog, conventions, left_out):
    with caplog.at_level(logging.INFO, logger="detectron2.hrnet_det"):
        rows_to_learn_from(config(conventions), [NAME])
    lines = [r.getMessage() for r in caplog.records if r.name == "detectron2.hrnet_det"]
    assert lines == [
        f"MODEL.CONVENTIONS {conventions} leaves out 3 objects with a side under 1 px, "
        f"1 object without an area, {left_out}."
    ]


def test_detectron2s_rules_leave_out_images_without_objects_alone(folder, caplog):
    with caplog.at_level(logging.INFO, logger="detectron2.hrnet_det"):
        rows = rows_to_learn_from(config("detectron2"), [NAME])
    assert [row["image_id"] for row in rows] == [1, 2, 4, 6, 7]
    assert [len(row["annotations"]) for row in rows] == [12, 1, 1, 1, 2]
    assert not [r for r in caplog.records if r.name == "detectron2.hrnet_det"]


def test_an_area_that_the_annotations_do_not_give_is_that_of_the_mask_or_box(folder):
    cfg = config("mmdet")
    sliver = [[10, 10, 20, 20, 30, 30]]  # on one line

    def load():
        base = {"file_name": "a.png", "height": 40, "width": 40}
        objects = [
            {"bbox": [10, 10, 30, 30], "bbox_mode": 0, "category_id": 0},
            {"bbox": [10, 10, 30, 30], "bbox_mode": 0, "category_id": 0, "segmentation": sliver},
        ]
        return [base | {"image_id": 1, "annotations": objects}]

    DatasetCatalog.register("without_areas", load)
    MetadataCatalog.get("without_areas").thing_classes = ["disc"]
    try:
        (row,) = rows_to_learn_from(cfg, ["without_areas"])
        assert row["annotations"] == load()[0]["annotations"][:1]
    finally:
        DatasetCatalog.remove("without_areas")
        MetadataCatalog.remove("without_areas")


def test_a_dataset_of_which_nothing_is_left_is_refused(folder):
    def load():
        thin = {"bbox": [10, 10, 10.5, 30], "bbox_mode": 0, "category_id": 0}
        row = {"file_name": "a.png", "height": 40, "width": 40, "image_id": 1}
        return [row | {"annotations": [thin]}]

    DatasetCatalog.register("thin_alone", load)
    MetadataCatalog.get("thin_alone").thing_classes = ["disc"]
    try:
        with pytest.raises(InputError) as error:
            rows_to_learn_from(config("mmdet"), ["thin_alone"])
        assert str(error.value) == (
            "DATASETS.TRAIN thin_alone: no image has an object that is left by MODEL.CONVENTIONS "
            "mmdet, which leaves out 1 object with a side under 1 px, to learn from"
        )
    finally:
        DatasetCatalog.remove("thin_alone")
        MetadataCatalog.remove("thin_alone")

"""Copy-paste: pasted pixels, masks and boxes, and what is left of the objects beneath."""

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, Keypoints
from PIL import Image

from hrnet_det import model_zoo
from hrnet_det.config.load import as_run
from hrnet_det.data.checks import check_images
from hrnet_det.data.copy_paste import paste
from hrnet_det.data.mapper import build_loss_mapper, build_mapper
from hrnet_det.engine import Trainer
from hrnet_det.errors import InputError

MASK = "hrnetv2p_mask_rcnn.yaml"
ON = ["INPUT.AUGMENT.COPY_PASTE", "1.0"]
# Of each image its size, height and width, and its objects' boxes; classes count over both.
IMAGES = (
    ((90, 140), ((20, 20, 50, 34), (80, 30, 100, 70), (30, 52, 62, 74))),
    ((100, 90), ((10, 12, 60, 40), (30, 50, 80, 90))),
)
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))


def mapped(size, boxes, level, points=()):
    """An image of one level whose objects are boxes, as a mapper gives it."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    found = Instances(size, gt_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32)))
    found.gt_classes, found.gt_masks = torch.arange(len(boxes)) + level, BitMasks(masks)
    if points:
        found.gt_keypoints = Keypoints(torch.tensor(points, dtype=torch.float32))
    image = torch.full((3, *size), level, dtype=torch.uint8)
    return {"image": image, "instances": found, "sem_seg": torch.full(size, level)}


def test_an_object_covers_what_is_beneath_it():
    """A 4x4 square at (2, 1), pasted 3 to the right and 1 down, covers x 5..9, y 2..6."""
    beneath = [(0, 0, 3, 3), (4, 1, 8, 8), (5, 3, 7, 5)]  # untouched, in part, wholly
    onto, other = mapped((10, 12), beneath, 1), mapped((8, 8), [(2, 1, 6, 5)], 7)
    paste(onto, other, (1, 3))
    found = onto["instances"]
    assert found.gt_classes.tolist() == [1, 2, 7]  # class 3 is gone
    cover = torch.zeros(10, 12, dtype=torch.bool)
    cover[2:6, 5:9] = True
    assert torch.equal(onto["image"][0] == 7, cover) and torch.equal(onto["sem_seg"] == 7, cover)
    # of columns 4..8 and rows 1..8 column 4, row 1 and rows 6, 7 are left: 7 + 3 + 6 pixels
    assert found.gt_masks.tensor.flatten(1).sum(1).tolist() == [9, 16, 16]
    assert found.gt_boxes.tensor.tolist() == [[0, 0, 3, 3], [4, 1, 8, 8], [5, 2, 9, 6]]
    assert not (found.gt_masks.tensor[:2] & cover).any()


def test_a_box_follows_what_is_left_of_a_mask():
    """Of x 2..8 the right half, from 5 on, is covered."""
    onto = mapped((10, 12), [(2, 2, 8, 6)], 0)
    paste(onto, mapped((10, 12), [(5, 0, 12, 10)], 1), (0, 0))
    assert onto["instances"].gt_boxes.tensor.tolist() == [[2, 2, 5, 6], [5, 0, 12, 10]]


def test_what_lies_outside_is_cut_off():
    """A larger image, moved by -2 and -3: (1, 1, 4, 6) ends at 1 and 4; (0, 0, 3, 2) is gone."""
    onto = mapped((6, 6), [], 0)
    paste(onto, mapped((9, 9), [(1, 1, 4, 6), (0, 0, 3, 2), (7, 7, 9, 9)], 4), (-2, -3))
    found = onto["instances"]
    assert found.gt_classes.tolist() == [4, 6]
    assert found.gt_boxes.tensor.tolist() == [[0, 0, 1, 4], [4, 5, 6, 6]]
    assert found.image_size == (6, 6) and found.gt_masks.tensor.shape == (2, 6, 6)
    assert (onto["image"][0] == 4).sum() == 4 + 2


def test_covered_keypoints_are_hidden_and_pasted_ones_move():
    points = [[[2, 2, 2], [6, 3, 2], [6, 4, 1], [0, 0, 0]]]
    onto = mapped((10, 12), [(1, 1, 8, 8)], 0, points)
    other = mapped((10, 12), [(4, 2, 7, 5)], 1, [[[4, 2, 2], [6, 4, 1], [9, 4, 2], [0, 0, 0]]])
    paste(onto, other, (0, 4))
    below, pasted = onto["instances"].gt_keypoints.tensor.tolist()
    assert below == [[2, 2, 2], [6, 3, 2], [6, 4, 1], [0, 0, 0]]  # the square is at 8..11
    assert pasted == [[8, 2, 2], [10, 4, 1], [0, 0, 0], [0, 0, 0]]  # 13 is outside
    onto = mapped((10, 12), [(1, 1, 8, 8)], 0, points)
    paste(onto, other, (0, 0))
    assert onto["instances"].gt_keypoints.tensor[0].tolist()[1] == [6, 3, 1]


@pytest.fixture
def dataset(tmp_path):
    """Two black images with objects of five classes, each in its colour."""
    rows, number = [], 0
    for i, (size, boxes) in enumerate(IMAGES):
        pixels, objects = np.zeros((*size, 3), np.uint8), []
        for x0, y0, x1, y1 in boxes:
            pixels[y0:y1, x0:x1] = COLOURS[number]
            shape = [[x0, y0, x1, y0, x1, y1, x0, y1]]
            box = {"bbox": [x0, y0, x1, y1], "bbox_mode": BoxMode.XYXY_ABS}
            objects.append(box | {"segmentation": shape, "category_id": number})
            number += 1
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        row = {"file_name": str(tmp_path / f"{i}.png"), "image_id": i, "annotations": objects}
        rows.append(row | {"height": size[0], "width": size[1]})
    DatasetCatalog.register("pasted_train", lambda: rows)
    MetadataCatalog.get("pasted_train").set(thing_classes=list("abcde"))
    yield rows
    DatasetCatalog.remove("pasted_train")
    MetadataCatalog.remove("pasted_train")


def config(*words, file=MASK):
    given = ["DATASETS.TRAIN", "('pasted_train',)", "INPUT.MIN_SIZE_TRAIN", "(90,)"]
    return model_zoo.get_config(file, [*given, "INPUT.MASK_FORMAT", "bitmask", *words])


def test_masks_are_the_pixels_of_their_objects(dataset):
    mapper = build_mapper(config(*ON, "INPUT.RANDOM_FLIP", "both"), is_train=True)
    before = [dict(row) for row in dataset]
    counts, places = [], set()
    for seed in range(30):
        np.random.seed(seed)
        sample = mapper(dataset[0])
        image, found = sample["image"].numpy(), sample["instances"]
        for box, mask, number in zip(
            found.gt_boxes.tensor, found.gt_masks.tensor, found.gt_classes, strict=True
        ):
            drawn = (image == np.array(COLOURS[number])[:, None, None]).all(axis=0)
            mask = mask.numpy()
            if (found.gt_classes == number).sum() == 1:  # else of both of this class
                assert np.array_equal(mask, drawn)
                ys, xs = np.nonzero(mask)
                assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                places.add((int(number), *box.tolist()))
        assert found.gt_masks.tensor.sum(0).max() <= 1  # none covers another
        counts.append(len(found))
    assert max(counts) > 3 and len(places) > 20
    assert dataset == before


def test_an_image_without_objects_gets_some_and_half_of_the_images_with_a_probability_of_half(
    dataset,
):
    mapper = build_mapper(config("INPUT.AUGMENT.COPY_PASTE", "0.5"), is_train=True)
    np.random.seed(0)
    empty = dataset[0] | {"annotations": []}
    counts = [len(mapper(empty)["instances"]) for _ in range(100)]
    # of 2 or 3 objects, each with 1/2, none is chosen in 3 of 16 cases: 41 of 100 get some
    assert 28 <= sum(map(bool, counts)) <= 54
    assert {1, 2} <= set(counts)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_gives_the_mapper_its_rows(dataset, workers):
    words = [*ON, "SOLVER.IMS_PER_BATCH", "1", "DATALOADER.NUM_WORKERS", str(workers), "SEED", "1"]
    loader = Trainer.build_train_loader(as_run(config(*words)))
    batches = iter(loader)
    samples = [next(batches)[0]["instances"] for _ in range(12)]
    assert max(map(len, samples)) > 3
    assert all(isinstance(found.gt_masks, BitMasks) for found in samples)


def test_only_training_pastes(dataset, capsys):
    cfg = config(*ON, "INPUT.MASK_FORMAT", "polygon")
    run = as_run(cfg)
    assert build_mapper(cfg, is_train=False).copy_paste is None
    assert build_loss_mapper(run).copy_paste is None
    assert len(build_loss_mapper(run)(dataset[0])["instances"]) == 3
    assert build_mapper(config(), is_train=True).copy_paste is None
    assert build_mapper(cfg, is_train=True).instance_mask_format == "bitmask"
    check_images(run)
    assert run.cfg.INPUT.MASK_FORMAT == "bitmask"
    assert "INPUT.MASK_FORMAT bitmask: copy-paste cuts masks." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["INPUT.AUGMENT.COPY_PASTE", "2"], "INPUT.AUGMENT.COPY_PASTE 2.0: 0 to 1, a probability"),
        ([*ON, "MODEL.MASK_ON", "False"], "INPUT.AUGMENT.COPY_PASTE pastes objects with their m"),
        ([*ON, "MODEL.LOAD_PROPOSALS", "True"], "INPUT.AUGMENT.COPY_PASTE with MODEL.LOAD_PROPO"),
    ],
)
def test_what_is_not_possible_is_refused(words, message):
    with pytest.raises(InputError) as error:
        check_images(as_run(config(*words)))
    assert str(error.value).startswith(message)

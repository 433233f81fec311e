"""Images of coloured regions, and a model that finds each of them, whole or cut."""

import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from torch import nn

from hrnet_det import Detector, model_zoo

NAMES = ["ant", "bee", "cat"]


SIZE = (230, 310)  # of the scenes, in pixels


class Seeing(nn.Module):
    """In place of a detector: finds each coloured region of its input, whole or cut.

    Red numbers the objects, green is their score, blue their class. What touches a side of its
    input has a score that is 0.2 higher, so that cut objects would win by it.

    Args:
        fields: beside boxes, scores and classes, "pred_masks" or "pred_keypoints".
        whole: height and width of an image in which it sees nothing.
    """

    def __init__(self, fields=(), blind=None):
        super().__init__()
        self.fields, self.blind, self.seen = fields, blind, []

    def forward(self, rows):
        self.seen += [tuple(row["image"].shape[1:]) for row in rows]
        return [{"instances": self._objects(row["image"])} for row in rows]

    def _objects(self, image):
        size = tuple(image.shape[1:])
        numbers = image[0].unique().tolist() if size != self.blind else [0]
        masks = torch.stack([image[0] == number for number in numbers])
        found = [self._object(image, mask) for mask, n in zip(masks, numbers, strict=True) if n]
        found.sort(key=lambda row: -row[1])
        boxes, scores, classes, masks = zip(*found, strict=True) if found else ((), (), (), ())
        made = Instances(size)
        made.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
        made.scores = torch.tensor(scores, dtype=torch.float32)
        made.pred_classes = torch.tensor(classes, dtype=torch.int64)
        if "pred_masks" in self.fields:
            made.pred_masks = torch.stack(masks) if masks else torch.zeros(0, *size).bool()
        if "pred_keypoints" in self.fields:
            corners = made.pred_boxes.tensor.reshape(-1, 2, 2)
            made.pred_keypoints = torch.cat([corners, corners[..., :1] * 0 + 0.5], dim=-1)
        return made

    @staticmethod
    def _object(image, mask):
        (y, x), (height, width) = mask.nonzero(as_tuple=True), mask.shape
        box = [x.min().item(), y.min().item(), x.max().item() + 1, y.max().item() + 1]
        touches = box[0] == 0 or box[1] == 0 or box[2] == width or box[3] == height
        score = image[1][mask][0].item() / 500 + 0.2 * touches
        return box, score, int(image[2][mask][0]), mask


def scene(boxes, classes=None, size=SIZE, corner=False):
    """An image with an object in each box x0 y0 x1 y1; with `corner` without its lower right."""
    image = np.zeros((*size, 3), np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        image[y0:y1, x0:x1] = number, 50 + 3 * number, 0 if classes is None else classes[number - 1]
        if corner:
            image[(y0 + y1) // 2 : y1, (x0 + x1) // 2 : x1] = 0
            image[y1 - 1, x0] = image[y0, x1 - 1] = image[y0, x0]
    return image


def random_boxes(seed, sides, size=SIZE, tries=60):
    """Boxes that neither overlap nor touch; none touches the image's border."""
    rng, boxes = np.random.default_rng(seed), []
    for _ in range(tries):
        w, h = rng.integers(*sides, 2)
        x, y = rng.integers(1, size[1] - w), rng.integers(1, size[0] - h)
        if all(x > b[2] or y > b[3] or x + w < b[0] or y + h < b[1] for b in boxes):
            boxes.append((int(x), int(y), int(x + w), int(y + h)))
    return boxes


def detector_of(model, *words):
    cfg = model_zoo.get_config(
        "quickstart/mask_rcnn.yaml",
        ["INPUT.MIN_SIZE_TEST", "0", "TEST.OPTIMIZED", "False", "MODEL.DEVICE", "cpu",
         "INPUT.FORMAT", "RGB", *words],
    )  # fmt: skip
    return Detector(model, cfg, NAMES)


def by_box(objects, *fields):
    """Its fields, in the order of its boxes."""
    order = sorted(range(len(objects)), key=lambda i: objects.pred_boxes.tensor[i].tolist())
    found = objects[order]
    return [found.pred_boxes.tensor, found.pred_classes, *(found.get(name) for name in fields)]


def equal(found, expected):
    assert [x.shape for x in found] == [x.shape for x in expected]
    return all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))

"""Masks as parts of an image."""

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks
from pycocotools import mask as coco_mask

from hrnet_det.drawing.masks import array_part, parts_of, run_length_part


def whole(part, shape):
    mask = np.zeros(shape, bool)
    left, top, right, bottom = part.box
    mask[top:bottom, left:right] = part.inside
    return mask


def run_lengths(mask):
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.98, 1])
def test_parts_of_arrays_and_of_run_lengths_are_the_mask(share):
    rng = np.random.default_rng(0)
    for side in range(1, 40):
        mask = rng.random((side, 40 - side)) < share
        mask = mask.repeat(7, axis=0) if side % 2 else mask  # also long runs
        for part in (array_part(mask), run_length_part(run_lengths(mask))):
            assert (whole(part, mask.shape) == mask).all()
            assert part.area == mask.sum()


def test_a_part_is_no_larger_than_its_mask():
    mask = np.zeros((3000, 4000), bool)
    mask[2000:2010, 700:705] = True
    for part in (array_part(mask), run_length_part(run_lengths(mask))):
        assert part.box == (700, 2000, 705, 2010)
        assert part.inside.all()


def test_all_forms_of_masks_are_taken():
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 1:3, 2:5] = masks[1, 4:, 6:] = True
    rows = [run_lengths(mask) for mask in masks]
    text = [row | {"counts": row["counts"].decode()} for row in rows]

    class Held:
        rle = rows

    tensor = torch.from_numpy(masks)
    for form in (masks, tensor, tensor.float(), BitMasks(tensor), rows, text, Held()):
        parts = parts_of(form)
        assert [part.box for part in parts] == [(2, 1, 5, 3), (6, 4, 8, 6)]
    assert parts_of([]) == parts_of(masks[:0]) == []

"""Mask targets of other code bases: beside OpenCV's own resizing, and Detectron2's BitMasks."""

import pytest
import torch
from detectron2.structures import BitMasks

from hrnet_det.modeling.compat.mask_targets import CUTS, MaskTargets

HEIGHT, WIDTH, SIDE = 90, 120, 28


@pytest.fixture(scope="module")
def bitmaps():
    """Two ellipses, and a mask of many small holes."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    ellipses = [((y - 40) / a) ** 2 + ((x - 70) / b) ** 2 < 1 for a, b in ((30, 45), (9, 4))]
    return torch.stack([*ellipses, (x * 7 + y * 13) % 5 < 2])


@pytest.fixture(scope="module")
def boxes():
    """(300, 4) half-open, of all sizes from a pixel on; the first ends at the image's corner."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(300, 2, 2, generator=generator) * torch.tensor([WIDTH - 1, HEIGHT - 1])
    first, last = corners.sort(dim=1).values.unbind(1)
    last[100:150] = first[100:150] + 2 * torch.rand(50, 2, generator=generator)
    found = torch.cat([first, last + 1], dim=1).minimum(torch.tensor([WIDTH, HEIGHT] * 2))
    found[0] = torch.tensor([WIDTH - 1.0, HEIGHT - 1.0, WIDTH, HEIGHT])
    found[1] = torch.tensor([3.0, 5.0, 3 + 2 * SIDE, 5 + 2 * SIDE])  # OpenCV halves it by areas
    return found


def test_crops_are_opencvs(bitmaps, boxes):
    cv2 = pytest.importorskip("cv2")
    objects = torch.arange(len(boxes)) % len(bitmaps)
    found = MaskTargets(bitmaps, CUTS["crop"])[objects].crop_and_resize(boxes, SIDE)
    for target, box, k in zip(found, boxes, objects, strict=True):
        x1, y1, x2, y2 = (int(v) for v in box - torch.tensor([0, 0, 1, 1]))
        crop = bitmaps[k, y1 : y2 + 1, x1 : x2 + 1].byte().numpy()
        assert torch.equal(target, torch.from_numpy(cv2.resize(crop, (SIDE, SIDE))) == 1)


@pytest.mark.parametrize("length", [*range(1, 60), 333, 800, 1333])
def test_crops_are_opencvs_at_every_length(length):
    cv2 = pytest.importorskip("cv2")
    row = (torch.arange(length) * 7919 % 5 < 2)[None]
    for mask in (row, row.T):
        box = torch.tensor([[0.0, 0, mask.shape[1], mask.shape[0]]])
        found = MaskTargets(mask[None], CUTS["crop"]).crop_and_resize(box, SIDE)[0]
        wanted = cv2.resize(mask.byte().contiguous().numpy(), (SIDE, SIDE))
        assert torch.equal(found, torch.from_numpy(wanted) == 1)


def test_samples_are_those_of_bitmasks(bitmaps, boxes):
    """Detectron2's, which has a copy of the whole mask for every box."""
    objects = torch.arange(len(boxes)) % len(bitmaps)
    found = MaskTargets(bitmaps, CUTS["bitmap"])[objects].crop_and_resize(boxes, SIDE)
    assert torch.equal(found, BitMasks(bitmaps[objects]).crop_and_resize(boxes, SIDE))


def test_they_are_indexed_as_masks_of_boxes(bitmaps):
    masks = MaskTargets(bitmaps, CUTS["crop"])
    chosen = masks[torch.tensor([2, 0, 2, 1])]
    assert chosen.bitmaps is bitmaps and chosen.objects.tolist() == [2, 0, 2, 1]
    assert chosen[torch.tensor([True, False, False, True])].objects.tolist() == [2, 1]
    assert chosen[1].objects.tolist() == [0] and len(chosen[1:3]) == 2
    assert MaskTargets.cat([chosen, masks]).objects.tolist() == [2, 0, 2, 1, 0, 1, 2]
    assert chosen.nonempty().tolist() == [True] * 4
    assert chosen[:0].crop_and_resize(torch.zeros(0, 4), SIDE).shape == (0, SIDE, SIDE)
    assert chosen.to("cpu").objects.tolist() == chosen.objects.tolist()


def test_what_does_not_fit_is_refused(bitmaps):
    masks = MaskTargets(bitmaps, CUTS["crop"])
    with pytest.raises(ValueError, match="2 boxes for the masks of 3"):
        masks.crop_and_resize(torch.ones(2, 4), SIDE)
    with pytest.raises(ValueError, match="of several images"):
        MaskTargets.cat([masks, MaskTargets(bitmaps.clone(), CUTS["crop"])])

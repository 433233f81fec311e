"""RoIAlign as a weighted sum, beside torchvision's and beside its definition."""

import math

import pytest
import torch
from detectron2.layers import ROIAlign
from helpers.detectors import detector
from torchvision.ops import roi_align

from hrnet_det.modeling.compat.roi_heads import CompatROIAlign
from hrnet_det.modeling.inference import roi_align as module
from hrnet_det.modeling.inference.memory_format import use_channels_last
from hrnet_det.modeling.inference.roi_align import BagROIAlign

SCALE = 0.25
# x0, y0, x1, y1 in pixels of an image of 88 x 52, on a map of 22 x 13 cells.
BOXES = {
    "inside": [[4.0, 8, 40, 30], [10.3, 3.7, 61.9, 47.2], [20, 20, 21, 50], [33.3, 7.1, 33.9, 7.2]],
    "whole": [[0.0, 0, 88, 52]],
    "over the edge": [[-30.0, -20, 30, 20], [60, 40, 150, 90], [-100, -100, 200, 200]],
    "outside": [[-90.0, 5, -50, 30], [100, 5, 140, 30], [5, 200, 30, 240], [-9, -9, -4, -4]],
    "on the edge": [[-4.0, -4, 0, 0], [88, 52, 92, 56], [-4, 0, 92, 52]],
    "empty": [[20.0, 20, 20, 40], [20, 20, 40, 20], [20, 20, 20, 20]],
    "inverted": [[40.0, 30, 10, 8], [10, 30, 40, 8]],
}
# Without inverted ones, which torchvision's own number of samples may be negative for.
EVERY = [box for where, boxes in BOXES.items() if where != "inverted" for box in boxes]
FORMS = [(aligned, ratio) for aligned in (True, False) for ratio in (0, 1, 2)]


def a_map(*, batch=1, channels=5, dtype=torch.double):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, 13, 22, generator=generator, dtype=torch.double).to(dtype)


def rois(boxes, dtype=torch.double, batch=1):
    """The boxes, of one image after the other."""
    return torch.tensor([[k % batch, *box] for k, box in enumerate(boxes)], dtype=dtype)


def both(x, boxes, size=(7, 7), aligned=True, ratio=0):
    """Ours and torchvision's."""
    ours = BagROIAlign(size, SCALE, ratio, aligned)(x, boxes)
    return ours, roi_align(x, boxes, size, SCALE, ratio, aligned)


@pytest.mark.parametrize(("aligned", "ratio"), FORMS)
@pytest.mark.parametrize("where", BOXES)
def test_it_is_torchvisions(where, aligned, ratio):
    x, boxes = a_map(), rois(BOXES[where])
    ours, theirs = both(x, boxes, aligned=aligned, ratio=ratio)
    assert ours.dtype == torch.double
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    ours, theirs = both(x.float(), boxes.float(), aligned=aligned, ratio=ratio)
    assert ours.dtype == torch.float
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("aligned", "ratio"), FORMS)
def test_many_images_and_boxes_of_every_kind_at_once(aligned, ratio):
    x, boxes = a_map(batch=3), rois(EVERY, batch=3)
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(0))
    for layout in (torch.contiguous_format, torch.channels_last):
        given = x.contiguous(memory_format=layout)
        ours, theirs = both(given, boxes[order], aligned=aligned, ratio=ratio)
        assert theirs.abs().amax(dim=(1, 2, 3)).gt(0).sum() >= 10
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(3, 8), (14, 1), (1, 1)])
@pytest.mark.parametrize("channels", [1, 4])
def test_other_sizes_and_a_single_channel(size, channels):
    ours, theirs = both(a_map(channels=channels), rois(EVERY), size=size)
    assert ours.shape == (len(EVERY), channels, *size)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_no_boxes():
    x = a_map(dtype=torch.float).requires_grad_()
    result = BagROIAlign((7, 5), SCALE, 0, True)(x, torch.zeros(0, 5))
    assert result.shape == (0, 5, 7, 5) and result.dtype == torch.float
    result.sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_inverted_boxes_have_no_samples_unless_their_number_is_given():
    boxes = rois([*EVERY, *BOXES["inverted"]])
    result = BagROIAlign((1, 1), SCALE, 0, True)(a_map(), boxes)
    assert not result[-2:].any() and result[0].any()
    for size in ((1, 1), (3, 8)):
        ours, theirs = both(a_map(), boxes, size=size, ratio=2)
        assert theirs[-2:].abs().amin(dim=(1, 2, 3)).gt(0).all()
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def definition(x, box, size, aligned, ratio):
    """The mean of bilinear samples, for one box, one value after the other."""
    shift = 0.5 if aligned else 0
    x0, y0, x1, y1 = (side * SCALE - shift for side in box)
    w, h = (x1 - x0, y1 - y0) if aligned else (max(x1 - x0, 1), max(y1 - y0, 1))
    result = torch.zeros(len(x), *size, dtype=x.dtype)
    across = ratio or max(math.ceil(w / size[1]), 0)
    down = ratio or max(math.ceil(h / size[0]), 0)
    for i in range(size[0]):
        for j in range(size[1]):
            for k in range(down):
                for m in range(across):
                    row = y0 + (i + (k + 0.5) / down) * h / size[0]
                    column = x0 + (j + (m + 0.5) / across) * w / size[1]
                    sample = _bilinear(x, row, column) / (down * across)
                    result[:, i, j] += sample
    return result


def _bilinear(x, row, column):
    """0 more than a cell outside; nearer than that as on the edge."""
    _, height, width = x.shape
    if not (-1 <= row <= height and -1 <= column <= width):
        return torch.zeros(len(x), dtype=x.dtype)
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    top, left = min(int(row), height - 2), min(int(column), width - 2)
    down, right = row - top, column - left
    above = x[:, top, left] * (1 - right) + x[:, top, left + 1] * right
    below = x[:, top + 1, left] * (1 - right) + x[:, top + 1, left + 1] * right
    return above * (1 - down) + below * down


@pytest.mark.parametrize(("aligned", "ratio"), FORMS)
@pytest.mark.parametrize("box", [[10.3, 3.7, 61.9, 47.2], [-30, -20, 30.5, 20.5], [70, 45, 95, 54]])
def test_it_is_the_mean_of_bilinear_samples(box, aligned, ratio):
    x = a_map(channels=2)
    ours = BagROIAlign((3, 4), SCALE, ratio, aligned)(x, rois([box]))[0]
    expected = definition(x[0], box, (3, 4), aligned, ratio)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("most", [1, 300, 2000])
def test_terms_are_summed_in_parts(most, monkeypatch):
    x, boxes = a_map(batch=2), rois(EVERY, batch=2)
    calls = []
    whole = module._weighted_sums

    def counted(*arguments):
        calls.append(len(arguments[2]))
        return whole(*arguments)

    monkeypatch.setattr(module, "_weighted_sums", counted)
    monkeypatch.setattr(module, "MOST_TERMS", most)
    ours, theirs = both(x, boxes)
    assert sum(calls) == len(EVERY) and len(calls) > 1
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("aligned", "ratio"), FORMS)
@pytest.mark.parametrize("dtype", [torch.double, torch.float])
def test_gradients_of_the_map(dtype, aligned, ratio):
    boxes = rois(EVERY, dtype=dtype, batch=2)
    found = []
    for k in range(2):
        x = a_map(batch=2, dtype=dtype).requires_grad_()
        result = both(x, boxes, aligned=aligned, ratio=ratio)[k]
        weights = torch.linspace(-1, 2, result.numel(), dtype=dtype).view_as(result)
        (result * weights).sum().backward()
        found.append(x.grad)
    tolerance = 1e-10 if dtype == torch.double else 1e-4
    assert (found[0] - found[1]).abs().max() <= tolerance * found[1].abs().max()


def test_boxes_get_no_gradient():
    x, boxes = a_map().requires_grad_(), rois(EVERY).requires_grad_()
    BagROIAlign((7, 7), SCALE, 0, True)(x, boxes).sum().backward()
    assert boxes.grad is None and x.grad is not None


def test_boxes_stay_exact_beside_a_map_in_bfloat16():
    """Near 600 pixels bfloat16 has steps of 4."""
    ramp = (torch.arange(160.0) - 149).expand(1, 8, 8, 160)  # exact in bfloat16
    boxes = torch.tensor([[0, 597.0, 4.0, 601.0, 28.0]])
    align = BagROIAlign((1, 1), SCALE, 2, True)
    result = align(ramp.bfloat16(), boxes)
    assert result.dtype == torch.bfloat16
    expected = roi_align(ramp, boxes, (1, 1), SCALE, 2, True)
    assert torch.equal(result, expected.bfloat16())
    moved = roi_align(ramp, boxes.bfloat16().float(), (1, 1), SCALE, 2, True)
    assert (expected - moved).abs().min() > 0.2
    x = a_map().bfloat16()
    ours, theirs = (
        BagROIAlign((7, 7), SCALE, 0, True)(x, rois(EVERY, torch.float)),
        roi_align(x.float(), rois(EVERY, torch.float), (7, 7), SCALE, 0, True),
    )
    torch.testing.assert_close(ours.float(), theirs, rtol=0.02, atol=0.02)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_while_tracing_it_is_torchvisions():
    align = BagROIAlign((7, 7), SCALE, 0, True)
    x, boxes = a_map(dtype=torch.float), rois(EVERY, torch.float)
    traced = torch.jit.trace(align, (x, boxes[:3]))
    torch.testing.assert_close(traced(x, boxes), align(x, boxes), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["mask", "hrnet_object_detection"])
def test_every_roi_align_of_a_detector_is_replaced(kind):
    model = detector(kind)
    before = {name: m for name, m in model.named_modules() if isinstance(m, ROIAlign)}
    assert {type(m) for m in before.values()} == {ROIAlign}
    use_channels_last(model)
    after = {name: m for name, m in model.named_modules() if isinstance(m, ROIAlign)}
    assert list(after) == list(before) and len(after) == (8 if kind == "mask" else 4)
    assert {type(m) for m in after.values()} == {BagROIAlign}
    for name, m in after.items():
        assert _options(m) == _options(before[name])
    sources = [m for m in model.modules() if isinstance(m, CompatROIAlign)]
    assert len(sources) == (0 if kind == "mask" else 4)
    assert all(type(m.plain) is BagROIAlign for m in sources)


def _options(align):
    return align.output_size, align.spatial_scale, align.sampling_ratio, align.aligned


@pytest.mark.parametrize("closed", [True, False])
def test_within_a_source_roi_align_it_gives_the_same(closed):
    source = CompatROIAlign(ROIAlign((7, 7), SCALE, 2, True), closed=closed)
    x, boxes = a_map(dtype=torch.float), rois([*EVERY, *BOXES["inverted"]], torch.float)
    expected = source(x, boxes)
    use_channels_last(source)
    assert type(source.plain) is BagROIAlign
    torch.testing.assert_close(source(x, boxes), expected, rtol=1e-4, atol=1e-4)

"""What a detector asks of Python while it detects, asked of sizes that are not known yet.

torch.export runs a detector once on tensors without numbers, some of whose sizes are symbols: an
image's height, how many boxes a suppression leaves. Python's `len` and `min` want integers of them,
and an `if` an answer. Within `exporting` they are given what holds for every image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from detectron2.structures import Boxes
from torch import Tensor
from torch._library.fake_impl import FakeImplCtx
from torch.overrides import TorchFunctionMode

from hrnet_det.export.traceable import replaced

Size = int | torch.SymInt

# Modules that ask for `len` and `min` of what may be a symbol.
_ASKING = (
    "detectron2.modeling.meta_arch.dense_detector",
    "detectron2.modeling.poolers",
    "detectron2.modeling.proposal_generator.proposal_utils",
    "detectron2.modeling.roi_heads.cascade_rcnn",
    "detectron2.modeling.roi_heads.fast_rcnn",
    "detectron2.structures.boxes",
    "detectron2.structures.instances",
    "hrnet_det.modeling.backbone.hrfpn",
    "hrnet_det.modeling.meta_arch.fcos",
)
SMALLEST = 2  # cells of the coarsest map, whose sides the pyramid halves once more


@contextmanager
def exporting() -> Iterator[None]:
    """Within, a DetectorGraph can be given to torch.export."""
    proposals = "detectron2.modeling.proposal_generator.proposal_utils"
    changes = [
        *((module, "len", _len) for module in _ASKING),
        *((module, "min", _min) for module in _ASKING),
        (proposals, "_is_tracing", lambda: True),  # it then asks for no number of boxes
        ("hrnet_det.export.graph", "multiple", multiple),
        ("hrnet_det.export.resizing", "sides_of", _sides_of),
    ]
    with (
        replaced(changes),
        patch.object(Boxes, "__init__", _init_boxes),
        patch.object(FakeImplCtx, "create_unbacked_symint", _any_number),
        _AllFinite(),
    ):
        yield


class _AllFinite(TorchFunctionMode):
    """What an `if` or `assert` asks of a tensor's numbers is so: they are all finite."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function is Tensor.__bool__ or function(*args, **(kwargs or {}))


def _len(given: object) -> Size:
    return given.__len__()  # len() itself wants an integer


def _min(*values: object) -> object:
    return torch.sym_min(*values) if len(values) == 2 else min(*values)


def _any_number(context: FakeImplCtx, *, min: int = 0, max: int | None = None) -> torch.SymInt:
    """How many boxes torchvision's suppression leaves: none and one, too, which it rules out."""
    return context.new_dynamic_size(min=min, max=max)


def _sides_of(image: Tensor) -> tuple[Tensor, ...]:
    """Height and width as tensors; torch.as_tensor would make constants of them."""
    return tuple(torch.full((), side, dtype=torch.int64) for side in image.shape[:2])


def _init_boxes(boxes: Boxes, tensor: Tensor) -> None:
    boxes.tensor = tensor.to(torch.float32)  # without asking whether there are any


def multiple(side: Size, divisor: int) -> Size:
    """The smallest multiple of a divisor that is not smaller: divisor * a symbol of its own.

    All sizes of maps are then multiples of it, which torch can compare.
    """
    if isinstance(side, int):
        return side + (-side) % divisor
    # Not -(-side // divisor): a converter to ONNX makes of it a division that rounds towards 0.
    cells = torch.full((), (side + divisor - 1) // divisor, dtype=torch.int64).item()
    torch._check(cells >= SMALLEST)
    return cells * divisor

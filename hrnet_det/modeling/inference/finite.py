"""Where a detector's numbers stop being finite: which module, and of which image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from hrnet_det.errors import InputError
from hrnet_det.modeling.inference.optimize import last_layers

Found = Callable[[str], None]


def tensors_in(value: object) -> Iterator[Tensor]:
    """Those of floating-point numbers, in a nest of dictionaries, lists and Detectron2's forms."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, (Boxes, ImageList)):
        yield from tensors_in(value.tensor)
    elif isinstance(value, Instances):
        yield from tensors_in(value.get_fields())
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def all_finite(value: object) -> bool:
    """Whether no number in a nest is NaN or infinite."""
    tensors = [tensor.detach() for tensor in tensors_in(value) if tensor.numel()]
    # One pass and one answer of the device; only numbers whose sum overflows need a second look.
    sums = [tensor.sum(dtype=torch.float32) for tensor in tensors]
    if not sums or bool(torch.stack(sums).isfinite().all()):
        return True
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


@contextmanager
def watched(modules: Iterable[tuple[str, nn.Module]], found: Found) -> Iterator[None]:
    """Within, `found` gets "NAME (Class)" of the first module whose output is not finite.

    A module ends after those inside it: the innermost is told.
    """
    told = []

    def look(name: str, module: nn.Module, output: object) -> None:
        if not told and not all_finite(output):
            told.append(name)
            found(f"{name} ({type(module).__name__})")

    handles = [
        module.register_forward_hook(lambda m, _, output, name=name: look(name, m, output))
        for name, module in modules
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def images_are_named(model: nn.Module, say: Found | None = None) -> Iterator[None]:
    """While a detector detects, numbers that are not finite end in an error that names the image.

    Looked at are the backbone's maps and what boxes, scores and masks are decoded from. Without
    this Detectron2 leaves such boxes out, or a cascade ends in an assertion.

    Args:
        say: told once instead, where detecting can go on: of a training that may recover.
    Raises: InputError with the file names of the images, and the module.
    """
    rows: list[list[dict]] = [[]]

    def tell(reason: str) -> None:
        files = ", ".join(str(row.get("file_name", "an image")) for row in rows[0])
        message = (
            f"{files}: the detector's numbers are not finite, first in {reason}. Its weights are "
            "damaged or of a training that has diverged, or too large for TEST.DTYPE: take an "
            "earlier checkpoint, or float32"
        )
        if say is None:
            raise InputError(message)
        say(message)

    started = model.register_forward_pre_hook(lambda _, inputs: rows.__setitem__(0, inputs[0]))
    layers = {id(layer) for layer in last_layers(model)}
    modules = [
        (name, module)
        for name, module in model.named_modules()
        if (name.rsplit(".", 1)[-1] == "backbone" or id(module) in layers)
        and module._compiled_call_impl is None  # a hook would have it compiled again
    ]
    try:
        with watched(modules, tell):
            yield
    except AssertionError as error:  # Detectron2's of boxes
        if "NaN" not in str(error):
            raise
        say = None
        tell("boxes, which are too far apart from the image")
    finally:
        started.remove()

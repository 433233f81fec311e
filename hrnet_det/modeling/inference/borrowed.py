"""Settings of a built detector that one call has of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

SCORE = ("test_score_thresh",)  # attributes of box predictors and of one-stage detectors
MOST = ("test_topk_per_image", "max_detections_per_image")


def least_score(model: nn.Module) -> float:
    """The score below which a detector gives no objects; 0 where it has no such setting."""
    return min((v for v in _values(model, SCORE)), default=0.0)


@contextmanager
def borrowed(model: nn.Module, values: Mapping[str, object]) -> Iterator[None]:
    """Within, the attributes of these names that the model's modules have are other ones."""
    before = [
        (module, name, vars(module)[name])
        for module in model.modules()
        for name in values
        if name in vars(module)
    ]
    try:
        for module, name, _ in before:
            setattr(module, name, values[name])
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def _values(model: nn.Module, names: tuple[str, ...]) -> list[float]:
    found = [vars(module).get(name) for module in model.modules() for name in names]
    return [value for value in found if value is not None]

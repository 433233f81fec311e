"""The forms of a network that are compared in a case, all with the same weights."""

from __future__ import annotations

import copy
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from detectron2.utils.events import EventStorage
from torch import nn

from hrnet_det.analysis.against import build_other
from hrnet_det.analysis.cases import Case, Inputs
from hrnet_det.analysis.engines import ENGINES
from hrnet_det.analysis.models import build_detector, build_pyramid, with_naive_pyramid
from hrnet_det.analysis.timing import Step
from hrnet_det.modeling.inference.memory_format import use_channels_last


@dataclass(frozen=True)
class Form:
    """A network in one form.

    Args:
        model: with the case's inputs; of the same weights as the plain form, if `same`.
        precision: that it computes in.
        work: name of the form whose convolutions are counted in its place; torch's counter does
            not know oneDNN's operators, nor other engines, all of which do the work of "plain".
        counted: whether its tensors are torch's, so that their bytes can be counted.
        mixed: whether autocast chooses what is computed in bfloat16.
        start: seconds until it was built.
    """

    model: nn.Module
    precision: str = "float32"
    work: str = "plain"
    counted: bool = True
    mixed: bool = False
    same: bool = True
    start: float = 0.0


def build_forms(
    case: Case,
    device: str,
    *,
    engines: Sequence[str],
    precisions: Sequence[str],
    against: Sequence[str] = (),
) -> dict[str, Form]:
    """What is compared in a case, by name, "plain" first.

    Args:
        engines, precisions: names in ENGINES, and in PRECISIONS.
        against: names in AGAINST.
    """
    training = case.mode != "inference"
    norm_eval = case.mode != "training with trained norms"
    build = build_detector if case.part == "detector" else build_pyramid
    whole = build(case.variant, device, norm_eval=norm_eval).train(training)
    plain = _part(whole, case)
    forms = {"plain": Form(plain)}
    if importlib.util.find_spec("timm"):
        timm = _part(with_naive_pyramid(whole, case.variant), case)
        forms["timm"] = Form(timm, work="timm")
        if not training and case.part != "detector" and "bfloat16" in precisions:
            half = copy.deepcopy(timm).to(torch.bfloat16)
            forms["timm bfloat16"] = Form(half, "bfloat16", work="timm")
    if training:
        ours = use_channels_last(copy.deepcopy(plain))
        for precision in (name for name in precisions if name != "int8"):
            mixed = precision == "bfloat16"
            forms[f"trained {precision}"] = Form(ours, precision, mixed=mixed)
    else:
        forms |= _by_engines(plain, case, engines, precisions)
    for name in against:
        other = build_other(name, case.part, device).train(training)
        forms[name] = Form(other, work=name, same=False)
    return forms


def _part(model: nn.Module, case: Case) -> nn.Module:
    return model.bottom_up if case.part == "backbone" else model


def _by_engines(
    plain: nn.Module, case: Case, engines: Sequence[str], precisions: Sequence[str]
) -> dict[str, Form]:
    """The plain model as each engine runs it, in each precision that it has."""
    forms = {}
    for engine in (ENGINES[name] for name in engines):
        for precision in (name for name in precisions if name in engine.precisions):
            start = time.perf_counter()
            model = engine.build(plain, precision, case)
            forms[f"{engine.title} {precision}"] = Form(
                model, precision, counted=engine.counted, start=time.perf_counter() - start
            )
    return forms


def forward_of(form: Form, inputs: Inputs, device: str) -> Step:
    """A call of a form's model."""
    if form.precision == "bfloat16" and form.work == "timm":
        inputs = inputs.to(torch.bfloat16)

    def forward() -> object:
        kind = torch.device(device).type
        autocast = torch.autocast(kind, torch.bfloat16, enabled=form.mixed)
        with EventStorage(), autocast:  # where Detectron2's losses report to
            return form.model(inputs)

    return forward


def training_step(forward: Step, model: nn.Module) -> Step:
    """Forward and backward, of the sum of what a call of `forward` gives."""

    def step() -> None:
        model.zero_grad()
        result = forward()
        maps = result.values() if isinstance(result, dict) else result
        sum(x.float().square().mean() for x in maps).backward()

    return step


def difference(expected: object, found: object) -> float | None:
    """The largest difference of two networks' maps, as a part of their largest value.

    Returns: of the level where it is largest; None if they have not given maps.
    """
    if not isinstance(expected, dict) or not isinstance(found, dict):
        return None
    parts = [
        (found[name].float() - level.float()).abs().max() / level.float().abs().max()
        for name, level in expected.items()
    ]
    return max(part.item() for part in parts)

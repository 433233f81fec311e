"""How far training by our rules is from mmdetection's own training: a Markdown table.

    python -m tools.training_parity [KIND ...]

A training step of the published W18 detectors on two images (250x320 and 200x301 pixels, nine
objects each, two of them under 15 pixels), with the same weights (mmdetection's initial values),
pixels, objects and RPN proposals, what samplers draw replaced by the same choice on both sides,
networks in float64 and boxes in float32: losses and the gradients of backbone and pyramid, by the
shipped config, and with MODEL.CONVENTIONS mmdet. Needs mmdetection (which, says
tests/helpers/mmdet_reference.py); a detector takes some minutes on a CPU core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # whose helpers have the reference

import helpers.fcos_pairs as our_fcos
import helpers.mmdet_fcos as fcos
import helpers.mmdet_reference as reference
import helpers.mmdet_training as mmdet
import helpers.training_pairs as ours
import torch
from helpers.drawn_objects import drawn

from hrnet_det import model_zoo

CPU = ("MODEL.DEVICE", "cpu")
SIZES = ((250, 320), (200, 301))  # height, width in pixels


class Row(NamedTuple):
    """One detector; differences are relative to mmdetection's values.

    Attributes:
        total: of the sum of the losses, shipped rules. no_tiny: the same without objects under 15
            pixels; nan where it was not measured.
        gradient, cosine: of the backbone's and pyramid's gradient, shipped rules.
        worst_loss, worst_gradient: the largest of a loss term, and of the gradient, with
            MODEL.CONVENTIONS mmdet.
    """

    title: str
    total: float
    no_tiny: float
    gradient: float
    cosine: float
    worst_loss: tuple[str, float]
    worst_gradient: float


def compare(kind: str) -> Row:
    """The row of a two-stage detector, one of helpers' TITLES."""
    model = mmdet.build(kind, small=False, spread=False)
    shipped, same = [
        ours.build(ours.config(kind, small=False, overrides=words), model)
        for words in ((), ours.MMDET)
    ]
    found = []
    for tiny in (2, 0):
        batch = [drawn(size, tiny=tiny, seed=n) for n, size in enumerate(SIZES)]
        goal = ours.expected(model, batch)
        before = ours.compare(goal, shipped, batch, bitmaps=False)
        found.append((before, ours.compare(goal, same, batch)))
    (before, after), (without, _) = found
    worst = max(after.losses.items(), key=lambda item: item[1])
    numbers = (before.total, without.total, before.gradient, before.cosine)
    return Row(ours.TITLES[kind], *numbers, worst, after.gradient)


def compare_fcos(_: str) -> Row:
    """The row of FCOS, of which the shipped config gets mmdetection's pixels, too."""
    model = fcos.build(small=False)
    shipped, same = [
        our_fcos.build(model_zoo.get_config("fcos_hrnetv2p_w18_1x", [*CPU, *words]), model)
        for words in ((), ours.MMDET)
    ]
    found = []
    for tiny in (2, 0):
        objects = [drawn(size, tiny=tiny, seed=n) for n, size in enumerate(SIZES)]
        batch = [
            fcos.Image(torch.from_numpy(x.image.transpose(2, 0, 1).copy()), x.boxes, x.classes)
            for x in objects
        ]
        before = our_fcos.compare(model, shipped, batch, pixels_of=same)
        found.append((before, our_fcos.compare(model, same, batch)))
    (before, after), (without, _) = found
    worst = max(after.losses.items(), key=lambda item: item[1])
    numbers = (before.total, without.total, before.gradients["backbone."], before.cosine)
    return Row("FCOS", *numbers, worst, after.gradients["backbone."])


ROWS: dict[str, Callable[[str], Row]] = dict.fromkeys(ours.TITLES, compare) | {"fcos": compare_fcos}

HEAD = """\
| detector | total loss, shipped rules (without tiny objects) | gradient (cosine) \
| with `MODEL.CONVENTIONS mmdet`: worst loss term | gradient |
|---|---|---|---|---|"""


def line(row: Row) -> str:
    """A line of the table."""
    name, worst = row.worst_loss
    return (
        f"| {row.title} | {row.total:+.1%} ({row.no_tiny:+.2%}) | {row.gradient:.2f} "
        f"({row.cosine:.3f}) | {worst:.1e} ({name}) | {row.worst_gradient:.1e} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(ROWS)}")
    kinds = parser.parse_args(arguments).kinds or list(ROWS)
    if unknown := [kind for kind in kinds if kind not in ROWS]:
        parser.error(f"unknown {', '.join(unknown)}; known: {', '.join(ROWS)}")
    if problem := reference.unavailable():
        parser.error(problem)
    print(HEAD)
    for kind in kinds:
        print(line(ROWS[kind](kind)), flush=True)


if __name__ == "__main__":
    main()

"""The published AP of the shipped configs, as configs/published.csv has it."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from hrnet_det.config.files import config_folder

# The CSV's sources in its order, and the short names that tables have for them.
SOURCES = {
    "arXiv:1908.07919": "P",
    "HRNet-Object-Detection": "OD",
    "mmdetection": "MM",
    "mmdetection 1": "MM",
    "HRNet-MaskRCNN-Benchmark": "MRB",
    "bowenc0221/panoptic-deeplab": "PDL",
}

# By source: the SOLVER.RECIPE of its training. The paper's is not known in detail, and that of
# HRNet-MaskRCNN-Benchmark is not followed.
RECIPES = {
    "mmdetection": "mmdet",
    "HRNet-Object-Detection": "hrnet_object_detection",
    "mmdetection 1": "hrnet_object_detection",
}


@dataclass(frozen=True)
class Result:
    """What one source has published of a config's recipe, in percent: a row of published.csv.

    Source: arXiv:1908.07919, its tables of COCO and Cityscapes; the README files of
    HRNet-Object-Detection, HRNet-MaskRCNN-Benchmark and bowenc0221/panoptic-deeplab;
    configs/hrnet of mmdetection 3.3.

    Args:
        config: a shipped config's name without its ending: one in YAML and one in Python share it.
        source: a key of SOURCES.
        box_ap, mask_ap: on COCO val2017, each None where there is none.
        miou, pq: on Cityscapes' val set, or None; with a PQ the mask AP is on that set too.
    """

    config: str
    source: str
    box_ap: float | None
    mask_ap: float | None
    miou: float | None
    pq: float | None = None

    @property
    def text(self) -> str:
        """Such as "42.3/37.6" of boxes and masks, and "63.4/36.2/80.6" of PQ, masks and mIoU."""
        known = (self.pq, self.box_ap, self.mask_ap, self.miou)
        return "/".join(f"{value:.1f}" for value in known if value is not None)


@cache
def results() -> tuple[Result, ...]:
    """All rows of configs/published.csv."""
    with (config_folder() / "published.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = ("box_ap", "mask_ap", "miou", "pq")
    return tuple(
        Result(**row | {key: float(row[key]) if row[key] else None for key in numbers})
        for row in rows
    )


def published(name: str) -> list[Result]:
    """What is published of a shipped config, in the order of SOURCES.

    Args:
        name: such as "COCO-Detection/fcos_hrnetv2p_w18_1x.yaml"; one without a folder is another
            name of the config that it is based on.
    """
    if "/" not in name:
        name = re.search(r'^_BASE_: "(.+)"', (config_folder() / name).read_text(), re.MULTILINE)[1]
    stem = name.rpartition(".")[0]
    return [result for result in results() if result.config == stem]


def published_line(found: Sequence[Result]) -> str:
    """One sentence with the values of all sources."""
    if not found:
        return "Not published."
    values = ", ".join(f"{result.text} ({result.source})" for result in found)
    if found[0].pq is not None:
        return f"Published PQ/mask AP/mIoU on Cityscapes val: {values}"
    if found[0].miou is not None:
        return f"Published mIoU on Cityscapes val: {values}"
    metric = "box AP" if found[0].mask_ap is None else "box/mask AP"
    return f"Published {metric} on COCO val2017: {values}"


def recipe_line(found: Sequence[Result], *, lazy: bool) -> str:
    """Which override trains as for which source's value; "" where none does.

    Args:
        lazy: of a LazyConfig, which has no recipes.
    """
    known = [result for result in found if result.source in RECIPES]
    if not known:
        return ""
    words = ", ".join(f"{RECIPES[result.source]} ({result.source})" for result in known)
    listed = "of the YAML config" if lazy else words
    return (
        f"As published: SOLVER.RECIPE {listed}; without it Detectron2's rules, which are not the "
        "training of any number above."
    )

"""Whether a run's sizes, anchors and limits suit the objects of its datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hrnet_det.check_data.anchors import (
    POOR_IOU,
    Fit,
    Level,
    Scale,
    anchor_levels,
    training_scale,
)
from hrnet_det.check_data.objects import Objects
from hrnet_det.check_data.sources import Source
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.coco_values import examples
from hrnet_det.data.findings import Finding
from hrnet_det.data.proposals import TOO_SMALL, fit_sizes, raise_limits
from hrnet_det.modeling.kinds import kind_of

SMALL_SHARE, POOR_SHARE = 0.1, 0.1  # of the objects, from which on it is told


@dataclass(frozen=True)
class Recipe:
    """What of a run is compared with its data.

    Attributes:
        scale: that of training; None where a LazyConfig does not tell.
        levels: the anchors; [] without.
        detections: at most, of an image.
        proposals: at most, that RoI heads get of an image in training; None without an RPN.
        conventions: by whose rules it trains.
    """

    scale: Scale | None
    levels: list[Level]
    detections: int | None
    proposals: int | None
    conventions: str

    @classmethod
    def of(cls, run: RunConfig) -> Recipe:
        if run.is_lazy:
            rpn = run.cfg.model.get("proposal_generator") or {}
            proposals = (rpn.get("post_nms_topk") or (None,))[0]
        else:
            heads = run.model.roi_heads and kind_of(run).roi_heads
            proposals = run[settings.POST_NMS_TOPK_TRAIN] if heads else None
        detections = run.detections_per_image if kind_of(run).detects else None
        name = run[settings.CONVENTIONS]
        return cls(training_scale(run), anchor_levels(run), detections, proposals, name)


def follow_data(run: RunConfig, sources: Sequence[Source], objects: Sequence[Objects]) -> None:
    """Let sizes, anchors and limits follow the user's own data, as a training does, and say so."""
    own = [o.statistics for s, o in zip(sources, objects, strict=True) if s.own]
    learnt = [o.statistics for s, o in zip(sources, objects, strict=True) if s.own and not s.tests]
    raise_limits(run, own)
    if learnt and run[settings.FIT]:
        fit_sizes(run, learnt[0])


def unsuitable(recipe: Recipe, objects: Objects, found: Fit | None) -> Iterator[Finding]:
    """What of a recipe does not suit the objects; `found` is how the anchors fit them."""
    counts, total = objects.statistics.objects_per_image, len(objects.rows)
    for kind, limit, what in (
        ("more-objects-than-detections", recipe.detections, "detections of an image at most"),
        ("more-objects-than-proposals", recipe.proposals, "proposals of an image in training"),
    ):
        many = np.flatnonzero(counts > limit) if limit is not None else []
        if len(many):
            ids = tuple(objects.images[i]["id"] for i in many)
            yield Finding(
                kind,
                "warning",
                f"{len(ids)} of {len(counts)} images have more objects than the {limit} {what}, "
                f"up to {counts.max()}: raise that limit, or cut images into tiles: image ids "
                f"{examples(ids)}",
                images=ids,
            )
    if found is None or not total:
        return
    small = np.flatnonzero(found.sides < TOO_SMALL)
    if len(small) >= SMALL_SHARE * total:
        small = small[np.argsort(found.sides[small], kind="stable")]
        yield Finding(
            "objects-small-after-resizing",
            "warning",
            f"{len(small)} of {total} objects ({len(small) / total:.0%}) are smaller than "
            f"{TOO_SMALL} x {TOO_SMALL} pixels after resizing ({recipe.scale}), two cells of "
            "the finest level: train on larger images or tiles",
            **objects.ids(small),
        )
    poor = np.flatnonzero(found.ious < POOR_IOU)  # nan, without anchors, is not
    if len(poor) >= POOR_SHARE * total:
        poor = poor[np.argsort(found.ious[poor], kind="stable")]
        sides = ", ".join(str(side) for level in recipe.levels for side in level.sides)
        low, middle, high = np.percentile(found.sides, (5, 50, 95))
        yield Finding(
            "anchors-unsuitable",
            "warning",
            f"{len(poor)} of {total} objects ({len(poor) / total:.0%}) have no anchor of an IoU "
            f"of {POOR_IOU}: after resizing the sides of objects are {low:.0f} to {high:.0f} "
            f"pixels (5th to 95th percentile, median {middle:.0f}), those of anchors {sides}: "
            "change the anchors or the image size",
            **objects.ids(poor),
        )


def class_problems(objects: Objects, trained: Sequence[Objects]) -> Iterator[Finding]:
    """Classes that a dataset has no objects of, or that are only tested on.

    Args:
        trained: the objects that are trained on, where these are tested on.
    """
    counts, classes = objects.statistics.objects_per_class, objects.statistics.classes
    if absent := [classes[i] for i in np.flatnonzero(counts == 0)]:
        effect = "have no AP" if trained else "are not learnt"
        yield Finding(
            "classes-without-objects",
            "warning",
            f"{len(absent)} of {len(classes)} classes have no objects, so they {effect}: "
            f"{examples(absent, most=8)}",
        )
    learnt = {
        other.statistics.classes[i]
        for other in trained
        for i in np.flatnonzero(other.statistics.objects_per_class)
    }
    only = [i for i in np.flatnonzero(counts) if trained and classes[i] not in learnt]
    if only:
        chosen = np.flatnonzero(np.isin(objects.statistics.class_of, only))
        names = examples((f"{classes[i]} ({counts[i]})" for i in only), most=8)
        yield Finding(
            "classes-only-in-test",
            "warning",
            f"{len(only)} of {len(classes)} classes have objects to test on, but none to train on: "
            f"{names}",
            **objects.ids(chosen),
        )

"""What the detections of a test set say in words: what costs most, and what helps."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from hrnet_det.config.run_config import RunConfig
from hrnet_det.diagnosis.diagnosis import Diagnosis
from hrnet_det.report.page.error_kinds import ERRORS
from hrnet_det.report.page.limits import limits
from hrnet_det.report.page.training_story import BAD, GOOD, NEUTRAL, Statement

SMALL, LARGE = 32**2, 96**2  # square pixels: COCO's bounds of object sizes
LEARNT = 5  # percent of AP50 from which errors are looked at
MORE = (
    "Train longer, look whether the losses fall, start from ImageNet weights (MODEL.WEIGHTS "
    "imagenet), and look at the data (hrnet-det check-data)."
)
LITTLE = 0.5  # percent of AP50: errors that cost less are not worth a sentence
NAMED, CONFUSED = 5, 3  # classes, and pairs of them, in a sentence
SPREAD = 20  # percent of AP50 between classes from which the worst are named
WORSE = 0.6  # AP of small objects beside that of larger ones from which it is said
LARGER_IMAGES = (
    "Small objects need larger images: raise INPUT.MIN_SIZE_TRAIN and INPUT.MIN_SIZE_TEST, let "
    "anchors fit (DATASETS.CUSTOM.FIT True), or predict in tiles (--tile 640)."
)
OVERSURE = 0.15  # a calibration error from which scores are said to be wrong


def detection_story(
    diagnosis: Diagnosis,
    run: RunConfig | None,
    weights: str,
    metrics: Mapping[str, float | None] = MappingProxyType({}),
) -> list[Statement]:
    """Sentences on a test set's detections, what matters most first.

    Args:
        metrics: of the evaluation, for the AP of sizes.
        weights: what predict is given to use them; "" where they are not known.
    """
    if not diagnosis.overall.objects:
        return [Statement(NEUTRAL, "The test set has no objects: nothing can be right or missed.")]
    learnt = list(_not_learnt(diagnosis))
    said = [
        *(learnt or _costliest(diagnosis)),
        *_not_found(diagnosis),
        *limits(diagnosis, run),
        *_weakest(diagnosis),
        *(() if learnt else _sizes(diagnosis, metrics)),
        *(() if learnt else _score(diagnosis, weights)),
        *_calibration(diagnosis),
    ]
    told: set[str] = set()
    for place, statement in enumerate(said):
        if statement.advice in told:
            said[place] = replace(statement, advice="")
        told.add(statement.advice)
    return said


def _not_learnt(diagnosis: Diagnosis) -> Iterator[Statement]:
    """Whether it has learnt so little that the kinds of its errors mean nothing."""
    if not len(diagnosis.evaluated.found):
        yield Statement(
            BAD,
            "Nothing was detected: no score is over the detector's own threshold "
            "(SCORE_THRESH_TEST of its head).",
            MORE,
        )
    elif diagnosis.tide.ap < LEARNT:
        yield Statement(
            BAD,
            f"It has learnt very little yet: AP50 is {diagnosis.tide.ap:.1f}, and the kinds of its "
            "errors mean nothing.",
            MORE,
        )


def _costliest(diagnosis: Diagnosis) -> Iterator[Statement]:
    """The kind of error that costs most AP, and the next one."""
    tide, first = diagnosis.tide, True
    for kind in sorted(ERRORS, key=lambda kind: -tide.gains[kind])[:2]:
        gain = tide.gains[kind]
        if not gain >= LITTLE:
            break
        title, _, _, advice = ERRORS[kind]
        start = "What costs most are" if first else "Next come"
        text = (
            f"{start} {title}: without them AP50 would be {tide.ap + gain:.1f} in place of "
            f"{tide.ap:.1f}."
        )
        if kind == "Cls" and (pairs := confused_pairs(diagnosis)[:CONFUSED]):
            names = [short(name) for name in diagnosis.evaluated.classes]
            told = ", ".join(f"{names[i]} for {names[j]} ({n:,})" for i, j, n in pairs)
            text += f" Most often it takes {told}."
        if kind == "Miss":
            more, advice = _missed(diagnosis)
            text += more
        yield Statement(BAD if first else NEUTRAL, text, advice)
        first = False


def _missed(diagnosis: Diagnosis) -> tuple[str, str]:
    """Of which size missed objects are, and what helps."""
    truth, missed = diagnosis.evaluated.truth, diagnosis.tide.missed
    areas, missed = truth.areas[~truth.crowd], missed[~truth.crowd]
    shares = [
        (f"{name} ones ({bound})", missed[chosen].mean() if chosen.any() else 0.0, chosen.sum())
        for name, bound, chosen in (
            ("small", "under 32 x 32 pixels", areas < SMALL),
            ("medium", "to 96 x 96 pixels", (areas >= SMALL) & (areas < LARGE)),
            ("large", "over 96 x 96 pixels", areas >= LARGE),
        )
    ]
    told = ", ".join(f"{share:.0%} of {name}" for name, share, count in shares if count)
    small, rest = missed[areas < SMALL].sum(), missed[areas >= SMALL].sum()
    if small > rest:
        advice = LARGER_IMAGES
    else:
        advice = (
            "More examples of what is missed, or a longer training. hrnet-det check-data says "
            "whether the anchors and image sizes suit the objects."
        )
    return f" Missed are {told}.", advice


def confused_pairs(diagnosis: Diagnosis) -> list[tuple[int, int, int]]:
    """Places of classes, of others that they are taken for, and how often; most frequent first."""
    size = len(diagnosis.evaluated.classes)
    counts = diagnosis.confusion[:size, :size].copy()
    np.fill_diagonal(counts, 0)
    places = np.argsort(-counts, axis=None, kind="stable")[: np.count_nonzero(counts)]
    pairs = zip(*(axis.tolist() for axis in np.unravel_index(places, counts.shape)), strict=True)
    return [(i, j, int(counts[i, j])) for i, j in pairs]


def _not_found(diagnosis: Diagnosis) -> Iterator[Statement]:
    """Classes with objects of which none is found right, and classes without objects."""
    lost = [c.name for c in diagnosis.curves if c.objects and c.advised is None]
    if lost and len(diagnosis.evaluated.found):
        yield Statement(
            BAD,
            f"Not one object is found of {_some(lost)}: {_classes(len(lost), diagnosis)}, each "
            "with an AP50 of 0.",
            "hrnet-det check-data says how many examples there are to learn these from. Rare "
            "classes: more images, or DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler.",
        )
    absent = [c.name for c in diagnosis.curves if not c.objects]
    if absent:
        yield Statement(
            NEUTRAL,
            f"The test set has no {_some(absent)}: {_classes(len(absent), diagnosis)}, of which "
            "nothing can be said.",
        )


def _weakest(diagnosis: Diagnosis) -> Iterator[Statement]:
    """The classes that are found worst and best, where they differ much."""
    known = sorted((c for c in diagnosis.curves if c.advised is not None), key=lambda c: c.ap)
    if len(known) < 3 or 100 * (known[-1].ap - known[0].ap) < SPREAD:
        return
    worst = ", ".join(
        f"{short(c.name)} ({100 * c.ap:.1f}, {c.objects:,} objects)" for c in known[:2]
    )
    best = known[-1]
    yield Statement(
        NEUTRAL,
        f"Of the classes that are found at all, these have the lowest AP50: {worst}; "
        f"{short(best.name)} has the highest ({100 * best.ap:.1f}).",
    )


def _sizes(diagnosis: Diagnosis, metrics: Mapping[str, float | None]) -> Iterator[Statement]:
    """Whether small objects are found far worse than larger ones."""
    small = metrics.get("APs")
    larger = [metrics[name] for name in ("APm", "APl") if metrics.get(name) is not None]
    truth = diagnosis.evaluated.truth
    count = int((truth.areas[~truth.crowd] < SMALL).sum())
    if small is None or not larger or small > WORSE * max(larger) or np.isnan(small):
        return
    yield Statement(
        NEUTRAL,
        f"AP of small objects is {small:.1f}, of larger ones up to {max(larger):.1f}: "
        f"{count:,} of {diagnosis.overall.objects:,} objects are under 32 x 32 pixels.",
        LARGER_IMAGES,
    )


def _classes(count: int, diagnosis: Diagnosis) -> str:
    return f"{count:,} of {len(diagnosis.curves):,} class{'es' * (len(diagnosis.curves) > 1)}"


def _score(diagnosis: Diagnosis, weights: str) -> Iterator[Statement]:
    """The score to use, and the command that does."""
    overall = diagnosis.overall
    rates = overall.at_advised
    if rates is None:
        return
    command = f"{shlex.join(['hrnet-det', 'predict', weights])} IMAGES"
    yield Statement(
        GOOD,
        f"The best score to use is {overall.advised:g}, where F1 is highest ({rates.f1:.2f}): "
        f"{rates.recall:.0%} of the objects are found, and {rates.precision:.0%} of the detections "
        "are right.",
        command=f"{command} --score {overall.advised:g}" if weights else "",
    )


def _calibration(diagnosis: Diagnosis) -> Iterator[Statement]:
    """Whether scores mean what they say."""
    bins = diagnosis.calibration
    if bins.error is None or bins.error < OVERSURE:
        return
    place = int(np.argmax(bins.count * np.nan_to_num(abs(bins.score - bins.precision))))
    high = "high" if bins.score[place] > bins.precision[place] else "low"
    yield Statement(
        NEUTRAL,
        f"Its scores are too {high}: of the {bins.count[place]:,} detections with scores around "
        f"{bins.score[place]:.2f}, {bins.precision[place]:.0%} are right.",
        "They rank detections all the same. Take scores from the curves, not for probabilities.",
    )


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(short, names[:NAMED])) + rest


def short(name: str, longest: int = 40) -> str:
    """A name as a sentence has room for it."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"

"""What the detections of a test set say in words: what costs most, and what helps."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hrnet_det.config.run_config import RunConfig
from hrnet_det.diagnosis.diagnosis import Diagnosis
from hrnet_det.report.error_kinds import ERRORS
from hrnet_det.report.training_story import BAD, GOOD, NEUTRAL, Statement

SMALL, LARGE = 32**2, 96**2  # square pixels: COCO's bounds of object sizes
LITTLE = 0.5  # percent of AP50: errors that cost less are not worth a sentence
NAMED, CONFUSED = 5, 3  # classes, and pairs of them, in a sentence
OVERSURE = 0.15  # a calibration error from which scores are said to be wrong


def detection_story(diagnosis: Diagnosis, run: RunConfig | None, folder: Path) -> list[Statement]:
    """Sentences on a test set's detections, what matters most first.

    Args:
        folder: the run's, for the command that uses its weights.
    """
    if not diagnosis.overall.objects:
        return [Statement(NEUTRAL, "The test set has no objects: nothing can be right or missed.")]
    return [
        *_nothing(diagnosis),
        *_costliest(diagnosis),
        *_not_found(diagnosis),
        *_limits(diagnosis, run),
        *_score(diagnosis, folder),
        *_calibration(diagnosis),
    ]


def _nothing(diagnosis: Diagnosis) -> Iterator[Statement]:
    if not len(diagnosis.evaluated.found):
        yield Statement(
            BAD,
            "Nothing was detected.",
            "No score is over the detector's own threshold (SCORE_THRESH_TEST of its head): it has "
            "learnt too little. Train longer, and look at the losses below.",
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
    missed, areas = diagnosis.tide.missed, diagnosis.evaluated.truth.areas
    shares = [
        (f"{name} ones ({bound})", missed[chosen].mean() if chosen.any() else 0.0, chosen.sum())
        for name, bound, chosen in (
            ("small", "under 32 x 32 pixels", areas < SMALL),
            ("medium", "to 96 x 96 pixels", (areas >= SMALL) & (areas < LARGE)),
            ("large", "larger", areas >= LARGE),
        )
    ]
    told = ", ".join(f"{share:.0%} of {name}" for name, share, count in shares if count)
    small, rest = missed[areas < SMALL].sum(), missed[areas >= SMALL].sum()
    if small > rest:
        advice = (
            "Small objects need larger images: raise INPUT.MIN_SIZE_TRAIN and INPUT.MIN_SIZE_TEST, "
            "let anchors fit (DATASETS.CUSTOM.FIT True), or predict in tiles (--tile 640)."
        )
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
            "with an AP of 0.",
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


def _classes(count: int, diagnosis: Diagnosis) -> str:
    return f"{count:,} of {len(diagnosis.curves):,} class{'es' * (len(diagnosis.curves) > 1)}"


def _limits(diagnosis: Diagnosis, run: RunConfig | None) -> Iterator[Statement]:
    """Whether the most detections of an image are too few."""
    evaluated, count = diagnosis.evaluated, len(diagnosis.evaluated.images)
    objects = np.bincount(evaluated.truth.image[~evaluated.truth.crowd], minlength=count)
    if run is not None:
        most, name = run.detections_per_image, run.name(run.detections_setting)
        more = int((objects > most).sum())
        if more:
            yield Statement(
                BAD,
                f"{more:,} of {count:,} images have more objects (up to {objects.max():,}) than "
                f"the {most:,} detections that the detector gives for an image.",
                f"Raise {name} (to {_round_up(int(objects.max())):,}), and evaluate again.",
            )
        elif cut := _cut(diagnosis, most):
            yield Statement(
                BAD,
                f"In {cut:,} of {count:,} images the limit of {most:,} detections leaves some out "
                "whose scores would be high enough to be used.",
                f"Raise {name}, and evaluate again.",
            )
    classes, truth = len(evaluated.classes), evaluated.truth
    alike = truth.image[~truth.crowd] * classes + truth.classes[~truth.crowd]
    of_class = np.unique(alike, return_counts=True)[1].max(initial=0)
    if of_class > evaluated.max_detections:
        yield Statement(
            BAD,
            f"AP counts the best {evaluated.max_detections:,} detections of a class in an image "
            f"(maxDets), but images have up to {of_class:,} objects of one: AP cannot reach 100.",
            "COCO's own sets are measured so; other data follows TEST.DETECTIONS_PER_IMAGE.",
        )


def _cut(diagnosis: Diagnosis, most: int) -> int:
    """In how many images all of the most detections have scores that would be used."""
    found, used = diagnosis.evaluated.found, diagnosis.outcomes.scores
    good = found.image[found.scores >= used[found.classes]]
    return int((np.bincount(good, minlength=1) >= most).sum())


def _round_up(number: int) -> int:
    return -(-number * 6 // 5 // 50) * 50  # a fifth more, in fifties, as trainings on own data do


def _score(diagnosis: Diagnosis, folder: Path) -> Iterator[Statement]:
    """The score to use, and the command that does."""
    overall = diagnosis.overall
    rates = overall.at_advised
    if rates is None:
        return
    command = shlex.join(["hrnet-det", "predict", str(folder)])
    yield Statement(
        GOOD,
        f"Used with a score of {overall.advised:g} it is right most evenly: {rates.recall:.0%} of "
        f"the objects are found, and {rates.precision:.0%} of the detections are right.",
        f"{command} IMAGES --score {overall.advised:g}",
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

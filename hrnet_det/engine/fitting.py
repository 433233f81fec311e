"""What of a job follows its data: image sizes, anchors, learning rate and iterations."""

from __future__ import annotations

from collections.abc import Mapping

from hrnet_det.config import settings
from hrnet_det.data.datasets import Splits
from hrnet_det.data.pixels import check_pixel_range, measured_range
from hrnet_det.data.proposals import SIZES, fit_sizes, warn_of_sizes
from hrnet_det.engine.job import Job
from hrnet_det.engine.schedule import follow_epochs, scale_learning_rate
from hrnet_det.errors import InputError


def fit_data(job: Job) -> None:
    """Image sizes and anchors follow the data; those of weights that exist already stay theirs."""
    run, statistics = job.run, job.splits.statistics
    if not statistics:
        return
    earlier = job.earlier if run[settings.FIT] else None
    if earlier is not None and earlier.is_lazy:  # whose sizes and anchors are in no settings
        earlier = None
    if earlier is not None:
        kept = [s for s in (*SIZES, settings.ANCHOR_SIZES) if not run.states(s)]
        kept = [setting for setting in kept if run[setting] != earlier[setting]]
        for setting in kept:
            run[setting] = earlier[setting]
        if kept:
            run.note(f"{', '.join(map(run.shown, kept))}: as the weights were trained.")
    learnt = next((statistics[name] for name in job.splits.train if name in statistics), None)
    if run[settings.FIT] and earlier is None and learnt is not None and job.trains:
        fit_sizes(run, learnt)
    if learnt is not None:
        size = [] if run.is_lazy else [run[settings.MIN_SIZE_TEST], run[settings.MAX_SIZE_TEST]]
        run.data = learnt.summary() | {"size": size}
    warn_of_sizes(run, learnt or next(iter(statistics.values())))


def follow_schedule(job: Job) -> None:
    """Learning rate and iterations follow batch and data."""
    if job.trains:
        scale_learning_rate(job.run)
        follow_epochs(job.run, job.splits.train)


def fit_pixels(job: Job) -> None:
    """The range of images of more than 8 bits: stated, that of the weights, or measured once.

    Raises: InputError if images have too many pixels; if it is not a range; if it is not known, as
        images have several depths or only those to test on have more than 8 bits; if a LazyConfig's
        mapper cannot read them.
    """
    run, splits = job.run, job.splits
    check_pixel_range(run)
    areas = [s.sides.prod(1).max(initial=0) for s in splits.statistics.values()]
    largest = int(max(areas, default=0))
    if largest > run[settings.MAX_PIXELS]:
        raise InputError(
            f"{run.shown(settings.MAX_PIXELS)}, but an image has {largest}: raise it, if you have "
            "the memory, or cut images and json into tiles"
        )
    deep = {p: depth for name in splits.names for p, depth in splits.deep.get(name, {}).items()}
    if not deep:
        return
    if not run.has(settings.PIXEL_RANGE):
        raise InputError(
            f"{len(deep)} images have more than 8 bits a sample ({next(iter(deep))}), which the "
            "mapper of this LazyConfig would cut off at 255: take hrnet_det.data.mapper.Mapper in "
            "the place of Detectron2's DatasetMapper, as configs/common/data/coco.py does"
        )
    if run[settings.PIXEL_RANGE]:
        return
    earlier = job.earlier
    if earlier is not None and earlier[settings.PIXEL_RANGE]:
        run[settings.PIXEL_RANGE] = list(earlier[settings.PIXEL_RANGE])
        run.note(f"{run.shown(settings.PIXEL_RANGE)}: as the weights were trained.")
        return
    learnt = {p: deep[p] for name in splits.train for p in splits.deep.get(name, ())}
    ranges = _measured(learnt or deep)
    if len(set(deep.values())) == 1 and job.trains and learnt:
        ((depth, (low, high)),) = ranges.items()
        run[settings.PIXEL_RANGE] = [low, high]
        run.note(
            f"{run.shown(settings.PIXEL_RANGE)}: {len(learnt)} images to train on have {depth}; "
            "these are the 0.1 and 99.9 percentiles of their pixels, made black and white."
            f"{_of_others(splits, len(learnt))}"
        )
        return
    found = ", ".join(f"{depth} from {low:g} to {high:g}" for depth, (low, high) in ranges.items())
    low, high = next(iter(ranges.values()))
    problem = (
        "images have different depths, for which no one range holds: bring them to one, or give it"
        if len(set(deep.values())) > 1
        else f"{len(deep)} images to test on have more than 8 bits a sample, but the detector is "
        "trained on 8: give the values that become black and white"
    )
    words = " ".join(run.words(settings.PIXEL_RANGE, f'"[{low:g}, {high:g}]"'))
    raise InputError(f"{problem}, {words} (measured: {found})")


def _of_others(splits: Splits, deep: int) -> str:
    """A warning where images to train on have 8 bits beside so many that have more."""
    datasets = splits.statistics
    others = sum(len(datasets[name].sides) for name in splits.train if name in datasets) - deep
    return f" Warning: {others} have 8 bits and stay as they are." if others else ""


def _measured(depths: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """The range of the images of each depth."""
    by_depth: dict[str, list[str]] = {}
    for path, depth in depths.items():
        by_depth.setdefault(depth, []).append(path)
    return {depth: measured_range(paths) for depth, paths in by_depth.items()}

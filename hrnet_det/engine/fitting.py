"""What of a job follows its data: image sizes, anchors, learning rate and iterations."""

from __future__ import annotations

from hrnet_det.config import settings
from hrnet_det.data.pixels import check_pixel_range, measured_range
from hrnet_det.data.proposals import SIZES, fit_sizes, warn_of_sizes
from hrnet_det.engine.job import Job
from hrnet_det.engine.schedule import follow_epochs, scale_learning_rate
from hrnet_det.engine.start import earlier_config
from hrnet_det.errors import InputError


def fit_data(job: Job) -> None:
    """Image sizes and anchors follow the data; those of weights that exist already stay theirs."""
    run, statistics = job.run, job.splits.statistics
    if not statistics:
        return
    earlier = earlier_config(job)
    if run[settings.FIT] and earlier is not None:
        kept = [s for s in (*SIZES, settings.ANCHOR_SIZES) if not run.states(s)]
        kept = [setting for setting in kept if run[setting] != earlier[setting]]
        for setting in kept:
            run[setting] = earlier[setting]
        if kept:
            run.note(f"{', '.join(map(run.shown, kept))}: as the weights were trained.")
    learnt = next((statistics[name] for name in job.splits.train if name in statistics), None)
    if run[settings.FIT] and earlier is None and learnt is not None and job.trains:
        fit_sizes(run, learnt)
    warn_of_sizes(run, learnt or next(iter(statistics.values())))


def follow_schedule(job: Job) -> None:
    """Learning rate and iterations follow batch and data."""
    if job.trains:
        scale_learning_rate(job.run)
        follow_epochs(job.run, job.splits.train)


def fit_pixels(job: Job) -> None:
    """The range of images of more than 8 bits: stated, that of the weights, or measured once.

    Raises: InputError if it is not a range; if such images are tested on and the weights were not
        trained on any; if a LazyConfig's mapper cannot read them.
    """
    run, splits = job.run, job.splits
    check_pixel_range(run)
    deep = [path for name in splits.names for path in splits.deep.get(name, ())]
    if not deep:
        return
    if not run.has(settings.PIXEL_RANGE):
        raise InputError(
            f"{len(deep)} images have more than 8 bits a sample ({deep[0]}), which the mapper of "
            "this LazyConfig would cut off at 255: take hrnet_det.data.mapper.Mapper in the place "
            "of Detectron2's DatasetMapper, as configs/common/data/coco.py does"
        )
    if run[settings.PIXEL_RANGE]:
        return
    earlier = earlier_config(job)
    learnt = [path for name in splits.train for path in splits.deep.get(name, ())]
    if earlier is not None and earlier[settings.PIXEL_RANGE]:
        run[settings.PIXEL_RANGE] = list(earlier[settings.PIXEL_RANGE])
        run.note(f"{run.shown(settings.PIXEL_RANGE)}: as the weights were trained.")
    elif job.trains and learnt:
        run[settings.PIXEL_RANGE] = list(measured_range(learnt))
        run.note(
            f"{run.shown(settings.PIXEL_RANGE)}: {len(learnt)} images have more than 8 bits; these "
            "are the 0.1 and 99.9 percentiles of their pixels, made black and white."
        )
    else:
        low, high = measured_range(deep)
        value = f'"[{low:g}, {high:g}]"'
        raise InputError(
            f"{len(deep)} images to test on have more than 8 bits a sample ({deep[0]}), but the "
            "detector is trained on 8 bits: give the values that become black and white, "
            f"{' '.join(run.words(settings.PIXEL_RANGE, value))} (measured on these images)"
        )

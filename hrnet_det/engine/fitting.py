"""What of a job follows its data: image sizes, anchors, learning rate and iterations."""

from __future__ import annotations

from hrnet_det.config import settings
from hrnet_det.data.proposals import SIZES, fit_sizes, warn_of_sizes
from hrnet_det.engine.job import Job
from hrnet_det.engine.schedule import follow_epochs, scale_learning_rate
from hrnet_det.engine.start import earlier_config


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

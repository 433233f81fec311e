"""All that is checked before a run starts, in one order, for the datasets that it uses.

A check is a function of a Job: it returns, changes a setting and says so, or raises an InputError
that says what was given, what is allowed, and what to do next.
"""

from __future__ import annotations

from collections.abc import Callable

from hrnet_det.engine import checks
from hrnet_det.engine.job import Job

CHECKS: tuple[Callable[[Job], None], ...] = (
    checks.check_device,
    checks.check_numbers,
    checks.check_batch,
    checks.check_model,
    checks.check_datasets,
    checks.check_learning,
    checks.check_input,
    checks.check_evaluation,
    checks.check_precision,
    checks.check_norms,
    checks.check_weights,
)


def preflight(job: Job) -> None:
    """Make a run's settings fit device and data.

    Raises: InputError for what the user has to change.
    """
    for check in CHECKS:
        check(job)

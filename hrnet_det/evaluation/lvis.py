"""LVIS evaluation by Detectron2, with NumPy as it is today."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from detectron2.evaluation import LVISEvaluator


class LvisEvaluator(LVISEvaluator):
    """Detectron2's LVISEvaluator.

    Source: Detectron2 and the package lvis (0.5.3, its last), arXiv:1908.03195.
    Differs from source: not in the results. The package lvis names np.float, which NumPy 1.24 has
    dropped.
    """

    def evaluate(self) -> OrderedDict | None:
        """The results, in the main process of a job."""
        with _with_np_float():
            return super().evaluate()


@contextlib.contextmanager
def _with_np_float() -> Iterator[None]:
    if hasattr(np, "float"):
        yield
        return
    np.float = float
    try:
        yield
    finally:
        del np.float

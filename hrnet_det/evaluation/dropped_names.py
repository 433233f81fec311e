"""Detectron2's evaluators whose packages are older than the NumPy of today."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    LVISEvaluator,
)

DROPPED = {"float": float, "in1d": np.isin}  # by NumPy 1.24 and 2.4


class _DroppedNames:
    """Evaluators that find those names in numpy while they evaluate; their results are the same."""

    def evaluate(self) -> Any:
        with patch.multiple(np, create=True, **DROPPED):
            return super().evaluate()


class LvisEvaluator(_DroppedNames, LVISEvaluator):
    """Detectron2's, for the package lvis 0.5.3, its last (arXiv:1908.03195)."""


class CityscapesSemanticLabels(_DroppedNames, CityscapesSemSegEvaluator):
    """Detectron2's, for the package cityscapesscripts."""


class CityscapesInstances(_DroppedNames, CityscapesInstanceEvaluator):
    """Detectron2's, for the package cityscapesscripts.

    Differs from source: no matches.json, of whose NumPy integers json cannot write any.
    """

    def evaluate(self) -> Any:
        module = "cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling"
        with patch(f"{module}.writeDict2JSON", lambda *_: None):
            return super().evaluate()

"""Random numbers of a training that something beside it leaves alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_numbers_apart() -> Iterator[None]:
    """What is drawn within, by Python, NumPy or torch, is not missing afterwards."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    ours, numpys = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)

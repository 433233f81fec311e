"""Random numbers of Python, NumPy and torch together: seeded, or set aside for a while."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_random_numbers(*words: int) -> None:
    """Let what is drawn from now on follow from these whole numbers, of at least 0, alone."""
    for_python, for_numpy, *for_torch = np.random.SeedSequence(words).generate_state(4).tolist()
    random.seed(for_python)
    np.random.seed(for_numpy)
    torch.manual_seed(for_torch[0] << 32 | for_torch[1])


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

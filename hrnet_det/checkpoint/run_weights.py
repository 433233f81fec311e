"""The weights of a run's folder that are used: those of its best evaluation, or its last ones."""

from __future__ import annotations

import os
from pathlib import Path

from hrnet_det.checkpoint.latest import numbered_checkpoints
from hrnet_det.errors import InputError, MissingInputError

# The first of these that is there, and what it is.
WEIGHTS = {
    "model_best.pth": "of the best evaluation",
    "model_final.pth": "of the end of the training",
    "model_final.safetensors": "of the end of the training",
}


def run_weights(
    folder: str | Path, *, suffixes: tuple[str, ...] = (".pth", ".safetensors")
) -> Path:
    """The file of a run's folder whose weights are used: the first of WEIGHTS that is there.

    Where a training has not come to its end, and had no evaluation, the last numbered checkpoint.

    Args:
        folder: OUTPUT_DIR of a training.
        suffixes: of the files that can be used.
    Raises: MissingInputError if there is no such folder; InputError if it has no weights.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise MissingInputError(f"the folder {folder} of a training is not there")
    named = [folder / name for name in WEIGHTS if name.endswith(suffixes)]
    found = [path for path in named if os.path.isfile(path)]
    if ".pth" in suffixes:
        found += numbered_checkpoints(folder)[-1:]
    if not found:
        raise InputError(
            f"the folder {folder} has no weights of a training "
            f"({', '.join(path.name for path in named)}, model_0000999.pth, ...): "
            "name the OUTPUT_DIR of one, or a file of weights"
        )
    return found[0]


def said_of(path: Path) -> str:
    """What the weights are, for a message: "of the best evaluation"."""
    return WEIGHTS.get(path.name, "of the last checkpoint of a training that has not ended")

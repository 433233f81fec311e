"""What a training leaves to be used elsewhere: one file, and the card that says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hrnet_det.checkpoint.export import export_model
from hrnet_det.checkpoint.writing import written_aside
from hrnet_det.config import settings
from hrnet_det.report.metrics import plain_results
from hrnet_det.report.model_card import model_card

if TYPE_CHECKING:
    from hrnet_det.engine.trainer import Trainer

MODEL, CARD = "model_final.safetensors", "model_card.md"


def write_final_model(trainer: Trainer, results: dict) -> None:
    """Write the weights of model_final.pth, averaged ones where there are, and their model card.

    Args:
        results: of the last evaluation, as `Trainer.train` returns them.
    Raises: InputError if they cannot be written.
    """
    run, checkpointer = trainer.run, trainer.checkpointer
    output = Path(str(run[settings.OUTPUT_DIR]))
    weights = checkpointer.model.state_dict()
    known = {"iterations": trainer.max_iter, "metrics": plain_results(results)}
    metadata = export_model(output / MODEL, weights, checkpointer.metadata, run, **known)
    with written_aside(output / CARD) as file:
        file.write(model_card(run, MODEL, metadata, results).encode())

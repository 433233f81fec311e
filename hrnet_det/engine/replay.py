"""A batch whose losses were not finite: saved with its weights, and repeated: hrnet-det replay."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from torch import Tensor, nn

from hrnet_det import model_zoo
from hrnet_det.checkpoint.writing import written_aside
from hrnet_det.config import settings
from hrnet_det.config.load import load_run, parse_run
from hrnet_det.engine.autocast import autocast_training
from hrnet_det.engine.finite_losses import STUMBLES, Batch, forward_again, gradients_not_finite
from hrnet_det.environment import one_line
from hrnet_det.errors import InputError, MissingInputError

if TYPE_CHECKING:
    from hrnet_det.engine.trainer import Trainer

FORM = 1  # of the file, under "hrnet_det_replay"
_Ways = tuple[type, Callable[[Any], Any], Callable[[Any], Any]]
# Detectron2's classes in a batch: what stands for them in the file, and the way back.
_CLASSES: dict[str, _Ways] = {
    "Boxes": (Boxes, lambda x: x.tensor, Boxes),
    "BitMasks": (BitMasks, lambda x: x.tensor, BitMasks),
    "Keypoints": (Keypoints, lambda x: x.tensor, Keypoints),
    "PolygonMasks": (PolygonMasks, lambda x: x.polygons, PolygonMasks),
    "Instances": (
        Instances,
        lambda x: [tuple(x.image_size), x.get_fields()],
        lambda x: Instances(x[0], **x[1]),
    ),
    "dict": (dict, lambda x: [list(item) for item in x.items()], dict),
}


def save(trainer: Trainer, batch: Batch, path: Path) -> None:
    """The batch, the trained weights and the config, as tensors and plain data.

    Raises: InputError if it cannot be written.
    """
    model = trainer.trained
    content = {
        "hrnet_det_replay": FORM,
        "config": (trainer.checkpointer.metadata or {}).get("config", ""),
        "weights": {name: tensor.cpu() for name, tensor in model.state_dict().items()},
        "rows": [plain(row) for row in batch.rows],
        "random": batch.random,
        "parts": batch.parts,
        "autocast": batch.autocast,
        "iteration": trainer.iter,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as file:
        torch.save(content, file)


def plain(value: Any) -> Any:
    """The value in tensors, numbers, text, lists and tuples; what it has of other kinds is None."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray):
        return torch.tensor(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    for name, (kind, taken_apart, _) in _CLASSES.items():
        if isinstance(value, kind):
            return {"class": name, "of": plain(taken_apart(value))}
    return value if isinstance(value, (str, int, float, bool)) else None


def restored(value: Any) -> Any:
    """What `plain` was given."""
    if isinstance(value, dict):
        return _CLASSES[value["class"]][2](restored(value["of"]))
    if isinstance(value, (list, tuple)):
        return type(value)(restored(item) for item in value)
    return value


def replay(path: str | Path, *, config: str | Path | None = None, device: str = "cpu") -> str:
    """Repeat the forward pass of a saved batch; returns its losses and what was not finite first.

    Where all is finite, the backward pass is repeated too.

    Args:
        path: a file of OUTPUT_DIR/replay/.
        config: a file or the name of a shipped one; by default what the file has.
    Raises: InputError if the file is none, or its weights do not belong to the config.
    """
    model_zoo.check_device(device)
    content = _read(Path(path))
    if not (config or content.get("config")):
        raise InputError(f"{path} has no config: give the training's one, --config-file")
    try:
        run = load_run(config) if config else parse_run(content["config"], str(path))
        run[settings.DEVICE] = device
        batch = Batch(
            [restored(row) for row in content["rows"]],
            content["random"],
            content["parts"],
            content["autocast"] if device == "cuda" else "",
        )
        model = _model(run, content["weights"])
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise InputError(f"{path} cannot be replayed: {one_line(error)}") from error
    lines = [f"{path}: iteration {content['iteration']}, {', '.join(batch.files)}"]
    if content["autocast"] != batch.autocast:
        lines.append(f"The training computed in {content['autocast']}, here it is float32")
    outcome = forward_again(model, batch)
    if outcome.losses:
        lines.append(tabulate(outcome.losses.items(), ("loss", "value"), floatfmt=".6g"))
    if outcome.error:
        lines.append(f"The forward pass ended in an error: {outcome.error}")
    if outcome.module:
        lines.append(f"The first module whose output is not finite: {outcome.module}")
    elif outcome.is_finite:
        wrong = _gradients_not_finite(model, batch)
        said = f"not finite is the gradient of {', '.join(wrong)}" if wrong else "so are gradients"
        lines.append(f"All losses are finite; {said}")
    return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingInputError(f"{path} is not there: give a file of OUTPUT_DIR/replay/")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} is no file of a batch: {one_line(error)}") from error
    if not isinstance(content, dict) or content.get("hrnet_det_replay") != FORM:
        raise InputError(f"{path} is no file of a batch: give one of OUTPUT_DIR/replay/")
    return content


def _model(run: Any, weights: dict[str, Tensor]) -> nn.Module:
    from hrnet_det.engine.lazy_trainer import trainer_of

    model = trainer_of(run).build_model(run)
    if run[settings.AMP] and run[settings.DEVICE] == "cpu":
        autocast_training(model)
    model.load_state_dict(weights)
    return model.train()


def _gradients_not_finite(model: nn.Module, batch: Batch) -> list[str]:
    try:
        with EventStorage(1):
            sum(model(batch.rows).values()).backward()
    except STUMBLES:
        return []
    return gradients_not_finite(model)

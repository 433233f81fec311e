"""The Checkpointer: Detectron2's own checkpoints and ImageNet HRNets, loaded without unpickling."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from fvcore.common.checkpoint import _IncompatibleKeys
from torch import Tensor

from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.modeling import HRNet

logger = logging.getLogger("detectron2.hrnet_det")

CLASSIFIER_PARTS = ("incre_modules", "downsamp_modules", "final_layer", "classifier")


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, stricter.

    Loads .pth and .safetensors files: a checkpoint of this trainer, or an ImageNet HRNet as the
    official project and timm name it, whose classification head is left out on purpose. Files that
    would have to be unpickled into arbitrary objects are refused.

    Raises: InputError if a file cannot be read as weights, has another variant's shapes, or fits
        nothing of the model.
    """

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """As Detectron2's; a file that is not there is named in a MissingInputError."""
        if path and "://" not in path and not Path(path).is_file():
            raise MissingInputError(f"weights {path} are not there")
        self._behind_backbone_is_random = False
        return super().load(path, checkpointables)

    def _load_file(self, filename: str) -> dict[str, Any]:
        content = _read(Path(filename))
        weights = next(
            (content[key] for key in ("model", "state_dict") if isinstance(content.get(key), dict)),
            content,
        )
        if all(name.startswith("module.") for name in weights):
            weights = {name.removeprefix("module."): value for name, value in weights.items()}
        if "conv1.weight" in weights and any(name.startswith("stage2.") for name in weights):
            return {"model": self._imagenet(weights, filename), "matching_heuristics": False}
        if not set(weights) & set(self.model.state_dict()):
            raise InputError(
                f"{filename}: none of its {len(weights)} tensors belongs to this model (the file "
                f"has {_some(weights)}; the model {_some(self.model.state_dict())})"
            )
        return {**content, "model": weights, "matching_heuristics": False}

    def _imagenet(self, weights: dict[str, Tensor], filename: str) -> dict[str, Tensor]:
        """An ImageNet HRNet's tensors under the names of the model's own HRNet; all must fit."""
        found = [(name, m) for name, m in self.model.named_modules() if isinstance(m, HRNet)]
        if not found:
            raise InputError(f"{filename} is an ImageNet HRNet, but this model has no HRNet")
        path, net = found[0]
        prefix = f"{path}." if path else ""
        wanted = {name: tensor.shape for name, tensor in net.state_dict().items()}
        optional = {name for name in wanted if name.endswith("num_batches_tracked")}
        missing = [name for name in wanted if name not in weights and name not in optional]
        reshaped = [n for n in wanted if n in weights and weights[n].shape != wanted[n]]
        if missing or reshaped:
            raise InputError(
                f"{filename} does not fit MODEL.HRNET.VARIANT {_widths(wanted)}: it is "
                f"{_widths({name: tensor.shape for name, tensor in weights.items()})}; "
                f"{len(missing)} tensors missing ({_some(missing)}), {len(reshaped)} of another "
                f"shape ({_some(reshaped)}), of {len(wanted)}"
            )
        dropped = [name for name in weights if name.split(".")[0] in CLASSIFIER_PARTS]
        self._behind_backbone_is_random = True
        logger.info(
            "%s: an ImageNet HRNet; all %d backbone tensors loaded, %d of the classification head "
            "left out on purpose; everything behind the backbone starts from random weights",
            filename,
            len([name for name in wanted if name in weights]),
            len(dropped),
        )
        return {prefix + name: weights[name] for name in wanted if name in weights}

    def _log_incompatible_keys(self, incompatible: _IncompatibleKeys) -> None:
        """Detectron2's warnings, but not of all that an ImageNet file cannot have."""
        if not self._behind_backbone_is_random:
            super()._log_incompatible_keys(incompatible)


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path} is no whole safetensors file: {error}") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read as plain tensors ({str(error).splitlines()[0]}). Files that "
            "run code when they are unpickled are not loaded: save the state_dict alone, as .pth "
            "or .safetensors"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} has no dictionary of tensors, but a {type(content).__name__}")
    return content


def _widths(shapes: dict[str, torch.Size]) -> str:
    """Branch widths as a file's or network's tensors show them, finest first."""
    names = [f"stage4.0.branches.{b}.0.conv1.weight" for b in range(4)]
    return "with widths " + "/".join(str(shapes[n][0]) if n in shapes else "?" for n in names)


def _some(names: Any, most: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") if names else "none"

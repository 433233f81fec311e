"""The Checkpointer: Detectron2's own checkpoints and ImageNet HRNets, loaded without unpickling."""

from __future__ import annotations

import logging
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from fvcore.common.checkpoint import _IncompatibleKeys
from torch import Tensor

from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.modeling import HRNet

logger = logging.getLogger("detectron2.hrnet_det")

# What torch.load raises for files that are no, or only the beginning of, a file of torch.save.
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, struct.error)


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, stricter.

    Loads .pth and .safetensors files: a checkpoint of this trainer, or an ImageNet HRNet as the
    official project and timm name it, whose classification head is left out on purpose. Files that
    would have to be unpickled into arbitrary objects are refused.

    Attributes:
        loaded_backbone_only: the last file was an ImageNet HRNet; what is behind it is random.
    Raises: InputError if a file cannot be read as weights, has another variant's shapes, or fits
        nothing of the model.
    """

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """As Detectron2's; a file that is not there is named in a MissingInputError."""
        if path and "://" not in path and not Path(path).is_file():
            raise MissingInputError(f"weights {path} are not there")
        self.loaded_backbone_only = False
        try:
            return super().load(path, checkpointables)
        finally:
            self._parsed_url_during_load = None  # Detectron2's, left behind by an error

    def _load_file(self, filename: str) -> dict[str, Any]:
        content = _read(Path(filename))
        weights = next(
            (content[key] for key in ("model", "state_dict") if isinstance(content.get(key), dict)),
            content,
        )
        wrong = [n for n, v in weights.items() if not isinstance(n, str) or not torch.is_tensor(v)]
        if wrong:
            raise InputError(
                f"{filename} is no state_dict: {len(wrong)} of its {len(weights)} entries are no "
                f"named tensors ({_some(map(str, wrong))})"
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
        missing = [name for name in wanted if name not in weights and not _is_optional(name)]
        reshaped = [n for n in wanted if n in weights and weights[n].shape != wanted[n]]
        others = [name for name in weights if name not in wanted]
        parts = {name.split(".")[0] for name in wanted}
        extra = [  # of a larger variant; a fusion into a branch that is not asked for is none
            n
            for n in others
            if n.split(".")[0] in parts and ".fuse_layers." not in n and not _is_optional(n)
        ]
        if missing or reshaped or extra:
            shapes = {name: tensor.shape for name, tensor in weights.items()}
            key = "NORM" if _kind(wanted) == _kind(shapes) and not reshaped else "VARIANT"
            raise InputError(
                f"{filename} does not fit MODEL.HRNET.{key}, which has {_kind(wanted)}; the file "
                f"has {_kind(shapes)}. {len(missing)} of {len(wanted)} tensors are missing "
                f"({_some(missing)}), {len(reshaped)} have another shape ({_some(reshaped)}), "
                f"{len(extra)} are too many ({_some(extra)})"
            )
        self.loaded_backbone_only = True
        logger.info(
            "%s: an ImageNet HRNet; all %d backbone tensors loaded, %d others (classification "
            "head) left out on purpose; everything behind the backbone starts from random weights",
            filename,
            len([name for name in wanted if name in weights]),
            len(others),
        )
        return {prefix + name: weights[name] for name in wanted if name in weights}

    def _log_incompatible_keys(self, incompatible: _IncompatibleKeys) -> None:
        """Detectron2's warnings, but not of all that an ImageNet file cannot have."""
        if self.loaded_backbone_only:
            return
        hrnets = tuple(f"{path}." for path, m in self.model.named_modules() if isinstance(m, HRNet))
        reshaped = [n for n, *_ in incompatible.incorrect_shapes]
        wrong = {
            "have another shape": [n for n in reshaped if n.startswith(hrnets)],
            "are missing": [
                n
                for n in incompatible.missing_keys
                if n.startswith(hrnets) and n not in reshaped and not _is_optional(n)
            ],
            "are too many": [
                n
                for n in incompatible.unexpected_keys
                if n.startswith(hrnets) and ".fuse_layers." not in n and not _is_optional(n)
            ],
        }
        if any(wrong.values()):
            raise InputError(
                "these weights are a detector's with another MODEL.HRNET.VARIANT or NORM; of its "
                "HRNet's tensors "
                + ", ".join(f"{len(n)} {what} ({_some(n)})" for what, n in wrong.items() if n)
            )
        super()._log_incompatible_keys(incompatible)


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError as error:
            raise InputError(f"{path} needs a package: pip install safetensors") from error
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path} is no whole safetensors file: {error}") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        reason = (
            f"it holds {code[1]}, which is no tensor" if code else "damaged, or a pickle of its own"
        )
        raise InputError(
            f"{path} cannot be read as plain tensors: {reason}. Files that run code when they are "
            "unpickled are not loaded. Fetch a damaged file again; of another one save the "
            "state_dict alone, with torch.save as .pth, or as .safetensors"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} has no dictionary of tensors, but a {type(content).__name__}")
    return content


def _is_optional(name: str) -> bool:
    """A frozen batch norm has no such counter, nor has a file that is old enough."""
    return name.endswith("num_batches_tracked")


def _kind(shapes: dict[str, torch.Size]) -> str:
    """Branch widths, finest first, and modules of stages 2 to 4, as the tensors show them."""
    names = [f"stage4.0.branches.{b}.0.conv1.weight" for b in range(4)]
    widths = "/".join(str(shapes[name][0]) if name in shapes else "?" for name in names)
    modules = [{n.split(".")[1] for n in shapes if n.startswith(f"stage{s}.")} for s in (2, 3, 4)]
    return f"widths {widths} and {'/'.join(str(len(m)) for m in modules)} modules"


def _some(names: Any, most: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") if names else "none"

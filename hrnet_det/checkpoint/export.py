"""Weights as safetensors with all that is needed to use them in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from hrnet_det.checkpoint.infer import hrnet_variant, title_of, variant_name
from hrnet_det.checkpoint.integrity import DIGEST_KEY, digest_of
from hrnet_det.checkpoint.io import METADATA_KEY, WeightsFile
from hrnet_det.checkpoint.renaming import Renamed, rename
from hrnet_det.checkpoint.writing import written_aside
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.modeling.kinds import kind_of

# Of the metadata: what a training has written of its data, length and results.
OF_A_TRAINING = ("data", "iterations", "metrics")


def export_model(
    path: Path, weights: dict[str, Tensor], own: Mapping[str, Any], run: RunConfig, **known: Any
) -> dict[str, Any]:
    """Write a detector's weights as one file that is enough to use, evaluate and convert them.

    Args:
        weights: by our names.
        own: the metadata of its checkpoints, with the config's text.
        run: that config.
        known: more to be written, plain numbers and texts: iterations, metrics.
    Returns: the file's metadata.
    Raises: InputError if it cannot be written.
    """
    file = WeightsFile(str(path), weights, {METADATA_KEY: {**own, **known}}, [])
    renamed = rename(weights, str(path), own_names=weights)
    metadata = describe(file, renamed, run if "config" in own else None)
    if "config" in own:  # as in the checkpoints, letter by letter
        metadata["config"] = own["config"]
    if renamed.detector is None:  # of a kind that tensors do not tell
        metadata["title"] = kind_of(run).title
    write_safetensors(path, weights, metadata)
    return metadata


def describe(file: WeightsFile, renamed: Renamed, run: RunConfig | None) -> dict[str, Any]:
    """What is written beside the tensors: what is known of the file and its detector's config."""
    found = renamed.detector
    known = {
        "source_format": file.metadata.get("source_format", renamed.format.name),
        "title": title_of(renamed.shapes),
        "variant": variant_name(hrnet_variant(renamed.shapes)),
        "kind": found.kind.name if found else "",
        "classes": file.classes,
    }
    known |= {key: file.metadata[key] for key in OF_A_TRAINING if key in file.metadata}
    if run is not None:
        known["conventions"] = run[settings.CONVENTIONS]
        known["config"] = run.text()
        known["pixels"] = {
            "format": run[settings.PIXEL_FORMAT],
            "mean": list(run[settings.PIXEL_MEAN]),
            "std": list(run[settings.PIXEL_STD]),
        }
        if run.has(settings.PIXEL_RANGE) and run[settings.PIXEL_RANGE]:
            known["pixels"]["range"] = list(run[settings.PIXEL_RANGE])
    return known


def write_safetensors(path: Path, weights: dict[str, Tensor], metadata: dict) -> None:
    """Write tensors with their metadata, and the digest of both.

    Raises: InputError if the file cannot be written.
    """
    whole = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
    metadata = json.loads(json.dumps(metadata))  # as it will be read
    text = json.dumps(metadata | {DIGEST_KEY: digest_of(whole, metadata)})
    content = save(whole, {"format": "pt", METADATA_KEY: text})
    with written_aside(path, needed=len(content)) as file:
        file.write(content)

"""Weights files from one project's naming into another's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from hrnet_det.checkpoint.formats import BODY, IMAGENET, MMDET, OWN
from hrnet_det.checkpoint.infer import architecture, hrnet_variant, variant_name
from hrnet_det.checkpoint.io import METADATA_KEY, WeightsFile, find_weights, read_weights, some
from hrnet_det.checkpoint.load_report import compare
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.checkpoint.renaming import Renamed, rename
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.modeling import HRNet
from hrnet_det.modeling.build_model import build_detector

TARGETS = {format.name: format for format in (OWN, MMDET, IMAGENET)}
SUFFIXES = (".safetensors", ".pth")


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    to: str = "hrnet_det",
    allow_pickle: bool = False,
) -> str:
    """Write a file's tensors under other names; the tensors themselves are not changed.

    Only the order of the classes is: what has the background first gets it last, as Detectron2 and
    mmdetection have it since its version 2.

    Args:
        source: any weights that MODEL.WEIGHTS takes.
        destination: a new file, .safetensors or .pth.
        to: "hrnet_det"; "mmdet" (2 and 3); "imagenet", the backbone alone, as the official
            classification project and timm name it.
        allow_pickle: permit a source that runs code when it is loaded.
    Returns: what was written, in a few lines.
    Raises: InputError if the source has tensors without a name in the target, or the destination
        exists or has another suffix.
    """
    source, destination = str(source), Path(destination)
    _check_target(destination, to)
    file = read_weights(find_weights(source), allow_pickle=allow_pickle)
    renamed = rename(file.weights, source)
    if renamed.unknown:
        raise InputError(
            f"{source}: {len(renamed.unknown)} tensors have no name in {renamed.format.title}: "
            f"{some(renamed.unknown)}"
        )
    body = {name: t for name, t in renamed.weights.items() if name.startswith(BODY)}
    if not body:
        raise InputError(f"{source} ({renamed.format.title}) has no HRNet")
    left = [name for names in renamed.dropped.values() for name in names]
    if to == IMAGENET.name:  # what is written is a backbone
        left += [name for name in renamed.weights if name not in body]
        renamed, file = replace(renamed, weights=body), replace(file, rest={}, metadata={})
    run = _config(file, renamed)
    _check_whole(renamed, run, source)
    metadata = describe(file, renamed, run)
    weights = _named(renamed.weights, to, source)
    _write(destination, weights, to, metadata)
    lines = [f"{destination}: {len(weights)} tensors of {metadata['title']}, as {to} names them"]
    if left:
        lines.append(f"left out: {len(left)} ({some(left)})")
    conventions = metadata.get("conventions")
    if to == MMDET.name and conventions and conventions != "mmdet":
        lines.append(
            f"The detector computes boxes as {conventions} does; mmdetection will compute them its "
            "own way"
        )
    return "\n".join(lines)


def _check_target(destination: Path, to: str) -> None:
    if to not in TARGETS:
        raise InputError(f"convert to {to!r}: there are {', '.join(TARGETS)}")
    if destination.suffix not in SUFFIXES:
        raise InputError(f"{destination} must end in {' or '.join(SUFFIXES)}")
    if destination.exists():
        raise InputError(f"{destination} is there already: remove it, or name another file")


def describe(file: WeightsFile, renamed: Renamed, run: RunConfig | None) -> dict[str, Any]:
    """What is known of a file, to be written beside its tensors.

    Args:
        file, renamed: as `read_weights` and `rename` return them.
        run: of the detector; None if it is none, or if its config is not known.
    Returns: source_format, title, variant, kind ("" if it is no detector), classes (names, as far
        as they are known); with a config also conventions, config (YAML) and pixels (format, mean,
        std).
    """
    shapes = {name: tensor.shape for name, tensor in renamed.weights.items()}
    found = architecture(shapes)
    variant = variant_name(hrnet_variant(shapes))
    known = {
        "source_format": file.metadata.get("source_format", renamed.format.name),
        "title": found.title if found else f"HRNet {variant}",
        "variant": variant,
        "kind": found.kind if found else "",
        "classes": file.classes,
    }
    if run is not None:
        known["conventions"] = run[settings.CONVENTIONS]
        known["config"] = run.text()
        known["pixels"] = {
            "format": run[settings.PIXEL_FORMAT],
            "mean": list(run[settings.PIXEL_MEAN]),
            "std": list(run[settings.PIXEL_STD]),
        }
    return known


def _config(file: WeightsFile, renamed: Renamed) -> RunConfig | None:
    whole = architecture({name: tensor.shape for name, tensor in renamed.weights.items()})
    if whole is None and renamed.format is not OWN:  # a backbone
        return None
    try:
        return config_of(file)
    except InputError:
        if renamed.format is OWN and "config" not in file.metadata:  # one of Detectron2's
            return None
        raise


def _check_whole(renamed: Renamed, run: RunConfig | None, source: str) -> None:
    """Raises: InputError if a tensor is missing, or has another shape, of what the file is."""
    variant = hrnet_variant({name: tensor.shape for name, tensor in renamed.weights.items()})
    if run is not None:
        run = run.copy()
        run[settings.DEVICE] = "cpu"
        wanted = build_detector(run.cfg).state_dict()
    elif variant is not None and all(name.startswith(BODY) for name in renamed.weights):
        wanted = {BODY + name: t for name, t in HRNet(variant=variant).state_dict().items()}
    elif variant is None:
        raise InputError(f"{source} ({renamed.format.title}) has an HRNet that is not whole")
    else:
        return
    shapes = {name: tensor.shape for name, tensor in wanted.items()}
    report, _ = compare(renamed, shapes, source, [])
    if report.faults:
        faults = "\n  ".join(report.faults)
        raise InputError(f"{source} ({report.title}) is not whole:\n  {faults}")


def _named(weights: dict[str, Tensor], to: str, source: str) -> dict[str, Tensor]:
    """The tensors by the target's names."""
    if to == OWN.name:
        return dict(weights)
    names = {name: TARGETS[to].to_theirs(name) for name in weights}
    without = [name for name, theirs in names.items() if theirs is None]
    found = architecture({name: tensor.shape for name, tensor in weights.items()})
    if to == MMDET.name and found and found.shares_conv:
        raise InputError(f"{source}: mmdetection's HRFPN has no convolution for all levels")
    if to == MMDET.name and found and found.kind == "cascade_rcnn_one_mask":
        raise InputError(
            f"{source}: mmdetection's Cascade Mask R-CNN has a mask head for each of its three "
            "stages, this one has one for all"
        )
    if without:
        raise InputError(
            f"{source}: {len(without)} tensors have no name in {TARGETS[to].title}: {some(without)}"
        )
    return {theirs: weights[name] for name, theirs in names.items()}


def _write(path: Path, weights: dict[str, Tensor], to: str, metadata: dict[str, Any]) -> None:
    contents = {
        OWN.name: {"model": weights, METADATA_KEY: metadata},
        MMDET.name: {
            "meta": {"dataset_meta": {"classes": metadata["classes"]}},
            "state_dict": weights,
            METADATA_KEY: metadata,
        },
        IMAGENET.name: weights,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            whole = {name: tensor.clone().contiguous() for name, tensor in weights.items()}
            save_file(whole, path, {"format": "pt", METADATA_KEY: json.dumps(metadata)})
        else:
            torch.save(contents[to], path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error

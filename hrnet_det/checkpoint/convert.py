"""Weights files from one project's naming into another's."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hrnet_det.checkpoint.addresses import find_weights
from hrnet_det.checkpoint.export import describe, write_safetensors
from hrnet_det.checkpoint.finite import check_values
from hrnet_det.checkpoint.formats import BODY, FORMATS, IMAGENET, OWN, Format
from hrnet_det.checkpoint.infer import (
    hrnet_variant,
    other_network,
)
from hrnet_det.checkpoint.io import WeightsFile, read_weights, some
from hrnet_det.checkpoint.load_report import compare
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.checkpoint.renaming import Renamed, rename
from hrnet_det.checkpoint.writing import written_aside
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.modeling import HRNet
from hrnet_det.modeling.build_model import build_detector
from hrnet_det.outputs import check_folder

TARGETS = {format.name: format for format in FORMATS if format.wraps}
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
    Raises: InputError if the source has tensors without a name in the target, or such as no network
        computes with (`check_values`), or the destination exists or has another suffix.
    """
    source, destination = str(source), Path(destination)
    target = _check_target(destination, to)
    file = read_weights(find_weights(source), allow_pickle=allow_pickle)
    renamed = rename(file.weights, source)
    renamed.dropped |= file.leftovers
    if other := other_network(file.weights):
        raise InputError(f"{source} ({renamed.format.title}) is of {other}, and has no HRNet")
    _check_named(renamed.unknown, renamed.format, source)
    body = {name: t for name, t in renamed.weights.items() if name.startswith(BODY)}
    if not body:
        raise InputError(f"{source} ({renamed.format.title}) has no HRNet")
    left = [name for names in renamed.dropped.values() for name in names]
    if target is IMAGENET:  # what is written is a backbone
        left += [name for name in renamed.weights if name not in body]
        renamed, file = replace(renamed, weights=body), replace(file, rest={})
    run = _config(file, renamed)
    _check_whole(renamed, run)
    check_values(renamed.weights, source)
    metadata = describe(file, renamed, run)
    weights = _named(renamed.weights, target, source)
    _write(destination, weights, target, metadata)
    lines = [f"{destination}: {len(weights)} tensors of {metadata['title']}, as {to} names them"]
    if left:
        lines.append(f"left out: {len(left)} ({some(left)})")
    ours, theirs = metadata.get("conventions", ""), target.conventions
    if ours and theirs and ours != theirs:
        lines.append(
            f"The detector computes boxes as {ours} does; {target.title} will compute them its "
            "own way"
        )
    return "\n".join(lines)


def _check_target(destination: Path, to: str) -> Format:
    if to not in TARGETS:
        raise InputError(f"convert to {to!r}: there are {', '.join(TARGETS)}")
    if destination.suffix not in SUFFIXES:
        raise InputError(f"{destination} must end in {' or '.join(SUFFIXES)}")
    if destination.exists():
        raise InputError(f"{destination} is there already: remove it, or name another file")
    shown = f"convert to {destination}"
    folder = destination.absolute().parent
    check_folder(folder, shown=shown, advice="name a file in another folder")
    return TARGETS[to]


def _named(weights: dict[str, Tensor], format: Format, source: str) -> dict[str, Tensor]:
    """Under the format's names. Raises: InputError if a tensor has none there."""
    if reason := format.cannot_hold(weights):
        raise InputError(f"{source}: {reason}")
    names = {name: format.to_theirs(name) for name in weights}
    _check_named([name for name, theirs in names.items() if theirs is None], format, source)
    return {theirs: weights[name] for name, theirs in names.items()}


def _check_named(unknown: list[str], format: Format, source: str) -> None:
    if unknown:
        raise InputError(
            f"{source}: {len(unknown)} tensors have no name in {format.title}: {some(unknown)}"
        )


def _config(file: WeightsFile, renamed: Renamed) -> RunConfig | None:
    """None for a backbone, a file of Detectron2, or what only its own project computes."""
    if renamed.format is not OWN and not renamed.conventions:
        return None
    try:
        return config_of(file)
    except InputError:
        if renamed.format is OWN and "config" not in file.metadata:
            return None
        raise


def _check_whole(renamed: Renamed, run: RunConfig | None) -> None:
    """Raises: InputError if a tensor is missing or has another shape."""
    variant = hrnet_variant(renamed.shapes)
    if run is not None:
        run = run.copy()
        run[settings.DEVICE] = "cpu"
        expected = build_detector(run.cfg).state_dict()
    elif variant is None:
        raise InputError(f"{renamed.path} ({renamed.format.title}) has an HRNet that is not whole")
    elif all(name.startswith(BODY) for name in renamed.weights):
        expected = {BODY + name: t for name, t in HRNet(variant=variant).state_dict().items()}
    else:
        return
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    report, _ = compare(renamed, shapes)
    if report.faults:
        faults = "\n  ".join(report.faults)
        raise InputError(f"{report.path} ({report.title}) is not whole:\n  {faults}")


def _write(path: Path, weights: dict[str, Tensor], format: Format, metadata: dict) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error
    if path.suffix == ".safetensors":
        write_safetensors(path, weights, metadata)
    else:
        with written_aside(path, advice="make room, or name another file") as file:
            torch.save(format.wraps(weights, metadata), file)

"""Whether an exported file is of the detector that a config describes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from hrnet_det.checkpoint.classes import difference
from hrnet_det.checkpoint.io import some
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.settings import Setting
from hrnet_det.config.yaml import flat
from hrnet_det.errors import InputError
from hrnet_det.export.exported_model import ExportedModel
from hrnet_det.export.options import FORM
from hrnet_det.modeling.kinds import kind_of

# What is in a file's graph, or decides what it is given: the config has to have the same.
FIXED = (settings.CONVENTIONS, settings.PIXEL_FORMAT, settings.PIXEL_MEAN, settings.PIXEL_STD)
USUAL_SCORE = 0.05  # of detectors that are evaluated
# Keys of the detector that are of its use, not of what it computes.
USED = (settings.WEIGHTS.yaml, settings.DEVICE.yaml)
RESIZING = (settings.RESIZE, settings.MIN_SIZE_TEST, settings.MAX_SIZE_TEST)


def check_agreement(model: ExportedModel, run: RunConfig, classes: Sequence[str] = ()) -> None:
    """Compare an exported file with the config, and the classes of the data, that it is used with.

    Raises: InputError if it is of another kind of detector, has other classes, or computes
        otherwise.
    """
    theirs, ours = kind_of(model.run), kind_of(run)
    if (theirs.name, theirs.masks, theirs.keypoints) != (ours.name, ours.masks, ours.keypoints):
        raise InputError(
            f"{model.path} is a {theirs.title}, and the config describes a {ours.title}: give the "
            f"config that it was trained with, or export the weights of a {ours.title}"
        )
    count = run[ours.classes] if ours.classes is not None and run.has(ours.classes) else None
    if count is not None and count != len(model.classes):
        said = difference(model.classes, classes) or (
            f"the file has {len(model.classes)} classes ({some(model.classes)}), the config "
            f"{count} ({run.name(ours.classes)})"
        )
        raise InputError(f"{model.path} is of other classes: {said}. Give its own config and data")
    _check_values(model, run)


def _check_values(model: ExportedModel, run: RunConfig) -> None:
    """Raises: InputError if the config has what an exported file cannot have any more."""
    differing = [setting for setting in FIXED if _differ(model.run, run, setting)]
    if model.resizes:
        differing += [s for s in RESIZING if run.states(s) and _differ(model.run, run, s)]
    if differing:
        pairs = [f"{run.shown(s)}, and the file has {model.run[s]}" for s in differing]
        raise InputError(
            f"{'; '.join(pairs)}: {model.path} cannot be changed in this: leave it as it is there, "
            "or export the weights with it"
        )
    if run[settings.AUGMENTED]:
        raise InputError(
            f"{run.shown(settings.AUGMENTED)}: test-time augmentation is for weights, not for "
            f"{model.path}"
        )
    form = [s for s in FORM if run.types(s)]
    if form:
        raise InputError(
            f"{', '.join(map(run.shown, form))} is for weights; {model.path} computes in "
            f"{model.precision}: leave it away, or export with another --precision"
        )
    _check_typed(model, run)


def _check_typed(model: ExportedModel, run: RunConfig) -> None:
    """Raises: InputError if the user types a value of the detector that the file has otherwise."""
    ours, theirs = flat(run.cfg), flat(model.run.cfg)
    keys = [key for key in run.typed if key.startswith(("MODEL.", "model.")) and key not in USED]
    differing = [key for key in keys if ours.get(key) != theirs.get(key)]
    if differing:
        pairs = [f"{key} {ours[key]}, and the file has {theirs.get(key)}" for key in differing]
        raise InputError(
            f"{'; '.join(pairs)}: {model.path} cannot be changed in this: leave it away, or export "
            "the weights with it"
        )
    if torch.device(str(run[settings.DEVICE])).type != "cpu" and run.types(settings.DEVICE):
        raise InputError(
            f"{run.shown(settings.DEVICE)}: {model.path} runs on the CPU: leave it away"
        )


def remarks(model: ExportedModel, run: RunConfig) -> Iterator[str]:
    """What is to be known where a file detects otherwise than the weights would with the config."""
    if model.resizes:
        for setting in RESIZING:
            if _differ(model.run, run, setting):
                yield (
                    f"{model.path} resizes images itself, by {model.run.shown(setting)} in the "
                    f"place of the config's {run[setting]}"
                )
    if model.most < run.detections_per_image:
        yield (
            f"{model.path} gives {model.most} objects of an image at most, and the config's "
            f"detector {run.detections_per_image}: AP may be lower (--max-detections of the export)"
        )
    if model.test_score_thresh > USUAL_SCORE:
        yield (
            f"{model.path} gives no objects that score below {model.test_score_thresh:g}: AP is "
            "lower than that of the weights (--score of the export)"
        )


def _differ(theirs: RunConfig, ours: RunConfig, setting: Setting) -> bool:
    """Whether both configs have a setting, with other values."""
    if not (theirs.has(setting) and ours.has(setting)):
        return False
    return _plain(theirs[setting]) != _plain(ours[setting])


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value

"""`--eval-only`: weights, or an exported file, that are evaluated as the config says."""

from __future__ import annotations

import logging

import torch
from torch import nn

from hrnet_det.checkpoint import Checkpointer, LoadReport
from hrnet_det.checkpoint.addresses import find_weights
from hrnet_det.checkpoint.classes import ClassMatch, difference, match_classes
from hrnet_det.checkpoint.io import some
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.yaml import flat
from hrnet_det.engine.checkpoints import metadata_of
from hrnet_det.engine.trainer import Trainer
from hrnet_det.errors import InputError
from hrnet_det.export.agreement import check_agreement, remarks
from hrnet_det.export.exported_model import ExportedModel
from hrnet_det.export.opening import is_exported

logger = logging.getLogger("detectron2.hrnet_det")
Done = tuple[nn.Module, str, dict]  # a model, the file of its weights, and its results


def evaluate(run: RunConfig, kind: type[Trainer], *, resume: bool) -> Done:
    """Results of the weights, or of the exported file, that the run names.

    Raises: InputError if there are none, or they are of another detector than the config's.
    """
    weights = str(run[settings.WEIGHTS])
    if is_exported(weights):
        return _evaluate_exported(run, kind, weights, resume=resume)
    model = kind.build_model(run)
    checkpointer = kind.build_checkpointer(run, model, trains=False)
    if not weights and not (resume and checkpointer.has_checkpoint()):
        raise InputError(
            "--eval-only without weights would evaluate random ones: add "
            f"{run.shown(settings.WEIGHTS, 'path/to/model_final.pth')}, or --resume for the last "
            "checkpoint of OUTPUT_DIR"
        )
    checkpointer.resume_or_load(weights, resume=resume)
    report = checkpointer.report
    if not report.complete and run[settings.WEIGHTS_STRICT]:
        raise InputError(
            "--eval-only, but a part of the detector would be random: take the weights of a whole "
            f"detector with the same classes{_differing_classes(checkpointer)}\n{report}"
        )
    _check_conventions(run, report)
    _check_classes(run, report.path, checkpointer.class_match)
    compare_with_file(run, checkpointer)
    return model, report.path, kind.test(run, model)


def _evaluate_exported(run: RunConfig, kind: type[Trainer], address: str, *, resume: bool) -> Done:
    """The file runs as it is: what of the config it cannot follow is an error, or said."""
    if resume:
        raise InputError(
            f"--resume evaluates the last checkpoint of OUTPUT_DIR, not {address}: leave one away"
        )
    path = find_weights(address)
    model, ours = ExportedModel(path), metadata_of(run, trains=False)["classes"]
    check_agreement(model, run, ours)
    match = match_classes(model.classes, ours)
    _check_classes(run, path, match)
    _tell_renamed(path, match)
    logger.info(model)
    for remark in remarks(model, run):
        logger.warning(remark)
    if match is not None and match.moved:
        model.order = torch.tensor(match.order).argsort()
    return model, path, kind.test(run, model)


def _check_conventions(run: RunConfig, report: LoadReport) -> None:
    """The file's detector is evaluated by its own rules, unless others are asked for."""
    ours, theirs = run[settings.CONVENTIONS], f"MODEL.CONVENTIONS {report.conventions}"
    if not report.contradicts(str(ours)) or run.states(settings.CONVENTIONS):
        return
    if run.is_lazy:
        advice = f", which only YAML configs have: take that of the same detector, with {theirs}"
    else:
        advice = (
            f"; the config has {ours}. Add {theirs}, or MODEL.CONVENTIONS {ours} if that is what "
            "you want to measure"
        )
    raise InputError(
        f"--eval-only: {report.path} is {report.title}, whose AP belongs to {theirs} (pixels, "
        f"resizing, boxes){advice}"
    )


def _differing_classes(checkpointer: Checkpointer) -> str:
    """What the classes of file and data do not have in common, in brackets; "" if as many."""
    theirs, ours = checkpointer.file_classes, checkpointer.metadata["classes"]
    return f" ({difference(theirs, ours)})" if theirs and len(theirs) != len(ours) else ""


def _check_classes(run: RunConfig, path: str, match: ClassMatch | None) -> None:
    """A file of wholly other classes is not evaluated on the data, unless the user says so."""
    if match is not None and match.unrelated and run[settings.WEIGHTS_STRICT]:
        theirs, ours = zip(*match.renamed, strict=True)
        raise InputError(
            f"--eval-only: {path} was trained for {some(theirs)}, and the data has {some(ours)}: "
            "not one class is in both. Take other data or weights; if only the names differ, "
            f"{run.shown(settings.WEIGHTS_STRICT, False)} takes the classes in their order"
        )


def _tell_renamed(path: str, match: ClassMatch | None) -> None:
    if match is not None and match.renamed:
        pairs = some(f"{theirs} in place of {ours}" for theirs, ours in match.renamed)
        logger.warning(
            f"{path} was trained for other classes than those of the data ({pairs}); its class "
            "layers are used all the same"
        )


def compare_with_file(run: RunConfig, checkpointer: Checkpointer) -> None:
    """Say so where weights are used for what they have not been trained for."""
    report, conventions = checkpointer.report, str(run[settings.CONVENTIONS])
    if report is None:
        return
    _tell_renamed(report.path, checkpointer.class_match)
    if report.contradicts(conventions):
        logger.warning(
            f"{report.path} follows MODEL.CONVENTIONS {report.conventions} (pixels, resizing, "
            f"boxes), the config {conventions}"
        )
    elif not run.is_lazy and (missing := report.differing(flat(run.cfg))):
        advice = " ".join(f"{key} {value}" for key, value in missing.items())
        logger.warning(f"{report.path} is {report.title}, which has {advice}; add that for its AP")

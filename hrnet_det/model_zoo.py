"""The shipped configs and published checkpoints by name, as in Detectron2's `model_zoo`."""

from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from omegaconf import DictConfig
from torch import nn

from hrnet_det.checkpoint import Checkpointer, LoadReport
from hrnet_det.config import settings
from hrnet_det.config.files import find_config, names  # noqa: F401
from hrnet_det.config.load import as_run, load_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.modeling.build_model import build_detector
from hrnet_det.modeling.inference import optimize
from hrnet_det.published import (  # noqa: F401
    Published,
    checkpoint_json,
    checkpoint_table,
    checkpoints,
)


def get_config(name: str, overrides: Sequence[str] = ()) -> CfgNode | DictConfig:
    """The config of a shipped name (or of a path), to be changed and built from.

    Args:
        name: as find_config takes it. A LazyConfig, in .py, is a program that is run.
        overrides: KEY, VALUE, ..., such as "MODEL.CONVENTIONS", "mmdet"; for a LazyConfig
            KEY=VALUE, ...
    Raises: MissingInputError if there is none of that name (the message has the nearest names).
    """
    return load_run(name, overrides).cfg


def named_run(name: str | Path | CfgNode | DictConfig | RunConfig) -> RunConfig:
    """The run of a published checkpoint's name, or of what `as_run` takes."""
    rows = {row.name: row for row in checkpoints()}
    return as_run(rows[name].config() if isinstance(name, str) and name in rows else name)


def get(
    name: str,
    *,
    weights: str | Path | None = None,
    trained: bool = False,
    device: str = "cpu",
    allow_pickle: bool = False,
) -> nn.Module:
    """The detector of a shipped config or published checkpoint, built, in evaluation mode.

    Args:
        name: as for get_config, or the name of a row of `checkpoints()`.
        weights: a file or address with its weights; None: random ones.
        trained: fetch a published checkpoint's weights where their address is known.
        allow_pickle: permit weights that run code when they are loaded.
    Raises: InputError if the weights are not all of this detector's, or if there are none to fetch.
    """
    run = named_run(name)
    run[settings.DEVICE] = device
    if trained and weights is None:
        fetched = {row.name: row.address for row in checkpoints() if row.downloadable}
        if name not in fetched:
            raise InputError(
                f"no trained weights can be fetched for {name}: give weights=FILE. They can be "
                f"for {', '.join(list(fetched)[:3])}, ... (hrnet-det checkpoints)"
            )
        weights = fetched[name]
    if weights is None:
        return build_detector(run.cfg).eval().to(device)
    return build_with_weights(run, str(weights), allow_pickle=allow_pickle)[0]


def check_device(name: str) -> None:
    """Raises: InputError if torch cannot compute on the device of this name."""
    try:
        torch.empty(0, device=name).cpu()  # which meta cannot
    except (RuntimeError, AssertionError) as error:  # unknown; no driver; torch built without it
        reason = str(error).split("\n")[0]
        raise InputError(f"device {name!r} cannot be used here: {reason}") from error


def inference_form(run: RunConfig, model: nn.Module) -> nn.Module:
    """The form of a detector that TEST.OPTIMIZED, DTYPE, COMPILE and ENGINE ask for.

    A model that is optimised already stays as it is, and one without parameters, which a file is
    that a detector was exported to. Raises: InputError as `check_inference_form`.
    """
    if next(model.parameters(), None) is None:
        return model
    dtype = check_inference_form(run)
    if not run[settings.OPTIMIZED] or optimize.is_optimized(model):
        return model
    options = {"compile": run[settings.COMPILE], "engine": run[settings.ENGINE]}
    return optimize.optimize_for_inference(model, dtype=dtype, **options)


def check_inference_form(run: RunConfig) -> torch.dtype:
    """The type that TEST.DTYPE names.

    Raises: InputError if the four keys contradict each other, MODEL.DEVICE does not compute in
        that type or by that engine, or one is asked for that does not work here.
    """
    dtype, device = str(run[settings.DTYPE]), str(run[settings.DEVICE])
    name, compiles = run.name(settings.DTYPE), run[settings.COMPILE]
    asked = [s for s in (settings.DTYPE, settings.COMPILE, settings.ENGINE) if run[s] != s.default]
    if not run[settings.OPTIMIZED] and asked:
        raise InputError(
            f"{', '.join(map(run.shown, asked))} with {run.shown(settings.OPTIMIZED)}: only the "
            f"optimised form has it; set {run.shown(settings.OPTIMIZED, True)}"
        )
    if dtype not in optimize.DTYPES:
        raise InputError(f"unknown {name} {dtype!r}; known: {', '.join(optimize.DTYPES)}")
    try:
        optimize.check_dtype(optimize.DTYPES[dtype], torch.device(device))
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{name}: {error}") from error
    try:
        optimize.check_engine(run[settings.ENGINE], torch.device(device), compile=compiles)
    except InputError as error:
        raise InputError(f"{run.name(settings.ENGINE)}: {error}") from error
    if compiles:
        _check_compiler(run, device)
    return optimize.DTYPES[dtype]


def _check_compiler(run: RunConfig, device: str) -> None:
    """Compile the smallest thing, before a training's evaluation finds out that nothing can be."""
    one = torch.ones(1, device=device)
    try:
        torch.compile(torch.neg)(one)
    except Exception as error:  # torch wraps whatever its compiler says in its own types
        raise InputError(
            f"{run.name(settings.COMPILE)}: torch.compile does not work here "
            f"({str(error).splitlines()[0]}); on a CPU it needs a C++ compiler such as g++. "
            f"Install one, or set {run.shown(settings.COMPILE, False)}"
        ) from error


def build_with_weights(
    run: RunConfig, weights: str, *, allow_pickle: bool = False
) -> tuple[nn.Module, LoadReport]:
    """The detector of a run with all of its weights from a file, in evaluation mode.

    Raises: InputError if any tensor of the detector does not come from the file, or if the file's
        detector follows other conventions than the run (`Checkpointer` loads it all the same).
    """
    model = build_detector(run.cfg).eval().to(str(run[settings.DEVICE]))
    checkpointer = Checkpointer(model, allow_pickle=allow_pickle)
    checkpointer.load(weights)
    report = checkpointer.report
    if not report.complete:
        raise InputError(
            f"a part of the detector is not in {weights}: take the weights of a whole detector "
            f"with the same classes\n{report}"
        )
    ours = run[settings.CONVENTIONS]
    if report.contradicts(ours):
        raise InputError(
            f"{weights} is {report.title}, which follows MODEL.CONVENTIONS {report.conventions} "
            f"(pixels, resizing, boxes); the config has {ours}. "
            "Detector.from_pretrained follows it where no config is given; a config follows it "
            f"from model_zoo.get_config(NAME, ['MODEL.CONVENTIONS', '{report.conventions}'])"
        )
    return model, report

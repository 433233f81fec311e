"""The shipped configs and published checkpoints by name, as in Detectron2's `model_zoo`."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode
from omegaconf import DictConfig
from tabulate import tabulate
from torch import nn

from hrnet_det.checkpoint import Checkpointer, LoadReport
from hrnet_det.checkpoint.model_config import known_config
from hrnet_det.config import settings
from hrnet_det.config.files import find_config, names  # noqa: F401
from hrnet_det.config.load import as_run, load_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.modeling.build_model import build_detector
from hrnet_det.modeling.inference import optimize
from hrnet_det.modeling.kinds import KINDS


@dataclass(frozen=True)
class Published:
    """A checkpoint that others have published: a row of model_zoo.csv.

    Source: configs/hrnet/metafile.yml of mmdetection 3.3 and the README files of
    HRNet-Object-Detection (whose W48 rows of Mask R-CNN have their columns exchanged, and whose
    second W48 Faster R-CNN is 2x) and HRNet-MaskRCNN-Benchmark. An address that a README gives to
    two rows is kept with the first. The FCOS of mmdetection 1, which has no detector here, is left
    out.
    """

    source: str  # whose it is, a key of `CONVENTIONS`
    kind: str  # a key of `KINDS`
    variant: str  # a key of `VARIANTS`
    schedule: str  # 1x, 2x, 20e, ..., and what else tells one training from another
    box_ap: float  # on COCO val2017, percent, as published
    mask_ap: float | None  # likewise; None without masks
    file: str  # its name; empty if it is not known
    address: str  # where its authors offer it; empty if it is not known

    @property
    def name(self) -> str:
        """Such as "mmdet/faster_rcnn_hrnetv2p_w18_1x"."""
        return f"{self.source}/{self.kind}_hrnetv2p_{self.variant}_{self.schedule}"

    @property
    def downloadable(self) -> bool:
        """The address is that of the file itself, not of a page with a button."""
        return self.address.endswith(".pth")

    def config(self) -> CfgNode:
        """The config of the detector, with its source's conventions."""
        semantic_classes = KINDS[self.kind].semantic_classes
        words = ["MODEL.HRNET.VARIANT", self.variant]
        if semantic_classes is not None:  # of a Hybrid Task Cascade: COCO's stuff and thing maps
            words += [semantic_classes.yaml, "183"]
        return known_config(self.kind, self.source, words)


def checkpoints() -> list[Published]:
    """The published checkpoints that can be loaded: name, source, AP, file, address."""
    text = Path(__file__).with_suffix(".csv").read_text()
    _, *rows = csv.reader(text.splitlines())
    return [
        Published(*words, float(box_ap), float(mask_ap) if mask_ap else None, file, address)
        for *words, box_ap, mask_ap, file, address in rows
    ]


def checkpoint_table() -> str:
    """The published checkpoints, for reading."""
    known = checkpoints()
    rows = [(r.name, r.box_ap, r.mask_ap, r.file or "(unnamed)", r.address) for r in known]
    heads = ("name", "box AP", "mask AP", "file", "address")
    return f"{tabulate(rows, heads)}\nAP on COCO val2017, as their authors published it."


def get_config(name: str, overrides: Sequence[str] = ()) -> CfgNode | DictConfig:
    """The config of a shipped name (or of a path), to be changed and built from.

    Args:
        name: as find_config takes it. A LazyConfig, in .py, is a program that is run.
        overrides: KEY, VALUE, ..., such as "MODEL.CONVENTIONS", "mmdet"; for a LazyConfig
            KEY=VALUE, ...
    Raises: MissingInputError if there is none of that name (the message has the nearest names).
    """
    return load_run(name, overrides).cfg


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
    rows = {row.name: row for row in checkpoints()}
    run = as_run(rows[name].config() if name in rows else name)
    run[settings.DEVICE] = device
    if trained and weights is None:
        fetched = {row.name: row.address for row in rows.values() if row.downloadable}
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
    """The form of a detector that TEST.OPTIMIZED, TEST.DTYPE and TEST.COMPILE ask for.

    A model that is optimised already stays as it is. Raises: InputError as `check_inference_form`.
    """
    dtype = check_inference_form(run)
    if not run[settings.OPTIMIZED] or optimize.is_optimized(model):
        return model
    return optimize.optimize_for_inference(model, dtype=dtype, compile=run[settings.COMPILE])


def check_inference_form(run: RunConfig) -> torch.dtype:
    """The type that TEST.DTYPE names.

    Raises: InputError if the three keys contradict each other, MODEL.DEVICE does not compute in
        that type, or torch.compile is asked for where it does not work.
    """
    dtype, device = str(run[settings.DTYPE]), str(run[settings.DEVICE])
    name, compiles = run.name(settings.DTYPE), run[settings.COMPILE]
    if not run[settings.OPTIMIZED] and (dtype != "float32" or compiles):
        raise InputError(
            f"{run.shown(settings.DTYPE)}, {run.shown(settings.COMPILE)} with "
            f"{run.shown(settings.OPTIMIZED)}: only the optimised form has them; set "
            f"{run.shown(settings.OPTIMIZED, True)}"
        )
    if dtype not in optimize.DTYPES:
        raise InputError(f"unknown {name} {dtype!r}; known: {', '.join(optimize.DTYPES)}")
    try:
        optimize.check_dtype(optimize.DTYPES[dtype], torch.device(device))
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{name}: {error}") from error
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

"""The model of a config."""

from __future__ import annotations

import re

from detectron2.config import CfgNode, instantiate
from detectron2.modeling import build_model
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from hrnet_det.config.lazy_build import errors_logged
from hrnet_det.config.load import as_run
from hrnet_det.config.yaml import flat
from hrnet_det.errors import InputError
from hrnet_det.modeling.compat.conventions import DETECTRON2, check_conventions
from hrnet_det.modeling.kinds import kind_of

PROBLEM = "the model of this config cannot be built"
# What layers raise for sizes and names that cannot be.
FAULTS = (
    ValueError,
    TypeError,
    AssertionError,
    RuntimeError,
    IndexError,
    ArithmeticError,
    ImportError,
    OmegaConfBaseException,
)


def build_detector(cfg: CfgNode | DictConfig) -> nn.Module:
    """The model of a config, with random weights and MODEL.CONVENTIONS; of a LazyConfig on the CPU.

    Raises: InputError where the config asks for what does not exist.
    """
    if isinstance(cfg, CfgNode):
        cfg = _with_conventions(cfg)
        _check_fit(cfg)
    try:
        return build_model(cfg) if isinstance(cfg, CfgNode) else _instantiated(cfg.model)
    except KeyError as error:  # of a registry, or of a head that looks for its features
        raise InputError(f"{PROBLEM}: {_unknown(str(error.args[0]), cfg)}") from error
    except FAULTS as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{PROBLEM}: {' '.join(reason.split())}") from error


def _instantiated(node: DictConfig) -> nn.Module:
    """What a node calls; an error names the class that raised it."""
    said: list[str] = []
    try:
        with errors_logged(said):
            return instantiate(node)
    except (*FAULTS, KeyError, AttributeError) as error:
        if not said:
            raise
        raise ValueError(f"{said[0]}: {error}") from error


def _unknown(reason: str, cfg: CfgNode | DictConfig) -> str:
    """What a name that is not there was for, with the keys that have it."""
    found = re.match(r"No object named '(.*)' found in '(.*)' registry", reason)
    name = found[1] if found else reason
    keys = [key for key, value in flat(cfg).items() if _names(value, name)]
    subject = f"{' and '.join(keys)} {name!r}" if keys else repr(name)
    if found:
        return f"{subject} is not in the registry {found[2]} of Detectron2"
    if keys and all(key.endswith("NORM") for key in keys):
        return f"{subject} is no norm: BN, GN, FrozenBN, SyncBN, naiveSyncBN, LN, or '' for none"
    return f"{subject}: the backbone makes no level of that name"


def _names(value: object, name: str) -> bool:
    return value == name or (isinstance(value, (list, tuple)) and name in value)


def _check_fit(cfg: CfgNode) -> None:
    """Raises: InputError if lists of a config that belong together have not the same lengths."""
    options, kind = cfg.MODEL, kind_of(as_run(cfg))
    heads = bool(kind.roi_heads and kind.learns)  # of a detector that is known
    parts = ["RPN", "ROI_HEADS"] if heads else ["RPN"] if kind.output == "proposals" else []
    parts = ["RETINANET"] if kind.meta_arch == "RetinaNet" else parts
    for part in parts:
        thresholds, labels = options[part].IOU_THRESHOLDS, options[part].IOU_LABELS
        if len(labels) != len(thresholds) + 1:
            raise InputError(
                f"{PROBLEM}: MODEL.{part}.IOU_LABELS {labels} has {len(labels)} values for the "
                f"{len(thresholds)} of MODEL.{part}.IOU_THRESHOLDS {thresholds}: give one more, "
                "as each threshold divides one range in two"
            )
    for name in ("SIZES", "ASPECT_RATIOS") if parts else ():
        count, levels = len(options.ANCHOR_GENERATOR[name]), options[parts[0]].IN_FEATURES
        if count not in (1, len(levels)):
            raise InputError(
                f"{PROBLEM}: MODEL.ANCHOR_GENERATOR.{name} has {count} lists for the "
                f"{len(levels)} levels of MODEL.{parts[0]}.IN_FEATURES {levels}: give one list for "
                "each level, or one for all"
            )
    if heads and not options.ROI_BOX_HEAD.NUM_FC + options.ROI_BOX_HEAD.NUM_CONV:
        raise InputError(
            f"{PROBLEM}: MODEL.ROI_BOX_HEAD.NUM_FC 0 with NUM_CONV 0: give at least one layer"
        )


# Keys of MODEL.ROI_HEADS that have one value with Detectron2's conventions, and why.
_OF_OTHERS = (
    ("LOW_QUALITY_MATCHES", "never", "have no such matches"),
    ("SOFT_NMS", False, "drop overlapping boxes"),
)


def _with_conventions(cfg: CfgNode) -> CfgNode:
    """The config with the meta-architecture that follows MODEL.CONVENTIONS."""
    kind, name = kind_of(as_run(cfg)), cfg.MODEL.CONVENTIONS
    check_conventions(kind, name)
    for key, only, what in _OF_OTHERS if name == DETECTRON2 else ():
        if (value := cfg.MODEL.ROI_HEADS[key]) != only:
            raise InputError(
                f"{PROBLEM}: MODEL.ROI_HEADS.{key} {value!r}: Detectron2's RoI heads {what}; set "
                f"it to {only}, or MODEL.CONVENTIONS mmdet"
            )
    if name == DETECTRON2 or not kind.compat:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = kind.compat
    return cfg

"""What MODEL.CONVENTIONS and SOLVER.RECIPE set below the user's own values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path

import yaml
from detectron2.config import CfgNode

from hrnet_det.config.files import config_folder
from hrnet_det.config.yaml_files import flat, read_yaml
from hrnet_det.errors import InputError

CONVENTIONS = "MODEL.CONVENTIONS"
# By META_ARCHITECTURE or ROI_HEADS.NAME: the family of detectors whose overlay is read.
FAMILIES = {
    "FCOS": "fcos",
    "HTC": "htc",
    "HTCROIHeads": "htc",
    "ResamplingCascadeROIHeads": "cascade",
    "CascadeROIHeads": "cascade",
}


def family_of(cfg: CfgNode, own: Mapping[str, object]) -> str:
    """The family of a config's detector: of `FAMILIES`, "keypoint", or "" for all others.

    Args:
        own: {KEY: value} that is going to be merged over cfg.
    """
    arch = _value(cfg, own, "MODEL.META_ARCHITECTURE")
    family = FAMILIES.get(arch, "")
    if arch == "GeneralizedRCNN":
        family = FAMILIES.get(_value(cfg, own, "MODEL.ROI_HEADS.NAME"), "")
    keypoints = not family and _value(cfg, own, "MODEL.KEYPOINT_ON") == "True"
    return "keypoint" if keypoints else family


def overlay_file(name: str, cfg: CfgNode, own: Mapping[str, object]) -> Path:
    """The file of conventions for a detector, in configs/conventions/.

    NAME.FAMILY_mask.yaml for one with masks, NAME.FAMILY.yaml, NAME.yaml: the first that is there.
    """
    family = family_of(cfg, own)
    masks = family and _value(cfg, own, "MODEL.MASK_ON") == "True"
    parts = [*([f".{family}_mask"] if masks else []), f".{family}" if family else ""]
    paths = [config_folder() / "conventions" / f"{name}{part}.yaml" for part in parts]
    return next(filter(Path.is_file, paths), config_folder() / "conventions" / f"{name}.yaml")


def _value(cfg: CfgNode, own: Mapping[str, object], key: str) -> str:
    return str(own[key] if key in own else reduce(getitem, key.split("."), cfg))


def add_conventions(cfg: CfgNode, name: str, own: Mapping[str, object], *, source: str) -> None:
    """Merge configs/conventions/ of a name over cfg, below `own`.

    Raises: InputError if there are no conventions of that name.
    """
    if name != "detectron2":
        overlay = _overlay(name, cfg, own, source=source)
        cfg.merge_from_other_cfg(CfgNode(overlay))


def switch_conventions(cfg: CfgNode, name: str, own: Mapping[str, object], *, source: str) -> None:
    """Follow other conventions than those that cfg has: what these have set is set back first.

    Args:
        own: {KEY: value} of the user's file, merged into cfg; what it states otherwise than the
            conventions that it had is kept.
    """
    before = cfg.MODEL.CONVENTIONS
    if name == before:
        return
    given = flat(_overlay(before, cfg, {}, source=source))
    back = flat(_overlay("detectron2", cfg, {}, source=source))
    had = back | given  # what a run's config.yaml states of its conventions
    kept = {key for key in own if key not in had or plain(own[key]) != plain(had[key])}
    values = flat(cfg)
    over = {k: back[k] for k, v in given.items() if k in back and plain(values[k]) == plain(v)}
    if name != "detectron2":
        over |= flat(_overlay(name, cfg, {}, source=source))
    for key, value in over.items():
        if key not in kept:
            cfg.merge_from_list([key, value])
    cfg.MODEL.CONVENTIONS = name


def _overlay(name: str, cfg: CfgNode, own: Mapping[str, object], *, source: str) -> dict:
    """What the file of conventions for a detector says."""
    folder = config_folder() / "conventions"
    known = sorted({path.name.split(".")[0] for path in folder.glob("*.yaml")})
    if name not in known:
        raise InputError(f"{source}: unknown {CONVENTIONS} {name!r}; known: {', '.join(known)}")
    return read_yaml(overlay_file(name, cfg, own)).shipped


def plain(value: object) -> object:
    """Tuples, and YAML's "(1, 2)", as the lists that they are equal to."""
    if isinstance(value, str) and value.startswith("("):
        value = yaml.safe_load(f"[{value[1:-1]}]")
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

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

    def value(key: str) -> str:
        return str(own[key] if key in own else reduce(getitem, key.split("."), cfg))

    family = FAMILIES.get(value("MODEL.META_ARCHITECTURE"), "")
    if value("MODEL.META_ARCHITECTURE") == "GeneralizedRCNN":
        family = FAMILIES.get(value("MODEL.ROI_HEADS.NAME"), "")
    keypoints = not family and value("MODEL.KEYPOINT_ON") == "True"
    return "keypoint" if keypoints else family


def add_conventions(cfg: CfgNode, name: str, own: Mapping[str, object], *, source: str) -> None:
    """Merge configs/conventions/ of a name over cfg, below `own`.

    Raises: InputError if there are no conventions of that name.
    """
    if name != "detectron2":
        overlay = _overlay(name, family_of(cfg, own), source=source)
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
    family = family_of(cfg, {})
    given = flat(_overlay(before, family, source=source))
    kept = {key for key in own if key not in given or plain(own[key]) != plain(given[key])}
    back = flat(_overlay("detectron2", family, source=source))
    values = flat(cfg)
    over = {k: back[k] for k, v in given.items() if k in back and plain(values[k]) == plain(v)}
    if name != "detectron2":
        over |= flat(_overlay(name, family, source=source))
    for key, value in over.items():
        if key not in kept:
            cfg.merge_from_list([key, value])
    cfg.MODEL.CONVENTIONS = name


def _overlay(name: str, family: str, *, source: str) -> dict:
    """configs/conventions/NAME.FAMILY.yaml if it is there, else NAME.yaml."""
    folder = config_folder() / "conventions"
    known = sorted({path.name.split(".")[0] for path in folder.glob("*.yaml")})
    if name not in known:
        raise InputError(f"{source}: unknown {CONVENTIONS} {name!r}; known: {', '.join(known)}")
    return read_yaml(overlay_file(folder, name, family)).shipped


def overlay_file(folder: Path, name: str, family: str) -> Path:
    """The file of conventions that a family of detectors reads."""
    special = folder / f"{name}.{family}.yaml"
    return special if special.is_file() else folder / f"{name}.yaml"


def plain(value: object) -> object:
    """Tuples, and YAML's "(1, 2)", as the lists that they are equal to."""
    if isinstance(value, str) and value.startswith("("):
        value = yaml.safe_load(f"[{value[1:-1]}]")
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

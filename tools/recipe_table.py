"""mmdetection 3.3's configs of HRNet beside ours with SOLVER.RECIPE mmdet, number by number.

`python -m tools.recipe_table` writes the tables between their marks in docs/as-published.md. It
needs mmdetection's wheel and mmengine: their configs are read, their detectors are not built.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from detectron2.config import CfgNode

from hrnet_det import model_zoo
from hrnet_det.config.overlays import family_of
from hrnet_det.errors import InputError
from tools import recipe_heads as heads
from tools.recipe_rows import DATA, NETWORK, SOLVER, Row
from tools.tables import markdown, write

PAGE = Path("docs/as-published.md")
# By the name of a row: why it differs. A row that is named here and does not differ is an error.
KNOWN: dict[str, str] = {}
# mmdetection has no other config of HRNet; the last one is of another backbone.
LEFT_OUT = ("htc_x101-64x4d_fpn_16xb1-28e_coco",)
_NAME = re.compile(r"(?P<kind>[\w-]+?)_hrnetv2p-(?P<width>w\d+)[-_](?P<rest>.+)_coco")
# Two of ours by theirs: W40's HTC of 28 epochs is W48's, with another width.
_OTHER_WIDTH = {"htc_hrnetv2p_w40_28e": "htc_hrnetv2p_w48_28e"}
# The columns of the table of numbers: the first config of each kind.
SHOWN = {
    "Faster R-CNN": "faster-rcnn_hrnetv2p-w18-1x_coco",
    "Mask R-CNN": "mask-rcnn_hrnetv2p-w18-1x_coco",
    "Cascade R-CNN": "cascade-rcnn_hrnetv2p-w18-20e_coco",
    "Cascade Mask R-CNN": "cascade-mask-rcnn_hrnetv2p-w18_20e_coco",
    "HTC": "htc_hrnetv2p-w18_20e_coco",
    "FCOS": "fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco",
}


class Pair(NamedTuple):
    """A config of mmdetection, and ours of the same training."""

    theirs: str
    ours: str
    config: object
    cfg: CfgNode


class Cell(NamedTuple):
    """What both sides say of a row."""

    theirs: object
    ours: object


def config_folder() -> Path:
    """mmdetection's configs/hrnet. Raises: InputError if it is not installed."""
    missing = [name for name in ("mmdet", "mmengine") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"{' and '.join(missing)} cannot be imported: install mmdet==3.3.0")
    origin = importlib.util.find_spec("mmdet").origin
    return Path(origin).parent / ".mim" / "configs" / "hrnet"


def our_name(theirs: str) -> str:
    """The shipped config of a name of mmdetection's, without folder and ending."""
    found = _NAME.fullmatch(theirs)
    if not found:
        raise InputError(f"{theirs}: not a name such as faster-rcnn_hrnetv2p-w18-1x_coco")
    schedule = re.search(r"\d+[xe]$", found["rest"])[0]
    several = "mstrain_" if "ms-" in found["rest"] else ""
    return f"{found['kind'].replace('-', '_')}_hrnetv2p_{found['width']}_{several}{schedule}"


@cache
def pairs() -> tuple[Pair, ...]:
    """All of mmdetection's HRNet configs with ours."""
    from mmengine.config import Config

    found = []
    for path in sorted(config_folder().glob("*.py")):
        if path.stem in LEFT_OUT:
            continue
        name = our_name(path.stem)
        width = ["MODEL.HRNET.VARIANT", _NAME.fullmatch(path.stem)["width"]]
        cfg = model_zoo.get_config(_OTHER_WIDTH.get(name, name), ["SOLVER.RECIPE", "mmdet", *width])
        found.append(Pair(path.stem, name, Config.fromfile(path), cfg))
    return tuple(found)


def rows_of(cfg: CfgNode) -> tuple[Row, ...]:
    """The rows that a detector has."""
    common = (*SOLVER, *DATA, *NETWORK)
    family = family_of(cfg, {})
    if family == "fcos":
        return (*common, *heads.FCOS)
    masks = heads.MASK if cfg.MODEL.MASK_ON else ()
    cascade = heads.CASCADE if family in ("cascade", "htc") else ()
    return (
        *common,
        *heads.RPN,
        *heads.ROI,
        *cascade,
        *masks,
        *(heads.HTC if family == "htc" else ()),
    )


def cells(pair: Pair) -> dict[str, Cell]:
    """By the name of a row, what both sides say, in plain lists and numbers."""
    return {
        row.name: Cell(_plain(row.theirs(pair.config)), _plain(row.ours(pair.cfg)))
        for row in rows_of(pair.cfg)
    }


def drifted(pair: Pair) -> dict[str, Cell]:
    """The rows that differ and are not of KNOWN, or are of KNOWN and do not differ."""
    return {
        name: cell
        for name, cell in cells(pair).items()
        if (cell.theirs != cell.ours) != (name in KNOWN)
    }


def _plain(value: object) -> object:
    """Numbers as floats of twelve digits, sequences as lists."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return float(f"{value:.12g}")


def _shown(value: object) -> str:
    """A cell for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        inner = [_shown(item) for item in value]
        return ", ".join(f"({item})" if "," in item and len(inner) > 1 else item for item in inner)
    if isinstance(value, float):
        return f"{value:.0f}" if value == round(value) else f"{value:.6g}"
    return str(value)


def schedules_table() -> str:
    """Markdown: a line for each of mmdetection's configs."""
    names = ("iterations", "drops", "learning rate", "warm-up: form, first factor, iteration of 1",
             "gradient clipping: norm, its power", "sizes: shorter, longer side")  # fmt: skip
    lines = []
    for pair in pairs():
        found = cells(pair)
        values = [_text(found[name]) for name in names]
        lines.append([f"`{pair.theirs}.py`", f"`{pair.ours}`", *values])
    return markdown(lines, ("mmdetection, configs/hrnet", "here", *names))


def numbers_table() -> str:
    """Markdown: a line for each row, a column for each kind of detector."""
    by_name = {pair.theirs: cells(pair) for pair in pairs()}
    found = {title: by_name[name] for title, name in SHOWN.items()}
    names = list(dict.fromkeys(name for cells_ in found.values() for name in cells_))
    lines = [
        [name, *(_text(of[name]) if name in of else "-" for of in found.values())] for name in names
    ]
    return markdown(lines, ("row", *found))


def _text(cell: Cell) -> str:
    """The value of both, or of mmdetection's and ours."""
    if cell.theirs == cell.ours:
        return _shown(cell.ours)
    return f"{_shown(cell.theirs)}; here {_shown(cell.ours)}"


TABLES = {"schedules": schedules_table, "numbers": numbers_table}


def main() -> None:
    wrong = {pair.theirs: found for pair in pairs() if (found := drifted(pair))}
    for name, found in wrong.items():
        for row, cell in found.items():
            print(f"{name}: {row}: mmdetection {cell.theirs}, here {cell.ours}")
    write(PAGE, TABLES)
    print(f"{len(pairs())} configs, {sum(len(cells(pair)) for pair in pairs())} numbers compared")


if __name__ == "__main__":
    main()

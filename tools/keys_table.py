"""The tables of docs/from-mmdetection.md: its keys and ours, as convert-config reads them.

`python -m tools.keys_table` writes them between their marks there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hrnet_det.convert_config import (
    datasets,
    dense,
    mask_heads,
    network,
    optimizer,
    pace,
    pipelines,
    roi_heads,
    rpn,
    runtime,
    schedule,
    version2,
)
from hrnet_det.convert_config.conversion import Row
from tools import tables
from tools.tables import markdown

PAGE = Path("docs/from-mmdetection.md")
# Groups of rows, by their titles.
GROUPS: dict[str, list[Row]] = {
    "Network and pixels": [*network.BACKBONE, *network.NECK, *network.PIXELS],
    "RPN": rpn.RPN,
    "RoI heads": [*roi_heads.SHARED, *roi_heads.BOXES],
    "Cascades": roi_heads.CASCADE,
    "Masks": mask_heads.MASKS,
    "HTC": mask_heads.HTC,
    "FCOS": dense.FCOS,
    "RetinaNet": dense.RETINANET,
    "Images": pipelines.ROWS,
    "Data": datasets.ROWS,
    "Batch and optimiser": [*pace.ROWS, *optimizer.ROWS],
    "Schedule": schedule.ROWS,
    "Run": runtime.ROWS,
}


def keys_table() -> str:
    """Markdown: a row for each key of mmdetection 3 that becomes one of ours."""
    lines = []
    for title, rows in GROUPS.items():
        lines.append([f"**{title}**", "", ""])
        lines += [[shortened(row.names), shortened(row.keys), row.says] for row in rows if row.keys]
    return markdown(lines, ["mmdetection 3", "here", ""])


def names_table() -> str:
    """Markdown: names of version 2, and of version 3."""
    return markdown([[f"`{a}`", f"`{b}`"] for a, b in version2.RENAMED], ["version 2", "version 3"])


def shortened(names: Iterable[str]) -> str:
    """Names as code; of the same group as the one before, only the last part."""
    shown, before = [], None
    for name in (name.replace(".*", "") for name in names):
        group, _, last = name.rpartition(".")
        shown.append(f"`{last}`" if group and group == before else f"`{name}`")
        before = group
    return ", ".join(shown)


TABLES = {"table of keys": keys_table, "table of names": names_table}

if __name__ == "__main__":
    tables.run("tools.keys_table", __doc__, PAGE, TABLES)

"""What is told of a check: a table, and what the file's metadata has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from tabulate import tabulate

from hrnet_det.export.compare import TOLERANCES
from hrnet_det.export.formats import Engine
from hrnet_det.export.verdict import Checked
from hrnet_det.export.verify import Verification


def table(rows: Sequence[Checked], precision: str) -> str:
    """What was compared, image by image."""
    if rows and rows[0].maps:
        headers = ("image", "size", *rows[0].maps)
        cells = [
            (row.name, _shown(row.size), *(f"{share:.1e}" for share in row.maps.values()))
            for row in rows
        ]
        return _github(cells, headers)
    masks = any(len(d.edge) for row in rows for d in row.differences)
    points = any(d.points for row in rows for d in row.differences)
    names, of = ("box, pixels", "score"), _largest
    if TOLERANCES[precision].overlap:
        names, of = ("half of the boxes, pixels", "half of the scores"), _median
    headers = ["image", "size", "objects", *names, "only one has"]
    headers += ["mask pixels"] * masks + ["keypoints elsewhere"] * points
    return _github([_cells(row, masks, points, of) for row in rows], headers)


def _cells(
    row: Checked, masks: bool, points: bool, of: Callable[[Sequence, str], float]
) -> list[str]:
    found = row.differences
    alone = sum(len(d.missing) + len(d.extra) + d.border for d in found) + row.ties
    pairs = any(len(d.box) for d in found)
    cells = [
        row.name,
        _shown(row.size),
        str(row.objects),
        f"{of(found, 'box'):.1e}" if pairs else "",
        f"{of(found, 'score'):.1e}" if pairs else "",
        str(alone or ""),
    ]
    if masks:
        cells.append(f"{_total(found, 'pixels')} of {_total(found, 'edge')} at edges")
    if points:
        cells.append(f"{sum(d.moved for d in found)} of {sum(d.points for d in found)}")
    return cells


def _github(cells: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True)


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _largest(found: Sequence, name: str) -> float:
    return float(max((getattr(d, name).max(initial=0) for d in found), default=0.0))


def _median(found: Sequence, name: str) -> float:
    values = [getattr(d, name) for d in found]
    return float(np.median(np.concatenate(values))) if any(len(v) for v in values) else 0.0


def _total(found: Sequence, name: str) -> int:
    return int(sum(getattr(d, name).sum() for d in found))


def summary(rows: Sequence[Checked], engine: Engine, verification: Verification) -> dict:
    """The largest differences, and each image's, for the file's metadata."""
    found = [d for row in rows for d in row.differences]
    known: dict[str, object] = {
        "engine": engine.name,
        "against": f"PyTorch {torch.__version__}, float32",
        "images": len(rows),
        "tolerance": asdict(verification.tolerance),
    }
    if rows[0].maps:
        largest = {name: max(row.maps[name] for row in rows) for name in rows[0].maps}
        return known | {"maps": largest, "sizes": [_shown(row.size) for row in rows]}
    known |= {
        "objects": sum(row.objects for row in rows),
        "without_objects": sum(not d.expected for d in found),
        "box": _largest(found, "box"),
        "score": _largest(found, "score"),
        "only_one_has": sum(len(d.missing) + len(d.extra) for d in found),
        "at_the_least_score": sum(d.border for d in found),
        "ties": sum(row.ties for row in rows),
    }
    if any(len(d.edge) for d in found):
        known["mask_pixels"] = {
            "different": _total(found, "pixels"),
            "at_edges": _total(found, "edge"),
        }
    if any(d.points for d in found):
        known["keypoints"] = {
            "elsewhere": sum(d.moved for d in found),
            "of": sum(d.points for d in found),
        }
    known["rows"] = [
        {
            "image": row.name,
            "size": _shown(row.size),
            "objects": row.objects,
            "box": _largest(row.differences, "box"),
            "score": _largest(row.differences, "score"),
        }
        for row in rows
    ]
    return known

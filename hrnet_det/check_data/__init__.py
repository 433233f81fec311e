"""A check of a run's data: jsons, images, and whether the run's settings suit them."""

from __future__ import annotations

import json
from pathlib import Path

from hrnet_det.check_data.report import Report, check

__all__ = ["Report", "check", "write"]


def write(report: Report, folder: str | Path) -> list[Path]:
    """Write report.txt, report.json and report.html; returns their paths."""
    from hrnet_det.check_data.page import as_page
    from hrnet_det.check_data.tables import as_json
    from hrnet_det.check_data.text import as_text

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "report.txt": as_text(report) + "\n",
        "report.json": json.dumps(as_json(report), indent=1) + "\n",
        "report.html": as_page(report),
    }
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in written]

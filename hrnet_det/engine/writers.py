"""Where the metrics of a training go: the console, metrics.json, TensorBoard."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from detectron2.utils.events import (
    CommonMetricPrinter,
    EventWriter,
    JSONWriter,
    TensorboardXWriter,
)

from hrnet_det.checkpoint.writing import written_aside


class MetricsFile(JSONWriter):
    """metrics.json, in which a run that was killed and resumed has each iteration once.

    Args:
        path: rows there of `start` and later iterations, and what is no whole row, are dropped.
        start: the first iteration of this part of the run.
    Attributes: last: the last iteration that is in the file; -1 for none.
    """

    def __init__(self, path: Path, start: int) -> None:
        kept, self.last = [], -1
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        for line in text.splitlines():
            try:
                iteration = json.loads(line)["iteration"]
            except (ValueError, TypeError, KeyError):
                continue
            if isinstance(iteration, int) and iteration < start:
                kept.append(f"{line}\n")
                self.last = max(self.last, iteration)
        with written_aside(path) as file:
            file.write("".join(kept).encode())
        super().__init__(str(path))
        self._last_write = self.last


def build_writers(output: str, start: int, max_iter: int) -> list[EventWriter]:
    """Those of Detectron2; no printed lines where a progress bar stands for them.

    Args:
        start: the first iteration of this part of the run.
    """
    os.makedirs(output, exist_ok=True)
    files = [MetricsFile(Path(output, "metrics.json"), start)]
    files.append(TensorboardXWriter(output, purge_step=start))
    return files if sys.stdout.isatty() else [CommonMetricPrinter(max_iter), *files]

"""From weights to a file that has been run again and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hrnet_det.config.run_config import RunConfig
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions


@dataclass(frozen=True)
class Exported:
    """A file that has been written.

    Args:
        path: of the file.
        metadata: what it says of itself.
    """

    path: Path
    metadata: dict


def export(
    model: nn.Module,
    run: RunConfig,
    class_names: Sequence[str],
    path: str | Path,
    options: ExportOptions,
) -> Exported:
    """Write a detector, run the file, and compare it with the detector.

    Args:
        model: in evaluation mode; it may be optimised.
    Raises: InputError if the format cannot hold it, or what was written does not compute the same.
    """
    path, row = Path(path), options.row
    module = row.load()
    graph = DetectorGraph(model, run, options).eval()
    metadata = {
        "config": run.text(),
        "classes": list(class_names),
        "export": {
            "format": row.name,
            "precision": options.precision,
            "processing": options.processing,
            "part": options.part,
        },
    }
    module.write(graph, path, options, metadata)
    return Exported(path, metadata)

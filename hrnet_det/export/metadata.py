"""What an exported file says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import hrnet_det
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions
from hrnet_det.modeling.inference.borrowed import least_score
from hrnet_det.modeling.kinds import kind_of


def metadata_of(
    graph: DetectorGraph,
    run: RunConfig,
    class_names: Sequence[str],
    data: Mapping,
    options: ExportOptions,
) -> dict:
    """As `hrnet-det convert` writes it for weights, and "export", what the file computes.

    Args:
        data: what the weights say of the images that they were trained on.
    """
    kind = kind_of(run)
    variant = run[settings.VARIANT] if run.has(settings.VARIANT) else ""
    return {
        "title": f"{kind.title} {variant}".strip(),
        "variant": variant,
        "kind": kind.name,
        "classes": list(class_names),
        "conventions": run[settings.CONVENTIONS],
        "config": run.text(),
        "pixels": {
            "format": run[settings.PIXEL_FORMAT],
            "mean": list(run[settings.PIXEL_MEAN]),
            "std": list(run[settings.PIXEL_STD]),
        },
        "data": dict(data),
        "export": {
            "version": hrnet_det.__version__,
            "format": options.format,
            "precision": options.precision,
            "processing": options.processing,
            "part": options.part,
            "inputs": list(graph.inputs),
            "outputs": list(graph.outputs),
            "size": list(options.size),
            "batch": options.batch,
            "score": least_score(graph.model),
            "max_detections": options.max_detections or run.detections_per_image,
        },
    }

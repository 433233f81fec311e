"""What is said of an image that is far from what a detector was trained on."""

from __future__ import annotations

from collections.abc import Mapping

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig

FAR = 3  # times as large or small as in training


def size_remark(
    run: RunConfig, data: Mapping, size: tuple[int, int], resized: tuple[int, int]
) -> str:
    """One line where an image is resized by a far smaller or larger factor than in training.

    Args:
        data: what the weights say of the images that they were trained on (Statistics.summary); {}
            where that is not known: then only a reduction by more than FAR is told.
        size, resized: height and width in pixels, of the image and as the network sees it.
    Returns: "" where nothing is to be said.
    """
    factor = min(resized) / min(size)
    said = f"an image of {_shown(size)} is resized to {_shown(resized)} (x{factor:.2f})"
    advice = "give another size: --size SHORTER LONGER, or Detector.from_pretrained(size=...)"
    if not data.get("shorter_side") or run.is_lazy:
        small = factor < 1 / FAR
        return f"{said}, so that objects are {1 / factor:.0f} times smaller; {advice}" * small
    shorter, longer = data["shorter_side"][1], data["longer_side"][1]
    learnt = min(run[settings.MIN_SIZE_TEST] / shorter, run[settings.MAX_SIZE_TEST] / longer)
    if not run[settings.MIN_SIZE_TEST] or 1 / FAR <= factor / learnt <= FAR:
        return ""
    return (
        f"{said}, but the detector was trained on images of about {longer:.0f}x{shorter:.0f} (x"
        f"{learnt:.2f}): objects of the same size look {_times(factor / learnt)}; {advice}"
    )


def _shown(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width}x{height}"


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times larger" if ratio > 1 else f"{1 / ratio:.1f} times smaller"

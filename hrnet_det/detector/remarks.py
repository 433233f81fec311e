"""What is said of an image that is far from what a detector was trained on, or very large."""

from __future__ import annotations

from collections.abc import Mapping

FAR = 3  # times as large or small as in training
TILE = 640  # pixels, where the size of the images of training is not known
LARGE = 2**32  # bytes of an image's masks
OPTION = "Detector.from_pretrained(size=...)"
AGAIN = "Detector.from_pretrained(WEIGHTS, size=({}), to_export=True).export(FILE)"


def size_remark(
    data: Mapping, size: tuple[int, int], resized: tuple[int, int], *, fixed: bool = False
) -> str:
    """One line where an image is resized by a far smaller or larger factor than in training.

    Args:
        data: what the weights say of the images that they were trained on (Statistics.summary, and
            the "size" that these were resized to); {} where that is not known: then only a
            reduction by more than FAR is told.
        size, resized: height and width in pixels, of the image and as the network sees it.
        fixed: whether that cannot be changed, as of exported files that resize images themselves.
    Returns: "" where nothing is to be said.
    """
    factor = min(resized) / min(size)
    said = f"an image of {_shown(size)} is resized to {_shown(resized)} (x{factor:.2f})"
    if not data.get("size") or not data.get("shorter_side"):
        if factor >= 1 / FAR:
            return ""
        sizes = "" if fixed else f"give --size SHORTER,LONGER, or {OPTION}; or "
        return (
            f"{said}, so that objects are {1 / factor:.0f} times smaller: {sizes}detect it in "
            f"tiles, such as --tile {TILE}"
        )
    shorter, longer = data["shorter_side"][1], data["longer_side"][1]
    learnt = min(data["size"][0] / shorter, data["size"][1] / longer)
    if 1 / FAR <= factor / learnt <= FAR:
        return ""
    as_then = ",".join(str(round(side * learnt)) for side in sorted(size))
    # Tiles that are as large as the images of training are resized as these were.
    in_tiles = f"; or detect it in tiles: --tile {shorter:.0f}" if factor < learnt else ""
    advice = f"give --size {as_then}, as then, or {OPTION}"
    if fixed:
        advice = f"export it for that size, {AGAIN.format(as_then)}"
    return (
        f"{said}, but the detector was trained on images of about {longer:.0f}x{shorter:.0f} (x"
        f"{learnt:.2f}): objects of the same size look {_times(factor / learnt)}: "
        f"{advice}{in_tiles}"
    )


def masks_remark(size: tuple[int, int], most: int) -> str:
    """One line where the masks of an image's objects may take more than LARGE bytes.

    Args:
        size: height and width that masks have, pixels; most: objects of the image.
    Returns: "" where nothing is to be said.
    """
    needed = most * size[0] * size[1]
    if needed <= LARGE:
        return ""
    return (
        f"masks of up to {most} objects in an image of {_shown(size)} take up to "
        f"{needed / 2**30:.0f} GiB of memory: detect it in tiles, such as --tile {TILE}, or "
        "tile=..., by which they stay run lengths; or ask for fewer objects (--max-detections, or "
        "max_detections=...)"
    )


def _shown(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width}x{height}"


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times larger" if ratio > 1 else f"{1 / ratio:.1f} times smaller"

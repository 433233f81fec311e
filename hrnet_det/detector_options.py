"""What a caller of a detector may give, and its checks: one place for each."""

from collections.abc import Sequence

from detectron2.data.datasets.builtin_meta import CITYSCAPES_CATEGORIES, COCO_CATEGORIES
from omegaconf import OmegaConf

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.checks import SMALLEST
from hrnet_det.data.pixels import check_pixel_range
from hrnet_det.errors import InputError
from hrnet_det.modeling.kinds import OBJECTS, SEGMENTS, kind_of

COCO_CLASSES = tuple(row["name"] for row in COCO_CATEGORIES if row["isthing"])
# Those of published weights whose files name none, by what they learn and their number.
KNOWN_CLASSES = {
    (OBJECTS, len(COCO_CLASSES)): COCO_CLASSES,
    (SEGMENTS, 19): tuple(row["name"] for row in CITYSCAPES_CATEGORIES),
    (SEGMENTS, 133): tuple(row["name"] for row in COCO_CATEGORIES),
}


def set_options(
    run: RunConfig,
    *,
    size: Sequence[int] = (),
    max_detections: int | None = None,
    pixel_range: Sequence[float] = (),
    max_pixels: int | None = None,
) -> None:
    """Set what a caller of `Detector.from_pretrained` gives in place of the config's values.

    Raises: InputError if a value is not allowed, or a LazyConfig's mapper cannot have it.
    """
    if max_detections is not None:
        if max_detections < 1:
            raise InputError(f"max_detections {max_detections}: give at least 1")
        run[run.detections_setting] = max_detections
    if size:
        _set_size(run, size)
    for setting, value in (
        (settings.PIXEL_RANGE, list(pixel_range) or None),
        (settings.MAX_PIXELS, max_pixels),
    ):
        if value is not None and not run.has(setting):
            raise InputError(
                f"{setting.yaml}: the mapper of this LazyConfig has none; take "
                "hrnet_det.data.mapper.Mapper, as configs/common/data/coco.py does"
            )
        if value is not None:
            run[setting] = value
    check_pixel_range(run)


def _set_size(run: RunConfig, size: Sequence[int]) -> None:
    shorter, longer = size[0], size[-1]
    whole = all(isinstance(side, int) for side in size)
    if len(size) > 2 or not whole or not SMALLEST <= shorter <= longer:
        raise InputError(
            f"size {' '.join(map(str, size))}: give the shorter side in pixels, at least "
            f"{SMALLEST}, and the longer one at most"
        )
    longer = longer if len(size) == 2 else round(5 / 3 * shorter)  # as 800 and 1333
    if not run.is_lazy:
        run[settings.MIN_SIZE_TEST], run[settings.MAX_SIZE_TEST] = shorter, longer
        return
    nodes = run.cfg.dataloader.test.mapper.augmentations or ()
    resizes = [node for node in nodes if OmegaConf.is_dict(node) and "short_edge_length" in node]
    if not resizes:
        raise InputError("size: the mapper of this LazyConfig has no L(T.ResizeShortestEdge)()")
    for node in resizes:
        node.short_edge_length, node.max_size = shorter, longer


def classes_of(run: RunConfig, names: list[str], in_file: list[str]) -> list[str]:
    """The names that are given; otherwise the file's where they are as many as the classes.

    mmdetection 1 writes COCO's 80 names into files of other data, too.
    """
    kind = kind_of(run)
    stated = kind.classes is not None and run.has(kind.classes)
    count = run[kind.classes] if stated else len(names or in_file)
    if names and len(names) != count:
        raise InputError(f"{len(names)} class names ({names[0]}, ...) for {count} classes")
    if not names and len(in_file) == count:
        return in_file
    for (learnt, number), published in KNOWN_CLASSES.items():
        if not names and learnt in kind.learns and number == count:
            return list(published)
    return names or [f"class {number}" for number in range(count)]

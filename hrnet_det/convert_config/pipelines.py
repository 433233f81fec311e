"""The rows of what happens to images: sizes, flips, crops."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import Conversion, Row, rows_of
from hrnet_det.convert_config.nodes import Node, children, plain

TRAIN = "train_dataloader.dataset"
# Steps that are always there, or that decide nothing.
USUAL = {
    "LoadImageFromFile",
    "LoadAnnotations",
    "PackDetInputs",
    "DefaultFormatBundle",
    "ImageToTensor",
    "Collect",
    "SegRescale",
    "Pad",
}
ADVICE = {
    "PhotoMetricDistortion": (
        "INPUT.AUGMENT.BRIGHTNESS 0.125, CONTRAST 0.5, SATURATION 0.5, HUE 18 are near to it"
    ),
    "CopyPaste": "INPUT.AUGMENT.COPY_PASTE, a probability, is near to it",
    "RandomCrop": "INPUT.CROP_TRAIN or INPUT.AUGMENT.CROP are near to it",
    "MinIoURandomCrop": "INPUT.AUGMENT.CROP and CROP_VISIBLE are near to it",
    "RandomAffine": "INPUT.AUGMENT.ROTATION and SCALE_JITTER are near to it",
    "Rotate": "INPUT.AUGMENT.ROTATION is near to it",
    "FilterAnnotations": "objects are dropped by the rules of MODEL.CONVENTIONS here",
    "MultiScaleFlipAug": "TEST.AUG.ENABLED True tests flipped images too, and several sizes",
    "Mosaic": "several images are not joined here",
    "MixUp": "several images are not mixed here",
}
NO_STEP = "there is no such step here: leave it out, or write an augmentation of your own in Python"


class Sides:
    """What a step resizes images to.

    Attributes:
        pairs: [shorter, longer side] in pixels, each of which may be chosen.
        is_range: the shorter side is drawn between the two of them.
    """

    def __init__(self, pairs: list[list[int]], *, is_range: bool = False) -> None:
        self.pairs, self.is_range = pairs, is_range


def steps_of(conversion: Conversion, path: str) -> list[Node]:
    """The steps of a dataset's pipeline."""
    node = conversion.find(path)
    while node is not None and (inner := node.find("dataset")) is not None:
        node = inner
    if node is not None and (several := node.find("datasets")) is not None:
        node = several.get("0")
    pipeline = node.find("pipeline") if node is not None else None
    return list(children(pipeline)) if pipeline is not None else []


def _pairs(node: Node | None) -> list[list[int]]:
    """[shorter, longer] of (1333, 800), or of each of several."""
    value = plain(node) if node is not None else None
    if not isinstance(value, (list, tuple)) or not value:
        return []
    several = value if isinstance(value[0], (list, tuple)) else [value]
    return [sorted(int(side) for side in pair) for pair in several]


def sides(step: Node) -> Sides | None:
    """What a step of resizing does; None for what has no counterpart."""
    options = plain(step)
    if options.get("keep_ratio", False) is not True:
        keeps = options["type"] == "Resize" and "img_scale" in options  # version 2's default
        if not (keeps and options.get("keep_ratio") is None):
            return None
    pairs = _pairs(step.find("scale") or step.find("scales") or step.find("img_scale"))
    if options.get("ratio_range") or not pairs:
        return None
    if len(pairs) == 1:
        return Sides(pairs)
    is_range = options["type"] == "RandomResize" or options.get("multiscale_mode") == "range"
    if is_range and len({longer for _, longer in pairs}) > 1:
        return None  # both sides are drawn
    return Sides(pairs, is_range=is_range)


RESIZING = ("Resize", "RandomResize", "RandomChoiceResize")


def _train_sizes(conversion: Conversion, step: Node) -> None:
    found = sides(step)
    if found is None:
        conversion.lack(
            step, "images keep their proportions here: one or several scale=(1333, 800)"
        )
        return
    longer = {pair[1] for pair in found.pairs}
    if len(longer) > 1:
        conversion.set("INPUT.SCALES_TRAIN", found.pairs, step)
        return
    shorter = sorted({pair[0] for pair in found.pairs})
    conversion.set("INPUT.SCALES_TRAIN", [], step)
    conversion.set("INPUT.MIN_SIZE_TRAIN", shorter, step)
    conversion.set("INPUT.MAX_SIZE_TRAIN", longer.pop(), step)
    how = "range" if found.is_range else "choice"
    conversion.set("INPUT.MIN_SIZE_TRAIN_SAMPLING", how, step)


def _flip(conversion: Conversion, step: Node) -> None:
    options = plain(step)
    share, direction = options.get("prob", 0.5), options.get("direction", "horizontal")
    if share == 0:
        conversion.set("INPUT.RANDOM_FLIP", "none", step)
    elif share == 0.5 and direction in ("horizontal", "vertical"):
        conversion.set("INPUT.RANDOM_FLIP", direction, step)
    else:
        conversion.set("INPUT.RANDOM_FLIP", "horizontal", step)
        conversion.lack(step, "flips have a probability of 1/2 here: INPUT.RANDOM_FLIP")


def _crop(conversion: Conversion, step: Node) -> None:
    """A crop of the original image."""
    options = plain(step)
    size, kind = options.get("crop_size"), options.get("crop_type", "absolute")
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        conversion.lack(step, ADVICE["RandomCrop"])
        return
    # (width, height) there, but for the two kinds that say height first or a range.
    first_is_height = kind in ("relative_range", "absolute_range")
    height, width = size if first_is_height else size[::-1]
    conversion.set("INPUT.CROP.ENABLED", True, step)
    conversion.set("INPUT.CROP.TYPE", kind, step)
    conversion.set("INPUT.CROP.SIZE", [height, width], step)


def _large_jitter(conversion: Conversion, step: Node, after: list[Node]) -> bool:
    """Large-scale jitter: a resize by a random factor, and a crop to the same size."""
    options = plain(step)
    pairs = plain(step.find("scale")) if step.find("scale") is not None else None
    crop = next((n for n in after if _type(n) == "RandomCrop"), None)
    if not options.get("ratio_range") or crop is None or not options.get("keep_ratio"):
        return False
    size = plain(crop).get("crop_size")
    if not isinstance(pairs, (list, tuple)) or size is None or tuple(size) != tuple(pairs):
        return False
    if plain(crop).get("crop_type", "absolute") != "absolute":
        return False
    conversion.set("INPUT.AUGMENT.SCALE_JITTER", list(options["ratio_range"]), step)
    conversion.set("INPUT.AUGMENT.SCALE_JITTER_SIZE", [size[1], size[0]], crop)
    return True


def _type(step: Node) -> str:
    node = step.find("type")
    return str(node.value).removeprefix("mmdet.") if node is not None else ""


@rows_of(
    f"{TRAIN}.pipeline Resize.scale RandomChoiceResize.scales RandomResize.scale "
    "RandomFlip.prob RandomCrop.crop_size",
    "INPUT.MIN_SIZE_TRAIN INPUT.MAX_SIZE_TRAIN INPUT.MIN_SIZE_TRAIN_SAMPLING INPUT.SCALES_TRAIN "
    "INPUT.RANDOM_FLIP INPUT.CROP INPUT.AUGMENT.SCALE_JITTER",
    "(1333, 800) is the longer and the shorter side",
)
def _train(conversion: Conversion) -> None:
    steps = steps_of(conversion, TRAIN)
    resized = False
    if steps and not any(_type(step) == "RandomFlip" for step in steps):
        conversion.set("INPUT.RANDOM_FLIP", "none", why="no RandomFlip")
    for number, step in enumerate(steps):
        kind = _type(step)
        if kind in RESIZING:
            if resized or not _large_jitter(conversion, step, steps[number:]):
                _train_sizes(conversion, step)
            resized = True
        elif kind == "RandomFlip":
            _flip(conversion, step)
        elif kind == "RandomCrop" and not resized:
            _crop(conversion, step)
        elif kind in USUAL:
            _usual(conversion, step)
        elif not conversion.is_read(step):
            conversion.lack(step, ADVICE.get(kind, NO_STEP))


def _usual(conversion: Conversion, step: Node) -> None:
    kinds = {"color_type": ("color",), "poly2mask": (True,), "size_divisor": (32,)}
    for name, known in kinds.items():
        node = step.find(name)
        if node is not None and node.value not in known:
            conversion.lack(node, f"here it is {known[0]!r}")
    conversion.use(step)


@rows_of(
    "test_dataloader.dataset.pipeline Resize.scale",
    "INPUT.MIN_SIZE_TEST INPUT.MAX_SIZE_TEST",
)
def _test(conversion: Conversion) -> None:
    used = "val_dataloader" if conversion.find("val_dataloader") else "test_dataloader"
    for step in steps_of(conversion, f"{used}.dataset"):
        kind = _type(step)
        if kind in RESIZING:
            found = sides(step)
            if found is None or len(found.pairs) > 1:
                conversion.lack(step, "one size, in proportion, is tested at here")
                continue
            conversion.set("INPUT.MIN_SIZE_TEST", found.pairs[0][0], step)
            conversion.set("INPUT.MAX_SIZE_TEST", found.pairs[0][1], step)
        elif kind in USUAL:
            _usual(conversion, step)
        else:
            conversion.lack(step, NO_STEP)


ROWS: list[Row] = [_train, _test]

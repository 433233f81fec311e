"""What happens to images before the network sees them, by keys of INPUT: one table, in order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from detectron2.config import CfgNode
from detectron2.data import transforms as T

from hrnet_det.data.random_colours import COLOUR_FORMATS, RandomHue, RandomSaturation
from hrnet_det.data.random_geometry import (
    CropKeepingObjects,
    RandomRightAngle,
    RandomRotation,
    RandomVerticalFlip,
    ScaleJitter,
)
from hrnet_det.data.transforms import CropAroundObject, OneOf, opencv, with_resize_rule
from hrnet_det.errors import InputError
from hrnet_det.modeling.compat.conventions import get_conventions

FLIPS = ("none", "horizontal", "vertical", "both")


@dataclass(frozen=True)
class Step:
    """An augmentation of training.

    Args:
        key: of INPUT; None for resizing, which is always there.
        off: the key's value without it.
        build: makes it from a config.
        least, most, unit: what a number may be, and what it means.
        cuts: whether parts of objects may be lost, so that boxes follow what is left of masks.
        conflicts: keys of INPUT of other steps that it cannot go with.
    """

    key: str | None
    off: object
    build: Callable[[CfgNode], list[T.Augmentation]]
    least: float = 0
    most: float = 0
    unit: str = ""
    cuts: bool = False
    conflicts: tuple[str, ...] = ()

    def is_on(self, cfg: CfgNode) -> bool:
        return self.key is None or given(cfg, self.key) != self.off


def given(cfg: CfgNode, key: str) -> object:
    """The value of a key of INPUT, such as "AUGMENT.CROP"."""
    value = cfg.INPUT
    for name in key.split("."):
        value = value[name]
    return value


def _resizing(cfg: CfgNode) -> dict[str, object]:
    one_scale = get_conventions(cfg.MODEL.CONVENTIONS).one_scale
    return {"name": cfg.INPUT.RESIZE, "one_scale": one_scale}


def _resize(cfg: CfgNode) -> list[T.Augmentation]:
    options = cfg.INPUT
    if options.AUGMENT.SCALE_JITTER:
        return [ScaleJitter(*options.AUGMENT.SCALE_JITTER, *options.AUGMENT.SCALE_JITTER_SIZE)]
    how = _resizing(cfg) | {"crops": bool(options.CROP_TRAIN)}
    if options.SCALES_TRAIN:
        scales = [T.ResizeShortestEdge(*scale) for scale in options.SCALES_TRAIN]
        return [OneOf([with_resize_rule(scale, **how) for scale in scales])]
    sides = (options.MIN_SIZE_TRAIN, options.MAX_SIZE_TRAIN, options.MIN_SIZE_TRAIN_SAMPLING)
    return [with_resize_rule(T.ResizeShortestEdge(*sides), **how)]


def _rotate(cfg: CfgNode) -> list[T.Augmentation]:
    options = cfg.INPUT.AUGMENT
    return [RandomRotation(options.ROTATION, options.FILL, cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE)]


def _crop_or_pad(cfg: CfgNode) -> list[T.Augmentation]:
    options, ignored = cfg.INPUT.AUGMENT, cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
    size = tuple(options.SCALE_JITTER_SIZE)
    return [T.FixedSizeCrop(size, pad_value=options.FILL, seg_pad_value=ignored)]


def _flip(cfg: CfgNode) -> list[T.Augmentation]:
    flips = {"horizontal": T.RandomFlip(), "vertical": RandomVerticalFlip()}
    return [flip for name, flip in flips.items() if cfg.INPUT.RANDOM_FLIP in (name, "both")]


def _factor(cfg: CfgNode, key: str) -> tuple[float, float]:
    change = cfg.INPUT.AUGMENT[key]
    return 1 - change, 1 + change


_CROPS = ("CROP.ENABLED", "CROP_TRAIN", "AUGMENT.SCALE_JITTER")
_SHARE = "of the colours, from 0 (unchanged) to 1"
# fmt: off
STEPS = (
    Step("CROP.ENABLED", False,
         lambda cfg: [T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE)], cuts=True),
    Step("AUGMENT.CROP", 1.0,
         lambda cfg: [CropKeepingObjects(cfg.INPUT.AUGMENT.CROP, cfg.INPUT.AUGMENT.CROP_VISIBLE)],
         0.05, 1, "the least share of each side, 1 for no crop", cuts=True, conflicts=_CROPS),
    Step(None, None, _resize),
    Step("AUGMENT.BRIGHTNESS", 0.0, lambda cfg: [T.RandomBrightness(*_factor(cfg, "BRIGHTNESS"))],
         0, 1, _SHARE),
    Step("AUGMENT.CONTRAST", 0.0, lambda cfg: [T.RandomContrast(*_factor(cfg, "CONTRAST"))],
         0, 1, _SHARE),
    Step("AUGMENT.SATURATION", 0.0,
         lambda cfg: [RandomSaturation(*_factor(cfg, "SATURATION"), cfg.INPUT.FORMAT)],
         0, 1, _SHARE),
    Step("AUGMENT.HUE", 0.0, lambda cfg: [RandomHue(cfg.INPUT.AUGMENT.HUE, cfg.INPUT.FORMAT)],
         0, 180, "degrees on the colour circle, 0 for none"),
    Step("AUGMENT.ROTATION", 0.0, _rotate, 0, 180, "degrees, 0 for none", cuts=True),
    Step("CROP_TRAIN", [], lambda cfg: [CropAroundObject(cfg.INPUT.CROP_TRAIN)],
         conflicts=("CROP.ENABLED",)),
    Step("AUGMENT.SCALE_JITTER", [], _crop_or_pad, cuts=True,
         conflicts=("CROP_TRAIN", "SCALES_TRAIN")),
    Step("AUGMENT.RIGHT_ANGLES", 0.0,
         lambda cfg: [RandomRightAngle(cfg.INPUT.AUGMENT.RIGHT_ANGLES)], 0, 1, "a probability"),
    Step("RANDOM_FLIP", "none", _flip),
)
# fmt: on
# Keys of INPUT.AUGMENT that say more of a step, or are no step: what a number may be.
NUMBERS = {
    "CROP_VISIBLE": (0, 1, "the least share of each box inside the crop"),
    "COPY_PASTE": (0, 1, "a probability"),
    "FILL": (0, 255, "a level of grey"),
}


def build_augmentations(cfg: CfgNode, *, is_train: bool) -> list[T.Augmentation]:
    """The augmentations of training, or the resizing of test images."""
    options = cfg.INPUT
    if not is_train:
        resize = T.ResizeShortestEdge(options.MIN_SIZE_TEST, options.MAX_SIZE_TEST, "choice")
        return [with_resize_rule(resize, **_resizing(cfg))]
    return [augmentation for step in STEPS if step.is_on(cfg) for augmentation in step.build(cfg)]


def cuts_objects(cfg: CfgNode) -> bool:
    """Whether augmentations of training cut objects, so that boxes follow masks."""
    return any(step.cuts and step.is_on(cfg) for step in STEPS)


def check_augmentations(cfg: CfgNode) -> None:
    """Raises: InputError if a value of an augmentation's key is not possible, or two conflict."""
    options = cfg.INPUT
    rows = {step.key: (step.least, step.most, step.unit) for step in STEPS if step.unit}
    rows |= {f"AUGMENT.{key}": row for key, row in NUMBERS.items()}
    for key, (least, most, unit) in rows.items():
        if not least <= given(cfg, key) <= most:  # nan is not
            raise InputError(f"INPUT.{key} {given(cfg, key)}: {least:g} to {most:g}, {unit}")
    if options.RANDOM_FLIP not in FLIPS:
        raise InputError(f"INPUT.RANDOM_FLIP {options.RANDOM_FLIP}: one of {', '.join(FLIPS)}")
    _check_sizes("SCALES_TRAIN", options.SCALES_TRAIN, "[[600, 1000], [800, 1333]]")
    _check_sizes("CROP_TRAIN", [options.CROP_TRAIN] if options.CROP_TRAIN else [], "[800, 1200]")
    _check_jitter(options.AUGMENT)
    _check_crop(options.CROP)
    _check_conflicts(cfg)
    _check_copy_paste(cfg)


def _check_sizes(key: str, sizes: list, example: str) -> None:
    for pair in sizes:
        whole = isinstance(pair, (list, tuple)) and set(map(type, pair)) == {int}
        if not whole or len(pair) != 2 or not 0 < pair[0] <= pair[1]:
            raise InputError(
                f"INPUT.{key}: {pair} is no size: give the shorter and the longer side in "
                f"pixels, such as {example}"
            )


def _check_crop(options: CfgNode) -> None:
    """Detectron2's own crop: shares of the image, or pixels."""
    if options.ENABLED and options.TYPE.startswith("relative") and max(options.SIZE) > 1:
        raise InputError(
            f"INPUT.CROP.SIZE {options.SIZE} with INPUT.CROP.TYPE {options.TYPE}: shares of the "
            "image's height and width, at most 1 (pixels with absolute and absolute_range)"
        )
    if options.ENABLED and options.TYPE.startswith("absolute") and min(options.SIZE) < 1:
        raise InputError(
            f"INPUT.CROP.SIZE {options.SIZE} with INPUT.CROP.TYPE {options.TYPE}: height and width "
            "in pixels, at least 1 (shares of the image with relative and relative_range)"
        )


def _check_jitter(options: CfgNode) -> None:
    factors, size = options.SCALE_JITTER, options.SCALE_JITTER_SIZE
    numbers = all(type(factor) in (int, float) for factor in factors)
    if factors and not (numbers and len(factors) == 2 and 0 < factors[0] <= factors[1] < math.inf):
        raise InputError(
            f"INPUT.AUGMENT.SCALE_JITTER {factors}: the smallest and the largest factor, such as "
            "[0.1, 2.0], or [] for none"
        )
    if len(size) != 2 or not all(type(side) is int and side >= 32 for side in size):
        raise InputError(
            f"INPUT.AUGMENT.SCALE_JITTER_SIZE {size}: height and width in pixels, at least 32, "
            "such as [1024, 1024]"
        )


def _check_conflicts(cfg: CfgNode) -> None:
    steps = {step.key: step for step in STEPS}
    on = {key for key, step in steps.items() if key and step.is_on(cfg)}
    on |= {"SCALES_TRAIN"} if cfg.INPUT.SCALES_TRAIN else set()
    for key in (key for key in steps if key in on):
        for other in steps[key].conflicts:
            if other in on:
                raise InputError(
                    f"INPUT.{key} and INPUT.{other} both decide which part of an image is seen, or "
                    "at which size: set one"
                )
    if "AUGMENT.SCALE_JITTER" in on and cfg.INPUT.RESIZE != "pillow":
        raise InputError(
            "INPUT.AUGMENT.SCALE_JITTER resizes with INPUT.RESIZE pillow, not "
            f"{cfg.INPUT.RESIZE}: set one of them back"
        )
    for key in ("AUGMENT.SATURATION", "AUGMENT.HUE"):
        if key in on and cfg.INPUT.FORMAT not in COLOUR_FORMATS:
            raise InputError(
                f"INPUT.{key} changes colours, which INPUT.FORMAT {cfg.INPUT.FORMAT} has not: "
                f"set {' or '.join(COLOUR_FORMATS)}, or {key.split('.')[1]} 0"
            )
    if "AUGMENT.ROTATION" in on:
        opencv("INPUT.AUGMENT.ROTATION")


def _check_copy_paste(cfg: CfgNode) -> None:
    if not cfg.INPUT.AUGMENT.COPY_PASTE:
        return
    if not cfg.MODEL.MASK_ON:
        raise InputError(
            "INPUT.AUGMENT.COPY_PASTE pastes objects with their masks, which this detector does "
            "not learn: take a config with masks, or COPY_PASTE 0"
        )
    if cfg.MODEL.LOAD_PROPOSALS:
        raise InputError(
            "INPUT.AUGMENT.COPY_PASTE with MODEL.LOAD_PROPOSALS: the files have no proposals for "
            "pasted objects; set COPY_PASTE 0 or LOAD_PROPOSALS False"
        )

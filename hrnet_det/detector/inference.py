"""Images that have been read through a detector: as they are, or in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.structures import Instances
from torch import nn

from hrnet_det.data.pixels import Source
from hrnet_det.detector.batches import in_batches
from hrnet_det.detector.options import Wanted
from hrnet_det.detector.remarks import masks_remark, size_remark
from hrnet_det.detector.tiles import Found, Tile, Tiling, merged, placed, tiles_remark
from hrnet_det.modeling.inference.borrowed import least_score
from hrnet_det.modeling.inference.finite import images_are_named


class Pixels(NamedTuple):
    """An image as it has been read: what it is called in messages, and (H, W, C) uint8.

    Where it is made smaller for the network, its objects are wanted in the pixels of that size if
    `coarse` is set: masks of a large image would take gigabytes.
    """

    name: str
    array: np.ndarray
    coarse: bool = False


def name_of(source: Source) -> str:
    """What messages call an image."""
    return str(source) if isinstance(source, (str, Path)) else "the image"


def row_of(image: Pixels, mapper: DatasetMapper) -> dict:
    """What a detector is given of an image: it is resized as the mapper does."""
    height, width = image.array.shape[:2]
    given = T.AugInput(image.array)
    mapper.augmentations(given)
    channels = np.ascontiguousarray(given.image.transpose(2, 0, 1))
    resized = torch.as_tensor(channels.astype("float32"))
    if image.coarse and resized.shape[1] < height:
        height, width = resized.shape[1:]
    return {"image": resized, "height": height, "width": width, "file_name": image.name}


def _resized(size: tuple[int, int], steps: Sequence[T.Augmentation]) -> tuple[int, int]:
    """The height and width that an image of a size has after some steps, of which none is done."""
    for step in steps:
        made = step.get_transform(np.broadcast_to(np.uint8(0), (*size, 3)))
        size = (made.new_h, made.new_w) if isinstance(made, T.ResizeTransform) else size
    return size


@dataclass(frozen=True)
class Pass:
    """What a call of a detector does with its images.

    Args:
        model: in evaluation mode, with what is wanted of it set.
        mapper: resizes images.
        wanted, most: which objects, and how many of an image or tile.
        batch: images or tiles that the model is given together.
        masks: that the model predicts of an image or tile, at most.
        data: what the weights say of the images that they were trained on.
        remark: told a kind and a text, what a user may want to know.
        resizing: what the model does to images that the mapper leaves as they are.
    """

    model: nn.Module
    mapper: DatasetMapper
    wanted: Wanted
    most: int
    batch: int
    masks: int
    data: Mapping
    remark: Callable[[str, str], object]
    resizing: Sequence[T.Augmentation] = ()

    def objects(self, images: Iterable[Pixels]) -> list[Instances]:
        """The wanted objects of each image, in its pixels."""
        return self._each(images, lambda _, objects, __: objects)

    def in_tiles(self, images: Iterable[Pixels], tiling: Tiling) -> list[Instances]:
        """The same of images that are cut into tiles where one does not cover them."""
        return [self._in_tiles(image, tiling) for image in images]

    def _in_tiles(self, image: Pixels, tiling: Tiling) -> Instances:
        size = image.array.shape[:2]
        tiles = tiling.tiles(size)
        if len(tiles) == 1:
            return replace(self, most=self.wanted.most or self.most).objects([image])[0]
        tiles.append(Tile(0, 0, *size[::-1]))  # the whole image
        whole = len(tiles) - 1
        cuts = (
            Pixels(image.name, tile.of(image.array), coarse=number == whole)
            for number, tile in enumerate(tiles)
        )

        def then(number: int, objects: Instances, resized: tuple[int, int]) -> Found:
            self.remark("tiles", tiles_remark(tiles, resized))
            return placed(objects, tiles[number], size)

        # Of an object that is whole in a tile, cut parts may score more: the least is asked for
        # after they have become one; SAHI asks before, and its way depends on that.
        after = tiling.merge != "sahi"
        wanted = replace(self.wanted, score=None) if after else self.wanted
        parts = replace(self, wanted=wanted)._each(cuts, then, what="a tile")
        score = max(self.wanted.score or 0, least_score(self.model))
        found = merged(parts, tiles, size, tiling, score=score, most=self.wanted.most)
        if self.wanted.most:
            self._remark_number("an image", len(found), self.wanted.most)
        return found

    @torch.no_grad()
    def _each(
        self,
        images: Iterable[Pixels],
        then: Callable[[int, Instances, tuple[int, int]], object],
        *,
        what: str = "an image",
    ) -> list:
        """What `then` makes of each image's number, its objects, and its resized size."""
        found: dict[int, object] = {}
        rows = ((image, row_of(image, self.mapper)) for image in images)
        shaped = ((row["image"].shape, (image, row)) for image, row in rows)
        for group in in_batches(shaped, size=self.batch):
            if self.masks:
                for _, (_, row) in group:
                    size = row["height"], row["width"]
                    self.remark("masks", masks_remark(size, self.masks))
            with images_are_named(self.model):
                results = self.model([row for _, (_, row) in group])
            for (number, (image, row)), result in zip(group, results, strict=True):
                objects = self.wanted.of(result["instances"].to("cpu"))[: self.most]
                resized = _resized(tuple(row["image"].shape[1:]), self.resizing)
                if not image.coarse:
                    sizes, fixed = (image.array.shape[:2], resized), bool(self.resizing)
                    text = size_remark(self.data, *sizes, fixed=fixed)
                    self.remark("size", text)
                    self._remark_number(what, len(objects), self.most)
                found[number] = then(number, objects, resized)
        return [found[number] for number in range(len(found))]

    def _remark_number(self, what: str, count: int, most: int) -> None:
        if count >= most:
            text = (
                f"{what} has {count} objects, as many as are given at most: there may be more "
                "(--max-detections, or max_detections=...)"
            )
            self.remark("detections", text)

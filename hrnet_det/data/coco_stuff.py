"""COCO-stuff's pixel maps: the 183 classes that Hybrid Task Cascade was published with."""

from __future__ import annotations

import os
from pathlib import Path

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from hrnet_det.errors import MissingInputError

FOLDER = "stuffthingmaps"  # below coco/
STUFF_THING = tuple(f"coco_2017_{split}_stuffthing" for split in ("train", "val"))
THINGS = tuple(row["name"] for row in COCO_CATEGORIES if row["isthing"])
# A map's label is the category's id less 1; 255 is no label. Ids 12, 26, 29, 30, 45, 66, 68, 69,
# 71, 83 and 91 were dropped from COCO, and no pixel has them.
# Source: labels.txt of https://github.com/nightrome/cocostuff.
_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
street sign, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear,
zebra, giraffe, hat, backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis,
snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket,
bottle, plate, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, mirror, dining
table, window, desk, toilet, door, tv, laptop, mouse, remote, keyboard, cell phone, microwave,
oven, toaster, sink, refrigerator, blender, book, clock, vase, scissors, teddy bear, hair drier,
toothbrush, hair brush, banner, blanket, branch, bridge, building-other, bush, cabinet, cage,
cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard,
curtain, desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile,
floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill,
house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement,
pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof,
rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete,
wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind,
window-other, wood
"""
# Published detectors have one class more, of which there is no pixel.
CLASSES = (*(name.strip() for name in _NAMES.replace("\n", " ").split(",")), "unlabeled")


def with_maps(rows: list[dict], folder: str | Path) -> list[dict]:
    """Rows of a dataset with "sem_seg_file_name", FOLDER/NAME.png for the image NAME.jpg.

    Raises: MissingInputError if maps are missing (the message has how many, and the first).
    """
    there = {entry.name for entry in os.scandir(folder)} if os.path.isdir(folder) else set()
    names = [f"{Path(row['file_name']).stem}.png" for row in rows]
    if missing := [name for name in names if name not in there]:
        raise MissingInputError(
            f"{folder}: the maps of semantic labels of {len(missing)} of {len(rows)} images are "
            f"missing, such as {missing[0]}: one is needed for each image, of its name"
        )
    return [
        {**row, "sem_seg_file_name": os.path.join(folder, name)}
        for row, name in zip(rows, names, strict=True)
    ]

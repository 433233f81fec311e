"""A small dataset with each kind of warning of `hrnet-det check-data`, whose ids are known."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 120, 160  # pixels of every image
HOSTILE = "<script>alert(1)<!-- 2.png"
CATEGORIES = [
    {"id": 1, "name": "car"},
    {"id": 3, "name": "<b>sign</b> $x$"},
    {"id": 4, "name": "person", "keypoints": ["head", "foot"]},
    {"id": 9, "name": "never"},
]


def rectangle(x, y, width, height):
    return [x, y, x + width, y, x + width, y + height, x, y + height]


class Content:
    """A json that is made row by row."""

    def __init__(self, *names):
        self.images = [
            {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH}
            for i, name in enumerate(names, start=1)
        ]
        self.annotations = []

    def add(self, image, box, category=1, mask=None, **keys):
        """An object more, by default with its box as its mask; its id counts from 1."""
        row = {"id": len(self.annotations) + 1, "image_id": image, "category_id": category}
        row |= {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        self.annotations.append(row | {"segmentation": mask or [rectangle(*box)]} | keys)

    def write(self, path):
        parts = {"images": self.images, "annotations": self.annotations, "categories": CATEGORIES}
        path.write_text(json.dumps(parts))


def write_image(path, seed):
    """Noise that is another one for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_suspect_data(folder: Path) -> None:
    """train.json, val.json and images/."""
    images = folder / "images"
    images.mkdir()
    names = ["1.png", HOSTILE, "3.png", "4.png", "5.png"]
    for seed, name in enumerate(names[:4]):
        write_image(images / name, seed)
    (images / "5.png").write_bytes((images / "1.png").read_bytes())
    Image.open(images / "3.png").save(images / "same.bmp")
    write_image(images / "new.png", 99)
    train = Content(*names)
    for image in (1, 2, 3, 4, 5):
        train.add(image, [10, 10, 40, 40])  # 1 to 5
    train.add(2, [60, 60, 40, 40], mask=[rectangle(60, 60, 1, 40)])  # 6: 40 pixels, a 40th
    train.add(2, [110, 60, 40, 40], mask=[rectangle(110, 60, 40, 0.3)])  # 7: 12 pixels, a 133rd
    flat = [rectangle(60, 60, 40, 40), [60, 60, 70, 70, 80, 80]]
    train.add(3, [60, 60, 40, 40], 3, mask=flat)  # 8
    for y, foot in ((60, 161), (90, 105), (10, 103)):  # 9: 1 outside; 10, 11: 5 and 3 beside
        points = [70, y + 5, 2, foot, y + 5, 1]
        train.add(4, [60, y, 40, 20], 4, keypoints=points, num_keypoints=2)
    train.write(folder / "train.json")
    test = Content("same.bmp", "new.png")
    test.add(1, [10, 10, 40, 40])
    test.add(2, [10, 10, 40, 40], 9)
    test.write(folder / "val.json")

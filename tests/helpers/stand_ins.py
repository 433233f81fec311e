"""Tiny datasets in the formats of Pascal VOC and LVIS, registered as Detectron2 registers those."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import (
    get_lvis_instances_meta,
    register_lvis_instances,
    register_pascal_voc,
)
from PIL import Image

HEIGHT, WIDTH = 64, 96  # pixels, of every image
COUNT = 4  # images
CLASSES = ("disc", "bar")  # of the VOC stand-in
LVIS_IDS = (3, 5, 8)  # of the categories; one each is rare, common, frequent
XML = """<annotation>
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}
</annotation>
"""
XML_OBJECT = """
  <object>
    <name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>
    <bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>
  </object>"""


def boxes(number: int) -> list[list[int]]:
    """[x0, y0, x1, y1] in pixels of the objects of an image, one of each class."""
    return [[4 + number, 6, 34 + number, 30], [50, 20 + number, 90, 50 + number], [4, 40, 30, 60]]


def paint(path: Path, objects: list[list[int]]) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 70, np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(objects):
        image[y0:y1, x0:x1, number] = 220
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_voc(
    folder: Path, splits: Sequence[str] = ("val",), classes: Sequence[str] = CLASSES
) -> None:
    """A folder such as VOC2007, with the same images in each split."""
    for part in ("Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    names = [f"{number:06d}" for number in range(COUNT)]
    for split in splits:
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))
    for number, name in enumerate(names):
        objects = boxes(number)[:2]
        paint(folder / "JPEGImages" / f"{name}.jpg", objects)
        rows = [
            XML_OBJECT.format(x0 + 1, y0 + 1, x1, y1, name=kind)  # VOC counts pixels from 1
            for kind, (x0, y0, x1, y1) in zip(classes, objects, strict=False)
        ]
        text = XML.format(width=WIDTH, height=HEIGHT, objects="".join(rows))
        (folder / "Annotations" / f"{name}.xml").write_text(text)


def write_lvis(folder: Path) -> None:
    """lvis_v1.json and the images, which lie as COCO's do."""
    images, annotations = [], []
    for number in range(1, COUNT + 1):
        url = f"http://images.cocodataset.org/train2017/{number}.png"
        sizes = {"height": HEIGHT, "width": WIDTH}
        known = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
        images.append({"id": number, "coco_url": url, **sizes, **known})
        objects = boxes(number)
        paint(folder / "train2017" / f"{number}.png", objects)
        for category, (x0, y0, x1, y1) in zip(LVIS_IDS, objects, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                }
            )
    categories = [
        {"id": i, "name": f"class {i}", "frequency": f, "image_count": COUNT}
        for i, f in zip(LVIS_IDS, "rcf", strict=True)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "lvis_v1.json").write_text(json.dumps(content))


@contextmanager
def registered_voc(folder: Path, year: int = 2007) -> Iterator[str]:
    """The name of the VOC stand-in, which is registered in this block."""
    write_voc(folder)
    register_pascal_voc("voc_tiny", str(folder), "val", year, CLASSES)
    MetadataCatalog.get("voc_tiny").evaluator_type = "pascal_voc"
    yield from _registered("voc_tiny")


@contextmanager
def registered_lvis(folder: Path) -> Iterator[str]:
    """The name of the LVIS stand-in, which is registered in this block."""
    write_lvis(folder)
    metadata = get_lvis_instances_meta("lvis_v1")
    register_lvis_instances("lvis_v1_tiny", metadata, str(folder / "lvis_v1.json"), f"{folder}/")
    yield from _registered("lvis_v1_tiny")


def _registered(name: str) -> Iterator[str]:
    try:
        yield name
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)

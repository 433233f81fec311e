"""COCO 2017 and Cityscapes as they are laid out, with a small image or two a split."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import builtin, builtin_meta
from helpers.tiny import REPO, write_json
from PIL import Image
from safetensors.torch import save_file
from timm.models import hrnet as timm_hrnet

from hrnet_det.data import coco_stuff
from hrnet_det.data.registration import register_coco_stuff
from hrnet_det.modeling.backbone.variants import VARIANTS

HEIGHT, WIDTH = 96, 128  # pixels
SPLITS = {"train": (9, 25), "val": (139, 285)}  # ids of the images
# Category ids and boxes [x, y, w, h] of an image's objects, and of what is around them.
OBJECTS = ((1, [8, 10, 40, 60]), (3, [60, 20, 50, 30]), (90, [70, 60, 40, 30]))
TREE, GRASS = 184, 193  # panoptic categories of stuff
THINGS = [
    {"id": c["id"], "name": c["name"], "supercategory": "thing"}
    for c in builtin_meta.COCO_CATEGORIES
    if c["isthing"]
]
PERSON = {
    **THINGS[0],
    "keypoints": list(builtin_meta.COCO_PERSON_KEYPOINT_NAMES),
    "skeleton": [[16, 14], [14, 12]],
}
CAR = np.s_[60:90, 20:60]  # of Cityscapes' images
SHALLOW = {"stage1_blocks": 1, "blocks": 1, "modules": (1, 2, 1)}
COLOURS = ((220, 60, 40), (40, 90, 220), (230, 210, 50))


def write_coco(root: Path) -> None:
    """root/coco with the images, instances, keypoints and panoptic annotations of both splits."""
    for split, numbers in SPLITS.items():
        images = [_image(root / "coco" / f"{split}2017", number) for number in numbers]
        rows = [_annotations(number) for number in numbers]
        objects = [row for rows_of_image in rows for row in rows_of_image]
        people = [row | _keypoints(row) for row in objects if row["category_id"] == 1]
        for name, annotations, categories in (
            ("instances", objects, THINGS),
            ("person_keypoints", people, [PERSON]),
        ):
            content = {"images": images, "annotations": annotations, "categories": categories}
            write_json(root / "coco" / "annotations" / f"{name}_{split}2017.json", content)
        _write_panoptic(root / "coco", split, images)
        _write_stuff_maps(root / "coco" / coco_stuff.FOLDER / f"{split}2017", images)


def write_semantic_labels(root: Path) -> None:
    """root/coco/panoptic_stuff_*, by the command of datasets/README.md."""
    command = [sys.executable, REPO / "datasets" / "prepare_panoptic.py", "--root", root]
    subprocess.run(command, check=True, capture_output=True)


def _image(folder: Path, number: int) -> dict:
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[HEIGHT // 2 :] = (50, 140, 60)
    for (_, (x, y, w, h)), colour in zip(OBJECTS, COLOURS, strict=True):
        image[y : y + h, x : x + w] = colour
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{number:012d}.jpg"
    Image.fromarray(image).save(folder / name)
    return {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}


def _annotations(number: int) -> list[dict]:
    return [
        {
            "id": 10 * number + n,
            "image_id": number,
            "category_id": category,
            "bbox": [x, y, w, h],
            "area": w * h,
            "iscrowd": 0,
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        }
        for n, (category, (x, y, w, h)) in enumerate(OBJECTS)
    ]


def _keypoints(row: dict) -> dict:
    x, y, w, h = row["bbox"]
    count = len(PERSON["keypoints"])
    points = [(x + w * k // count, y + h * k // count, 2) for k in range(count)]
    return {"keypoints": [value for point in points for value in point], "num_keypoints": count}


def _write_panoptic(coco: Path, split: str, images: list[dict]) -> None:
    folder = coco / f"panoptic_{split}2017"
    folder.mkdir()
    segments = [(TREE, [0, 0, WIDTH, HEIGHT // 2]), (GRASS, [0, HEIGHT // 2, WIDTH, HEIGHT])]
    segments += OBJECTS
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, (_, (x, y, w, h)) in enumerate(segments, start=1):
        ids[y : y + h, x : x + w] = number
    info = [
        {"id": number, "category_id": category, "iscrowd": 0, "area": int((ids == number).sum())}
        for number, (category, _) in enumerate(segments, start=1)
    ]
    annotations = []
    for image in images:
        name = Path(image["file_name"]).with_suffix(".png").name
        Image.fromarray(np.dstack([ids, 0 * ids, 0 * ids])).save(folder / name)
        row = {"image_id": image["id"], "file_name": name, "segments_info": info}
        annotations.append(row)
    categories = [
        {key: c[key] for key in ("id", "name", "isthing")} for c in builtin_meta.COCO_CATEGORIES
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(coco / "annotations" / f"panoptic_{split}2017.json", content)


def _write_stuff_maps(folder: Path, images: list[dict]) -> None:
    """COCO-stuff's maps of pixels: categories of objects less 1, and 255 for no label."""
    folder.mkdir(parents=True)
    labels = np.full((HEIGHT, WIDTH), 255, np.uint8)
    labels[: HEIGHT // 2] = coco_stuff.CLASSES.index("tree")
    for category, (x, y, w, h) in OBJECTS:
        labels[y : y + h, x : x + w] = category - 1
    for image in images:
        Image.fromarray(labels).save(folder / Path(image["file_name"]).with_suffix(".png").name)


def write_cityscapes(root: Path) -> None:
    """root/cityscapes with an image of road, sky and a car in each split."""
    number_of = {label.name: (label.id, label.trainId) for label in cityscapes_labels}
    for split, city in (("train", "aachen"), ("val", "lindau")):
        stem = f"{city}_000000_000019"
        images = root / "cityscapes" / "leftImg8bit" / split / city
        truth = root / "cityscapes" / "gtFine" / split / city
        for folder in (images, truth):
            folder.mkdir(parents=True)
        image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        image[: HEIGHT // 2] = (120, 180, 240)
        Image.fromarray(image).save(images / f"{stem}_leftImg8bit.png")
        for kind, column in (("labelIds", 0), ("instanceIds", 0), ("labelTrainIds", 1)):
            label = np.full((HEIGHT, WIDTH), number_of["road"][column], np.uint16)
            label[: HEIGHT // 2] = number_of["sky"][column]
            label[CAR] = number_of["car"][column] * (1000 if kind == "instanceIds" else 1)
            label = label if kind == "instanceIds" else label.astype(np.uint8)
            Image.fromarray(label).save(truth / f"{stem}_gtFine_{kind}.png")
        content = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": []}
        (truth / f"{stem}_gtFine_polygons.json").write_text(json.dumps(content))
        _write_city_segments(truth.parents[1], split, stem)


def _write_city_segments(folder: Path, split: str, stem: str) -> None:
    """What cityscapesscripts' createPanopticImgs.py writes: ids of pixels, and a json."""
    name = f"cityscapes_panoptic_{split}"
    (folder / name).mkdir()
    numbers = {label.name: label.id for label in cityscapes_labels}
    ids = np.full((HEIGHT, WIDTH), numbers["road"])
    ids[: HEIGHT // 2] = numbers["sky"]
    ids[CAR] = 1000 * numbers["car"]
    pixels = np.dstack([ids % 256, ids // 256, 0 * ids]).astype(np.uint8)
    Image.fromarray(pixels).save(folder / name / f"{stem}_gtFine_panoptic.png")
    segments = [
        {"id": int(n), "category_id": int(n if n < 1000 else n // 1000), "iscrowd": 0}
        | {"area": int((ids == n).sum())}
        for n in np.unique(ids)
    ]
    file = f"{stem}_gtFine_panoptic.png"
    categories = [
        {"id": label.id, "name": label.name, "isthing": int(label.hasInstances)}
        for label in cityscapes_labels
        if not label.ignoreInEval
    ]
    content = {
        "images": [{"id": stem, "width": WIDTH, "height": HEIGHT}],
        "annotations": [{"image_id": stem, "file_name": file, "segments_info": segments}],
        "categories": categories,
    }
    write_json(folder / f"{name}.json", content)


@contextmanager
def datasets_at(root: Path) -> Iterator[None]:
    """Detectron2's own datasets below another folder, as DETECTRON2_DATASETS would have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root))
        for catalog in (DatasetCatalog, MetadataCatalog):
            patch.setattr(catalog, "data", {}, raising=True)
        builtin.register_all_coco(str(root))
        register_coco_stuff()
        builtin.register_all_cityscapes(str(root))
        builtin.register_all_cityscapes_panoptic(str(root))
        builtin.register_all_pascal_voc(str(root))
        yield


@contextmanager
def stand_in_hub(folder: Path) -> Iterator[None]:
    """Hugging Face's hub with timm's HRNets, whose values are random.

    They have the variants' channels and fewer blocks and modules, which all of hrnet_det then has.
    """

    def download(repository: str, file: str) -> str:
        assert file == "model.safetensors", file
        path = folder / repository / file
        if not path.is_file():
            path.parent.mkdir(parents=True)
            model = timm.create_model(repository.removeprefix("timm/"), pretrained=False).train()
            for module in model.modules():  # trained ones have statistics that fit their weights
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = None
            model(torch.randn(2, 3, 128, 128))
            save_file(model.state_dict(), path)
        return str(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub, "hf_hub_download", download)
        patch.setattr(huggingface_hub, "try_to_load_from_cache", download)
        for name, whole in VARIANTS.items():
            patch.setitem(VARIANTS, name, replace(whole, **SHALLOW))
        for name, whole in timm_hrnet.cfg_cls.items():
            patch.setitem(timm_hrnet.cfg_cls, name, _shallow(whole))
        yield


def _shallow(numbers: dict) -> dict:
    """timm's description of an HRNet, with the blocks and modules of SHALLOW."""
    blocks = [SHALLOW["stage1_blocks"], *[SHALLOW["blocks"]] * 3]
    stages = zip(range(1, 5), (1, *SHALLOW["modules"]), blocks, strict=True)
    return numbers | {
        f"stage{s}": numbers[f"stage{s}"] | {"num_modules": modules, "num_blocks": (each,) * s}
        for s, modules, each in stages
    }

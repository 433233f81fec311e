"""What the dataloaders of a config read: jsons, images, and how often in an epoch."""

from __future__ import annotations

import os
from typing import NamedTuple

from detectron2.data.datasets import builtin

from hrnet_det.convert_config.conversion import Conversion
from hrnet_det.convert_config.nodes import Node, children, plain

JSON = "a json in COCO's format is needed: DATASETS.CUSTOM.TRAIN_JSON, TRAIN_IMAGES, or --data"


class Split(NamedTuple):
    """What a dataloader reads.

    Args:
        node: its dataset. times: how often an epoch goes through it.
        json, images, maps: paths; "" where there is none.
    """

    node: Node
    times: int
    json: str
    images: str
    maps: str

    @property
    def coco_name(self) -> str:
        """Detectron2's name of the dataset; "" for one of the user's own."""
        for name, (images, path) in builtin._PREDEFINED_SPLITS_COCO["coco"].items():
            if _ends(self.json, path) and _ends(self.images, images):
                return name
        return ""

    @property
    def coco_root(self) -> str:
        """The folder above coco/."""
        return os.path.normpath(self.json).rpartition("coco/")[0].rstrip("/") or "."


def _ends(path: str, end: str) -> bool:
    return f"/{os.path.normpath(path)}".endswith(f"/{end}")


def split_of(conversion: Conversion, loader: str) -> Split | None:
    """The dataset of a dataloader; wrappers that repeat or choose are followed and told."""
    node, times = conversion.find(f"{loader}.dataset"), 1
    while node is not None and (kind := plain(node).get("type")) and kind != "CocoDataset":
        conversion.use(node.find("type"))
        inner = node.find("dataset")
        if kind == "RepeatDataset":
            times *= conversion.value(f"{node.name}.times", 1)
            conversion.use(node.find("times"))
        elif kind == "ClassBalancedDataset":
            _class_balanced(conversion, node)
        elif kind == "ConcatDataset":
            inner = _only(conversion, node)
        elif inner is None:
            conversion.lack(node, f"{kind}: {JSON}")
            return None
        else:
            conversion.lack(node.find("type"), "there is no such wrapper of datasets here")
        node = inner
    if node is None:
        return None
    conversion.use(node.find("type"))
    return _paths(conversion, node, times)


def _class_balanced(conversion: Conversion, node: Node) -> None:
    threshold = node.find("oversample_thr")
    conversion.set("DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler", node.find("type"))
    if threshold is not None:
        conversion.set("DATALOADER.REPEAT_THRESHOLD", float(threshold.value), threshold)


def _only(conversion: Conversion, node: Node) -> Node | None:
    """The first of several datasets; the others are told."""
    several = list(children(node.find("datasets"))) if node.find("datasets") else []
    for other in several[1:]:
        conversion.lack(other, "one json for each split is here: join them (pycocotools, COCO)")
    return several[0] if several else None


def _paths(conversion: Conversion, node: Node, times: int) -> Split:
    root = node.find("data_root")
    json_file, prefix = node.find("ann_file"), node.find("data_prefix")
    parts = plain(prefix) if prefix is not None and prefix.value is not None else {}
    parts = parts if isinstance(parts, dict) else {"img": parts}
    conversion.use(root, json_file, prefix)

    def joined(path: object) -> str:
        above = root.value if root is not None and root.value else ""
        return os.path.join(above, str(path)) if path else ""

    if isinstance(json_file and json_file.value, (list, tuple)):
        conversion.lack(json_file, "one json for each split is here: join them")
    path = str(plain(json_file)) if json_file is not None else ""
    images = joined(parts.get("img") or parts.get("img_path")) or (root and str(root.value)) or ""
    maps = joined(parts.get("seg") or parts.get("seg_map_path"))
    return Split(node, times, joined(path), images, maps)

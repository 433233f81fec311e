"""What the dataloaders of a config read: jsons, images, and how often in an epoch."""

from __future__ import annotations

import os
from typing import NamedTuple

from detectron2.data.datasets import builtin

from hrnet_det.convert_config.conversion import Conversion
from hrnet_det.convert_config.nodes import Node, children, plain

KNOWN = ("CocoDataset", "None")
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
    """What a dataloader reads, found once; None where it has no dataset that can be read here."""
    if loader not in conversion.splits:
        node = conversion.find(f"{loader}.dataset")
        conversion.splits[loader] = None if node is None else _found(conversion, node)
    return conversion.splits[loader]


def _found(conversion: Conversion, node: Node | None, times: int = 1) -> Split | None:
    """The innermost dataset; wrappers that repeat or choose are followed and told."""
    if node is None:
        return None
    kind, inner = str(plain(node).get("type")), node.find("dataset")
    conversion.use(node.find("type"))
    if kind == "RepeatDataset":
        count = node.find("times")
        conversion.use(count)
        return _found(conversion, inner, times * (1 if count is None else count.value))
    if kind == "ClassBalancedDataset":
        _class_balanced(conversion, node)
        return _found(conversion, inner, times)
    if kind == "ConcatDataset":
        return _found(conversion, _only(conversion, node), times)
    if inner is not None:
        conversion.lack(node.find("type"), "there is no such wrapper of datasets here")
        return _found(conversion, inner, times)
    split = _paths(conversion, node, times)
    if not split.json.endswith(".json"):
        conversion.lack(node.find("type") or node, JSON)
        conversion.use(node)
        return None
    if kind not in KNOWN:
        conversion.remarks.append(f"{kind}: {split.json} is taken as a json in COCO's format.")
    return split


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

    path = plain(json_file) if json_file is not None else ""
    if isinstance(path, (list, tuple)):  # of version 2, with as many folders
        conversion.lack(json_file, "one json for each split is here: join them; the first is taken")
        path = path[0] if path else ""
        parts = {k: v[0] if isinstance(v, (list, tuple)) and v else v for k, v in parts.items()}
    images = joined(parts.get("img") or parts.get("img_path")) or (root and str(root.value)) or ""
    maps = joined(parts.get("seg") or parts.get("seg_map_path"))
    return Split(node, times, joined(path), images, maps)

"""Version 3's layout of a config while it is filled, and the data of version 2 in it."""

from __future__ import annotations

from hrnet_det.convert_config.nodes import Node, children, from_plain


class Layout:
    """Version 3's layout while it is filled."""

    def __init__(self, root: Node) -> None:
        self.root, self.old = Node({}, root.place), dict(root.value)

    def put(self, path: str, node: Node | None) -> None:
        """Let a path of version 3 have a value of the old config."""
        if node is None:
            return
        *groups, last = path.split(".")
        place = self.root
        for group in groups:
            place = place.value.setdefault(group, Node({}, node.place, node.name))
        place.value[last] = node

    def pop(self, name: str) -> Node | None:
        return self.old.pop(name, None)


def put_data(layout: Layout) -> None:
    data = layout.pop("data")
    if data is None:
        return
    for split in ("train", "val", "test"):
        loader = f"{split}_dataloader"
        own = data.find(loader)
        for old, new in (("samples_per_gpu", "batch_size"), ("workers_per_gpu", "num_workers")):
            node = own.find(old) if own is not None else None
            layout.put(f"{loader}.{new}", node or (data.find(old) if split == "train" else None))
        dataset = data.find(split)
        if dataset is not None:
            layout.put(f"{loader}.dataset", _dataset(dataset, layout, train=split == "train"))
    # Version 2 groups images by their shape by itself.
    sampler = from_plain({"type": "AspectRatioBatchSampler"}, data.place)
    layout.put("train_dataloader.batch_sampler", sampler)


def _dataset(node: Node, layout: Layout, *, train: bool) -> Node:
    """A dataset, or wrappers around one, with version 3's names."""
    values = dict(node.value) if isinstance(node.value, dict) else {}
    for name in ("dataset", "datasets"):
        if name in values:
            inner = values[name]
            if isinstance(inner.value, (list, tuple)):
                parts = [_dataset(part, layout, train=train) for part in inner.value]
                values[name] = Node(parts, inner.place, inner.name)
            else:
                values[name] = _dataset(inner, layout, train=train)
            return Node(values, node.place, node.name)
    prefixes = {
        new: values.pop(old)
        for old, new in (("img_prefix", "img"), ("seg_prefix", "seg"))
        if old in values
    }
    if prefixes:
        first = next(iter(prefixes.values()))
        values["data_prefix"] = Node(prefixes, first.place, first.name)
    if "classes" in values:
        names = values.pop("classes")
        values["metainfo"] = Node({"classes": names}, names.place, names.name)
    keeps = values.pop("filter_empty_gt", None) or from_plain(True, node.place)
    filters = {"filter_empty_gt": keeps, "min_size": from_plain(32, node.place)}
    values["filter_cfg"] = Node(filters, keeps.place, keeps.name)
    if "pipeline" in values:
        pipeline = values["pipeline"]
        steps = _steps(list(children(pipeline)), layout)
        values["pipeline"] = Node(steps, pipeline.place, pipeline.name)
    return Node(values, node.place, node.name)


def _steps(steps: list[Node], layout: Layout) -> list[Node]:
    """The steps of a pipeline with version 3's names; Normalize becomes the preprocessor's."""
    found: list[Node] = []
    for step in steps:
        kind = step.find("type").value if step.find("type") is not None else ""
        values = dict(step.value)
        if kind == "Normalize":
            for old, new in (("mean", "mean"), ("std", "std"), ("to_rgb", "bgr_to_rgb")):
                node = values.get(old)
                default = from_plain(True, step.place) if old == "to_rgb" else None
                layout.put(f"model.data_preprocessor.{new}", node or default)
            continue
        if kind == "MultiScaleFlipAug":
            inner = list(children(values["transforms"])) if "transforms" in values else []
            scale = values.get("img_scale")
            inner = [_with_scale(part, scale) for part in inner if _kind(part) != "RandomFlip"]
            found += _steps(inner, layout)
            if (flips := values.get("flip")) is not None and flips.value:
                found.append(Node({"type": values["type"]}, flips.place, flips.name))
            continue
        if kind == "Pad" and (divisor := values.get("size_divisor")) is not None:
            layout.put("model.data_preprocessor.pad_size_divisor", divisor)
        if kind == "RandomFlip" and "flip_ratio" in values:
            values["prob"] = values.pop("flip_ratio")
        found.append(Node(values, step.place, step.name))
    return found


def _kind(step: Node) -> str:
    node = step.find("type")
    return str(node.value) if node is not None else ""


def _with_scale(step: Node, scale: Node | None) -> Node:
    if _kind(step) != "Resize" or scale is None:
        return step
    return Node({**step.value, "img_scale": scale}, step.place, step.name)

"""The rows of the data: COCO by Detectron2's names, and the user's jsons by their paths."""

from __future__ import annotations

from hrnet_det.convert_config.classes import CLASS_COUNTS, COCO_CLASSES, compare_classes
from hrnet_det.convert_config.conversion import Conversion, Row, always, rows_of, same, unneeded
from hrnet_det.convert_config.nodes import plain
from hrnet_det.convert_config.splits import Split, split_of
from hrnet_det.modeling.kinds import KINDS

EVALUATOR = ("ann_file", "metric", "format_only", "backend_args", "classwise", "outfile_prefix")
STUFFTHING = "coco_2017_train_stuffthing"  # COCO's objects with the maps of stuff and things


@rows_of(
    "train_dataloader.dataset.ann_file train_dataloader.dataset.data_prefix "
    "val_dataloader.dataset.ann_file val_dataloader.dataset.data_prefix",
    "DATASETS.TRAIN DATASETS.TEST DATASETS.CUSTOM.TRAIN_JSON DATASETS.CUSTOM.TRAIN_IMAGES "
    "DATASETS.CUSTOM.TEST_JSON DATASETS.CUSTOM.TEST_IMAGES",
    "COCO by its names, own data by paths",
)
def _data(conversion: Conversion) -> None:
    train = split_of(conversion, "train_dataloader")
    test = split_of(conversion, "val_dataloader") or split_of(conversion, "test_dataloader")
    names = [split.coco_name if split else "" for split in (train, test)]
    if all(split is None or name for split, name in zip((train, test), names, strict=True)):
        for split, name, key in zip((train, test), names, ("TRAIN", "TEST"), strict=True):
            if split is not None:
                name = STUFFTHING if split.maps and name == "coco_2017_train" else name
                conversion.set(f"DATASETS.{key}", [name], split.node.find("ann_file"))
        _check_coco_classes(conversion)
        if train is not None:
            conversion.remarks.append(
                "COCO is looked for in $DETECTRON2_DATASETS/coco: for this config's set "
                f"DETECTRON2_DATASETS={train.coco_root}"
            )
    else:
        for split, key in ((train, "TRAIN"), (test, "TEST")):
            if split is not None:
                source = split.node.find("ann_file")
                conversion.set(f"DATASETS.CUSTOM.{key}_JSON", split.json, source)
                if split.maps:
                    conversion.lack(split.node.find("data_prefix"), MAPS)
                images = split.node.find("data_prefix")
                conversion.set(f"DATASETS.CUSTOM.{key}_IMAGES", split.images, images)
        compare_classes(conversion, train)
    _other_test(conversion, test)


MAPS = (
    "maps of pixels are of COCO's train2017 here: register a dataset with sem_seg_file_name in "
    "Python, or train with MODEL.HTC.SEMANTIC_ON False"
)


def _check_coco_classes(conversion: Conversion) -> None:
    """Of COCO's classes all are learned here."""
    count = next((conversion.values[k] for k in CLASS_COUNTS if k in conversion.values), None)
    for split in (
        conversion.splits.get("train_dataloader"),
        conversion.splits.get("val_dataloader"),
    ):
        if split is not None:
            conversion.use(split.node.find("metainfo"))
    if count is not None and count.value != COCO_CLASSES and count.sources:
        conversion.lack(
            count.sources[0],
            f"the json has {COCO_CLASSES} categories, all of which are learned here: name one with "
            "the others left out, as DATASETS.CUSTOM.TRAIN_JSON and TEST_JSON",
        )


def _other_test(conversion: Conversion, test: Split | None) -> None:
    """A test set beside the validation set."""
    node = conversion.find("test_dataloader")
    other = split_of(conversion, "test_dataloader") if node is not None else None
    if other is not None and test is not None:
        if (other.json, other.images) != (test.json, test.images):
            conversion.lack(
                other.node.find("ann_file") or other.node,
                "the validation set is evaluated on here; for this one train with --eval-only and "
                f"DATASETS.CUSTOM.TEST_JSON {other.json} TEST_IMAGES {other.images}",
            )
        conversion.use(node)


@rows_of(
    "train_dataloader.dataset.filter_cfg.filter_empty_gt", "DATALOADER.FILTER_EMPTY_ANNOTATIONS"
)
def _filter(conversion: Conversion) -> None:
    train = split_of(conversion, "train_dataloader")
    if train is None:
        return
    options = train.node.find("filter_cfg")
    given = options.find("filter_empty_gt") if options is not None else None
    conversion.use(options)
    keeps = given is None or not given.value
    conversion.set("DATALOADER.FILTER_EMPTY_ANNOTATIONS", not keeps, given)
    least = options.find("min_size") if options is not None else None
    if least is not None and least.value != 32 and KINDS[conversion.kind].conventions:
        conversion.lack(least, "images with a side under 32 pixels are left out here")


def _grouping(sampler: object) -> bool:
    return isinstance(sampler, dict) and sampler.get("type") == "AspectRatioBatchSampler"


@rows_of("train_dataloader.batch_sampler", "DATALOADER.ASPECT_RATIO_GROUPING")
def _batches(conversion: Conversion) -> None:
    node = conversion.take("train_dataloader.batch_sampler")
    if conversion.find("train_dataloader") is not None:
        grouped = node is not None and _grouping(plain(node))
        conversion.set("DATALOADER.ASPECT_RATIO_GROUPING", grouped, node)


ROWS: list[Row] = [
    _data,
    _filter,
    _batches,
    same("train_dataloader.num_workers", "DATALOADER.NUM_WORKERS"),
    always("val_evaluator.type", "CocoMetric", advice="COCO's AP is what is computed here"),
    *unneeded(
        "test_evaluator.type",
        "train_dataloader.persistent_workers",
        "train_dataloader.pin_memory",
        "train_dataloader.sampler.type",
        "train_dataloader.sampler.shuffle",
        *(
            f"{split}_dataloader.{name}"
            for split in ("val", "test")
            for name in (
                "batch_size",
                "num_workers",
                "persistent_workers",
                "drop_last",
                "sampler",
                "pin_memory",
            )
        ),
        *(f"{split}_dataloader.dataset.test_mode" for split in ("train", "val", "test")),
        *(f"{split}_dataloader.dataset.backend_args" for split in ("train", "val", "test")),
        *(f"{split}_dataloader.dataset.metainfo" for split in ("val", "test")),
        *(f"{split}_evaluator.{name}" for split in ("val", "test") for name in EVALUATOR),
        "val_dataloader.dataset.filter_cfg",
    ),
]

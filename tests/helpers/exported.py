"""Small detectors that are exported, and data that they detect in part."""

import warnings

import torch
from helpers.detectors import config, detector
from helpers.tiny import CLASSES, write_json
from pycocotools import mask as coco_mask

from hrnet_det import Detector
from hrnet_det.config.load import as_run
from hrnet_det.detector.run_lengths import coco_rows
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.metadata import metadata_of
from hrnet_det.export.options import ExportOptions


def weights(kind, path):
    """The file of a detector of helpers.detectors, whose classes are those of `make_coco`."""
    model, run = detector(kind), as_run(config(kind))
    metadata = {"classes": CLASSES, "config": run.text()}
    torch.save({"model": model.state_dict(), "hrnet_det": metadata}, path)
    return path


def exported(file, path, **options):
    """What weights are exported to, without the check that Detector.export makes."""
    made = Detector.from_pretrained(file, device="cpu", to_export=True)
    options, _ = ExportOptions(**options).for_run(made.run)
    graph = DetectorGraph(made.model, made.run, options).eval()
    metadata = metadata_of(graph, made.run, made.class_names, {}, options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options.row.load().write(graph, path, options, metadata)
    return path


def truth_of(made, folder, path):
    """A json by which those objects that a detector finds are true whose mask fills their box."""
    categories = [{"id": number, "name": name} for number, name in enumerate(made.class_names, 1)]
    images, rows = [], []
    for number, file in enumerate(sorted(folder.iterdir()), 1):
        found = made(file)
        height, width = found.image_size
        size = {"height": height, "width": width}
        images.append({"id": number, "file_name": file.name, **size})
        for row in coco_rows(found, number):
            bounds = coco_mask.toBbox(row["segmentation"])
            if coco_mask.iou([bounds], [row["bbox"]], [0])[0, 0] > 0.6:
                true = {"bbox": bounds.tolist(), "area": int(coco_mask.area(row["segmentation"]))}
                category, mask = row["category_id"] + 1, row["segmentation"]
                ids = {"id": len(rows) + 1, "image_id": number, "category_id": category}
                rows.append({**ids, **true, "segmentation": mask, "iscrowd": 0})
    return write_json(path, {"images": images, "annotations": rows, "categories": categories})

"""A file of each form in which detectors are published: what it is follows from its tensors alone.

Names and shapes are those of the sources' code, no tensor has values: one file for each form, kind
and number of classes in model_zoo.csv.
"""

import pytest
import torch

from hrnet_det import model_zoo
from hrnet_det.checkpoint.load_report import compare
from hrnet_det.checkpoint.model_config import known_config
from hrnet_det.checkpoint.renaming import rename
from hrnet_det.config.yaml import flat, merge_overrides
from hrnet_det.modeling.build_model import build_detector
from hrnet_det.published import FORMS

ROWS = {}
for _row in model_zoo.checkpoints():
    levels = "6l" if _row.schedule.startswith("6l") else ""
    ROWS.setdefault("-".join((_row.form, _row.kind, str(_row.classes), levels)), _row)


def shapes_of(cfg):
    """Shapes of our detector's tensors, by our names."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return {name: t.shape for name, t in build_detector(cfg).state_dict().items()}


def rows_of_background(name, shape):
    """How many rows more a tensor has where the background is a class that comes first."""
    if name.startswith("roi_heads.box_predictor.") and ".bbox_pred." in name:
        return 4 if shape[0] > 4 else 0  # not where all classes share a box
    return int(name.startswith("roi_heads.mask_head.") and ".predictor." in name)


def file_of(row, shapes):
    """Tensors without values, by the names of the source's code."""
    form, weights = FORMS[row.form], {}
    for name, shape in shapes.items():
        more = rows_of_background(name, shape) if form.background_first else 0
        size = (shape[0] + more, *shape[1:]) if shape else ()
        weights[form.to_theirs(name)] = torch.empty(size, device="meta")
    return weights


def test_forms_of_all_projects():
    assert {row.form for row in ROWS.values()} >= {
        "mmdet",
        "mmdet1",
        "hrnet_object_detection",
        "maskrcnn_benchmark",
        "hrnet_fcos",
        "panoptic_deeplab",
        "panoptic_deeplab_detectron2",
    }
    found = {(row.source, row.kind, row.classes) for row in ROWS.values()}
    assert {
        ("bdd100k", "faster_rcnn", 10),
        ("bdd100k", "mask_rcnn", 8),
        ("pedestron", "cascade_mask_rcnn", 1),
        ("mmdet1", "htc", 80),
        ("mmdet1", "fcos", 80),
    } <= found


@pytest.mark.parametrize("form", ROWS)
def test_what_a_file_is_follows_from_its_tensors(form):
    row = ROWS[form]
    expected = row.config()
    shapes = shapes_of(expected)
    renamed = rename(file_of(row, shapes), "file.pth")
    assert renamed.format is FORMS[row.form] and renamed.unknown == []
    report, weights = compare(renamed, shapes)
    assert report.complete and not report.unexpected and weights.keys() == shapes.keys()
    assert (report.conventions, report.overrides) == (row.conventions, renamed.format.overrides)
    found = renamed.detector
    assert (found.kind.name, found.variant, found.classes) == (row.kind, row.variant, row.classes)
    assert f"{FORMS[row.form].title}: {found.kind.title}, HRNet" in report.title
    # The detector that the file alone gives is the row's, but for what the row's settings say.
    words = [*renamed.format.overrides, *found.overrides()]
    inferred = known_config(found.kind.name, renamed.conventions, words)
    merge_overrides(inferred, list(row.settings))
    ours, theirs = flat(inferred), flat(expected)
    differing = {key for key in theirs if ours[key] != theirs[key]}
    assert differing <= {"MODEL.HTC.SEMANTIC_ON"}  # which is for HTC alone

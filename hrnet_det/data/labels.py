"""What each kind of dataset, by its evaluator_type, has annotations of."""

from __future__ import annotations

from hrnet_det.modeling.kinds import OBJECTS, SEMANTIC_LABELS

LABELS = {
    "coco": {OBJECTS},
    "cityscapes_instance": {OBJECTS},
    "sem_seg": {SEMANTIC_LABELS},
    "cityscapes_sem_seg": {SEMANTIC_LABELS},
    "coco_panoptic_seg": {OBJECTS, SEMANTIC_LABELS},
}

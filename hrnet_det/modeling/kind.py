"""What a kind of detector is: the columns of the table in `kinds`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hrnet_det.config import settings
from hrnet_det.config.settings import Setting
from hrnet_det.modeling.read_layers import Shapes

# What a detector learns from and is evaluated by.
OBJECTS, SEMANTIC_LABELS = "objects", "semantic labels"
SEGMENTS = "panoptic segments"  # of things and stuff in one list of classes


def roi_head_classes(shapes: Shapes) -> int:
    """Object classes of RoI heads, a cascade's too, whose last class is the background."""
    layers = ("roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.0.cls_score")
    return max(outputs(shapes, *layers) - 1, 0)


def dense_head_classes(shapes: Shapes) -> int:
    """Object classes of a one-stage head, which has scores and a box for each anchor of a cell."""
    anchors = outputs(shapes, "head.bbox_pred") // 4
    return outputs(shapes, "head.cls_score") // anchors if anchors else 0


def semantic_head_classes(shapes: Shapes) -> int:
    """Semantic classes of a semantic head, or of a Hybrid Task Cascade's semantic branch."""
    return outputs(shapes, "sem_seg_head.predictor", "roi_heads.semantic_head.predictor")


def outputs(shapes: Shapes, *layers: str) -> int:
    """Output channels of the first of the layers that is there; 0 if none is."""
    names = (f"{layer}.{part}" for layer in layers for part in ("weight", "bias"))
    return next((shapes[name][0] for name in names if name in shapes), 0)


@dataclass(frozen=True)
class Kind:
    """A kind of detector: a row of the table."""

    name: str  # in names of files and checkpoints
    title: str  # for people
    base: str  # the config in configs/ that it starts from; "" for none
    meta_arch: str  # MODEL.META_ARCHITECTURE; in a LazyConfig the class that `model` calls
    # The MODEL.ROI_HEADS.NAMEs that it can have, () without RoI heads; likewise. The first is that
    # of a checkpoint which does not say.
    roi_heads: tuple[str, ...] = ()
    masks: bool = False  # whether its RoI heads predict them: MODEL.MASK_ON
    keypoints: bool = False  # MODEL.KEYPOINT_ON
    # OBJECTS, SEMANTIC_LABELS or both, or SEGMENTS, also what it is evaluated by; empty if unknown.
    learns: frozenset[str] = frozenset({OBJECTS})
    output: str = "instances"  # the key of its predictions; "proposals", "sem_seg", "panoptic_seg"
    metric: str = "bbox/AP"  # what the best checkpoint is chosen by, as metrics.json names it
    classes: Setting | None = settings.ROI_CLASSES  # the setting with their number; None without
    semantic_classes: Setting | None = None
    # The numbers, from a checkpoint's shapes; 0 if it does not say.
    count_classes: Callable[[Shapes], int] = roi_head_classes
    count_semantic_classes: Callable[[Shapes], int] = semantic_head_classes
    # Further keys of a YAML config and their values, from a checkpoint's shapes.
    read_layers: Callable[[Shapes], dict[str, object]] = lambda shapes: {}
    # Beginnings of names of tensors, all of which weights of this kind have. Of several kinds that
    # fit, weights are of the one with the most marks.
    marks: tuple[str, ...] = ()
    # Patterns of names of tensors whose first axis, or second one (outputs of a transposed
    # convolution), follows the classes: the rows of a class lie together (4 of a bbox_pred), those
    # of the background come last, and anchors have one such block each.
    class_layers: tuple[str, ...] = ()
    transposed_class_layers: tuple[str, ...] = ()
    conventions: tuple[str, ...] = ()  # that it can follow: keys of `compat.CONVENTIONS`
    compat: str = ""  # the meta-architecture that follows them; "" where its own does
    augmentable: bool = False  # Detectron2's test-time augmentation works for it

    def overrides(self) -> list[str]:
        """KEY VALUE pairs that make a YAML config of its base one of this kind."""
        if not self.roi_heads:
            return []
        flags = ["MODEL.MASK_ON", str(self.masks), "MODEL.KEYPOINT_ON", str(self.keypoints)]
        return ["MODEL.ROI_HEADS.NAME", self.roi_heads[0], *flags]

    @property
    def detects(self) -> bool:
        """Whether its predictions have instances."""
        return self.output in ("instances", "panoptic_seg")

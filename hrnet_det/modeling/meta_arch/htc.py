"""Hybrid Task Cascade: boxes and masks refined in turn, with a semantic branch beside them."""

from __future__ import annotations

from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import ImageList
from torch import Tensor


@META_ARCH_REGISTRY.register()
class HTC(GeneralizedRCNN):
    """Detectron2's GeneralizedRCNN, which gives HTCROIHeads the images' semantic labels.

    Input:  as GeneralizedRCNN's; in training with "sem_seg" (H, W) int64 in every row, as
        Detectron2's DatasetMapper makes it, where the semantic branch is on.
    Output: as GeneralizedRCNN's.
    """

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        images = super().preprocess_image(batched_inputs)
        head = getattr(self.roi_heads, "semantic_head", None)
        if self.training and head is not None:
            images.sem_seg = self._labels(batched_inputs, head.ignore_value)
        return images

    def _labels(self, rows: list[dict], ignore_value: int) -> Tensor:
        """(N, H, W), padded as the images are."""
        missing = sum("sem_seg" not in row for row in rows)
        if missing:
            raise ValueError(
                f"HTC: {missing} of {len(rows)} images have no semantic labels (sem_seg), which "
                "its semantic branch learns from. Train on a dataset that has them, such as "
                "coco_2017_train_panoptic_separated, or set MODEL.HTC.SEMANTIC_ON False"
            )
        return ImageList.from_tensors(
            [row["sem_seg"].to(self.device) for row in rows],
            self.backbone.size_divisibility,
            ignore_value,
            self.backbone.padding_constraints,
        ).tensor

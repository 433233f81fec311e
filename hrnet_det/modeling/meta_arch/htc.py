"""Hybrid Task Cascade: boxes and masks refined in turn, with a semantic branch beside them."""

from __future__ import annotations

from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import ImageList


@META_ARCH_REGISTRY.register()
class HTC(GeneralizedRCNN):
    """Detectron2's GeneralizedRCNN, which gives HTCROIHeads the images' semantic labels.

    Input, output: as GeneralizedRCNN's; in training, where the semantic branch is on, "sem_seg"
        (H, W) int64 in every row, as Detectron2's DatasetMapper makes it.
    """

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        images = super().preprocess_image(batched_inputs)
        head = getattr(self.roi_heads, "semantic_head", None)
        if self.training and head is not None:
            labels = [row["sem_seg"].to(self.device) for row in batched_inputs if "sem_seg" in row]
            missing = len(batched_inputs) - len(labels)
            if missing:
                raise ValueError(
                    f"HTC: {missing} of {len(batched_inputs)} images have no semantic labels "
                    "(sem_seg), which its semantic branch learns from. Train on a dataset that has "
                    "them, such as coco_2017_train_stuffthing, or set "
                    "MODEL.HTC.SEMANTIC_ON False"
                )
            padding = self.backbone.size_divisibility, head.padding_label
            constraints = self.backbone.padding_constraints
            images.sem_seg = ImageList.from_tensors(labels, *padding, constraints).tensor
        return images

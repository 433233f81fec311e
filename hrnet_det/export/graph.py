"""A detector as a function of tensors, which is what a file holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.export.options import ExportOptions
from hrnet_det.export.pasting import Number
from hrnet_det.export.processing import Resizing, in_given, in_original, resizing_of
from hrnet_det.export.traceable import traceable
from hrnet_det.modeling.compat.boxes import ImageSize
from hrnet_det.modeling.compat.conventions import Conventions
from hrnet_det.modeling.compat.suppression import soft_nms_inference
from hrnet_det.modeling.kinds import kind_of

# Meta-architectures by how their objects are found.
TWO_STAGE = ("GeneralizedRCNN", "HTC", "CompatRCNN", "CompatHTC")
DENSE = ("RetinaNet", "FCOS")


class DetectorGraph(nn.Module):
    """A detector, or its backbone, that takes and gives tensors alone; it is traced.

    Args:
        model: in evaluation mode; it may have come from optimize_for_inference.
        run: its config.
    Input, output: as `inputs` and `outputs` name them.
    Raises: InputError if a detector of this kind cannot be a graph.
    """

    def __init__(self, model: nn.Module, run: RunConfig, options: ExportOptions) -> None:
        super().__init__()
        self.model = model
        self.kind = kind_of(run)
        self.options = options
        self.whole = options.part == "detector"
        self.inside = self.whole and options.processing == "inside"
        self.conventions = getattr(model, "conventions", Conventions())
        self.most = 0
        self.resizing: Resizing | None = None
        if not self.whole:
            return
        _check(model, self.kind.title)
        self.most = max(options.max_detections or run.detections_per_image, 0)
        self.bgr = run[settings.PIXEL_FORMAT] == "BGR"
        if self.inside:
            self.resizing = resizing_of(run)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what is taken.

        image: (H, W, 3) uint8 in RGB. images: (N, 3, H, W) float32 of 0 to 255, for the backbone
        alone with sides that are multiples of its size_divisibility.
        """
        return ("image",) if self.inside else ("images",)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what is given.

        Of K objects boxes (K, 4) float32, scores (K,) float32, classes (K,) int64. "inside": in
        the image's pixels, best first, with masks (K, H, W) bool and keypoints (K, J, 3) float32
        (x, y, score). "outside": image (K,) int64, the number of the image first, boxes in the
        given pixels, masks (K, M, M) float32, probabilities of the box's cells. The backbone:
        its levels, p2 ... with (N, C, H/4, W/4) ...
        """
        if not self.whole:
            return tuple(self.model.backbone.output_shape())
        more = [("masks", self.kind.masks), ("keypoints", self.kind.keypoints)]
        names = ("boxes", "scores", "classes", *(name for name, there in more if there))
        return names if self.inside else ("image", *names)

    @property
    def axes(self) -> dict[int, str]:
        """The input's axes whose sizes may differ, by their names; a backbone's batch is one."""
        sides = ("height", "width")
        axes = dict(enumerate(sides, start=0 if self.inside else 2))
        return {} if self.options.size else axes if self.whole else {0: "batch", **axes}

    def example(self) -> Tensor:
        """An input to trace with."""
        height, width = self.options.size or (192, 224)
        if self.inside:
            return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8)
        return torch.randint(0, 256, (self.options.batch, 3, height, width)).float()

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        with traceable(self.most * self.options.batch):
            if not self.whole:
                return tuple(self.model.backbone(self._normalised(given)).values())
            return self._of_image(given) if self.inside else self._of_images(given)

    def _of_image(self, image: Tensor) -> tuple[Tensor, ...]:
        height, width = image.shape[:2]
        resized, scale = self.resizing(image)
        resized = resized.permute(2, 0, 1)
        resized = resized.flip(0) if self.bgr else resized
        size = ImageSize(tuple(resized.shape[-2:]), scale)
        (objects,) = self._objects(self._padded(resized[None], [size]))
        found = in_original(objects, (height, width), self.conventions, most=self.most)
        return tuple(found[name] for name in self.outputs)

    def _of_images(self, images: Tensor) -> tuple[Tensor, ...]:
        size = ImageSize(tuple(images.shape[-2:]), (1.0, 1.0))
        each = self._objects(self._padded(images, [size] * self.options.batch))
        found = [in_given(objects, size, self.conventions) for objects in each]
        for number, fields in enumerate(found):
            fields["image"] = torch.full_like(fields["classes"], number)
        return tuple(torch.cat([fields[name] for fields in found]) for name in self.outputs)

    def _normalised(self, images: Tensor) -> Tensor:
        return (images - self.model.pixel_mean) / self.model.pixel_std

    def _padded(self, images: Tensor, sizes: list[ImageSize]) -> ImageList:
        """As the model's preprocess_image pads them."""
        d = self.model.backbone.size_divisibility
        height, width = images.shape[-2:]
        below, right = multiple(height, d) - height, multiple(width, d) - width
        images = F.pad(self._normalised(images), (0, right, 0, below))
        return ImageList(images, sizes)

    def _objects(self, images: ImageList) -> Sequence[Instances]:
        """Of each image, in its pixels, before they are brought into the original's."""
        model = self.model
        features = model.backbone(images.tensor)
        if type(model).__name__ in TWO_STAGE:
            proposals, _ = model.proposal_generator(images, features, None)
            return model.roi_heads(images, features, proposals, None)[0]
        maps = [features[name] for name in model.head_in_features]
        return model.forward_inference(images, maps, model.head(maps))

    def state_dict(
        self, *_: object, destination: dict | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict:
        """Weights and buffers, also of an optimised form, which otherwise refuses to be saved."""
        named = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        destination = {} if destination is None else destination
        for name, tensor in named.items():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        return destination


def multiple(side: Number, divisor: int) -> Number:
    """The smallest multiple of a divisor that is not smaller than a side."""
    return side + (-side) % divisor if divisor > 1 else side


def _check(model: nn.Module, title: str) -> None:
    """Raises: InputError if the detector computes what no graph can."""
    if type(model).__name__ not in (*TWO_STAGE, *DENSE):
        raise InputError(
            f"{title} cannot be exported: Faster, Mask, Keypoint and Cascade R-CNN, Hybrid Task "
            "Cascade, RetinaNet and FCOS can, and of any detector its backbone (--part backbone)"
        )
    if any(getattr(m, "select", None) is soft_nms_inference for m in model.modules()):
        raise InputError(
            "MODEL.ROI_HEADS.SOFT_NMS True cannot be exported: its steps depend on the objects. "
            "Give a config with MODEL.ROI_HEADS.SOFT_NMS False (another AP), or --part backbone"
        )

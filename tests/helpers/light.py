"""Detectors whose backbone is one convolution, so that what is around it is exported in seconds."""

from functools import cache

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from helpers import detectors
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.config.load import as_run
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions


class LightPyramid(Backbone):
    """Levels of the same names, channels and strides as another pyramid's."""

    size_divisibility = 32

    def __init__(self, like):
        super().__init__()
        self.shapes = {
            name: ShapeSpec(channels=shape.channels, stride=shape.stride)
            for name, shape in like.items()
        }
        finest = min(self.shapes.values(), key=lambda shape: shape.stride)
        self.stem = nn.Conv2d(3, finest.channels, finest.stride, finest.stride)

    def output_shape(self):
        return self.shapes

    def forward(self, images):
        levels = [self.stem(images)]
        for _ in range(len(self.shapes) - 1):
            levels.append(levels[-1][..., ::2, ::2])
        return dict(zip(self.shapes, levels, strict=True))


@cache
def light_config(kind):
    """That of helpers.detectors, with two levels."""
    dense = kind in ("retinanet", "fcos")
    levels = "['p3', 'p4']" if dense else "['p2', 'p3']"
    places = [f"MODEL.{kind.upper()}"] if dense else ["MODEL.RPN", "MODEL.ROI_HEADS"]
    words = [word for place in places for word in (f"{place}.IN_FEATURES", levels)]
    sizes = [] if kind == "fcos" else ["MODEL.ANCHOR_GENERATOR.SIZES", "[[24], [48]]"]
    return detectors.config(kind, *words, *sizes, "MODEL.HRFPN.NUM_LEVELS", "2")


@cache
def light_detector(kind):
    """In evaluation mode; made once, its scores spread out."""
    torch.manual_seed(1)
    model = model_zoo.build_detector(light_config(kind)).eval()
    model.backbone = LightPyramid(model.backbone.output_shape()).eval()
    detectors.calibrate(model, lambda: model(detectors.rows()))
    return model


def light_graph(kind, **options):
    """What is exported of it."""
    run = as_run(light_config(kind).clone())
    return DetectorGraph(light_detector(kind), run, ExportOptions(**options)).eval()

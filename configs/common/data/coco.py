"""COCO's images in RGB, the shorter side of 800 pixels, the longer one of at most 1333."""

import detectron2.data.transforms as T
from detectron2 import model_zoo
from detectron2.config import LazyCall as L

from hrnet_det.data.images import MOST_PIXELS
from hrnet_det.data.mapper import Mapper

dataloader = model_zoo.get_config("common/data/coco.py").dataloader
dataloader.pop("evaluator")  # ours, by the dataset's kind
mapper = dataloader.train.mapper
mapper._target_ = dataloader.test.mapper._target_ = Mapper
mapper.image_format = "RGB"
mapper.update(pixel_range=[], max_pixels=MOST_PIXELS)
dataloader.test.mapper.update(
    pixel_range="${...train.mapper.pixel_range}", max_pixels="${...train.mapper.max_pixels}"
)
mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333),
    L(T.RandomFlip)(horizontal=True),
]

"""Cityscapes' classes of pixels: images resized by 0.5 to 2.1, crops of 512x1024."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from hrnet_det.data.transforms import OneOf

from .coco_boxes import dataloader

factors = [0.5 + k / 10 for k in range(17)]
sizes = [(int(1024 * factor + 0.5), int(2048 * factor + 0.5)) for factor in factors]
dataloader.train.dataset.update(names="cityscapes_fine_sem_seg_train", filter_empty=False)
dataloader.test.dataset.names = "cityscapes_fine_sem_seg_val"
dataloader.train.total_batch_size = 12
dataloader.train.mapper.augmentations = [
    L(OneOf)(
        augmentations=[
            L(T.ResizeShortestEdge)(short_edge_length=short, max_size=long) for short, long in sizes
        ]
    ),
    L(T.RandomCrop)(crop_type="absolute", crop_size=(512, 1024)),
    L(T.RandomFlip)(horizontal=True),
]
dataloader.test.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=1024, max_size=2048)
]

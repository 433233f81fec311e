"""COCO without masks."""

from .coco import dataloader

dataloader.train.mapper.use_instance_mask = False

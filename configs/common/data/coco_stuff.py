"""COCO's objects, and in training the stuff beside them."""

from .coco import dataloader

dataloader.train.dataset.names = "coco_2017_train_panoptic_separated"

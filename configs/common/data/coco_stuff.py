"""COCO's objects, and in training the 183 classes of COCO-stuff's pixel maps beside them."""

from .coco import dataloader

dataloader.train.dataset.names = "coco_2017_train_stuffthing"

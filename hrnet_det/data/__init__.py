"""Datasets: their registration, the quickstart dataset, checks of your own data."""

from hrnet_det.data.datasets import prepare_datasets
from hrnet_det.data.registration import register_coco_stuff, register_quickstart

register_quickstart()
register_coco_stuff()

__all__ = ["prepare_datasets", "register_coco_stuff", "register_quickstart"]

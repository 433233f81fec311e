"""Datasets: their registration, the quickstart dataset, checks of your own data."""

from hrnet_det.data.datasets import prepare_datasets
from hrnet_det.data.registration import register_quickstart

register_quickstart()

__all__ = ["prepare_datasets", "register_quickstart"]

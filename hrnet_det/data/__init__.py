"""Data sets: their registration, the quickstart data set, checks of one's own data."""

from hrnet_det.data.catalog import prepare_datasets
from hrnet_det.data.registration import register_quickstart

__all__ = ["prepare_datasets", "register_quickstart"]

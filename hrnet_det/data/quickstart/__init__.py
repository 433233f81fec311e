"""The quickstart's dataset, which is drawn here."""

from hrnet_det.data.quickstart.generate import make_quickstart
from hrnet_det.data.quickstart.shapes import CLASSES, GROUND, GROUND_ID, KEYPOINTS

__all__ = ["CLASSES", "GROUND", "GROUND_ID", "KEYPOINTS", "make_quickstart"]

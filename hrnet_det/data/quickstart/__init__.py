"""The quickstart's dataset, which is drawn here."""

from hrnet_det.data.quickstart.generate import make_quickstart
from hrnet_det.data.quickstart.semantic_labels import GROUND, GROUND_ID
from hrnet_det.data.quickstart.shapes import CLASSES, KEYPOINTS

__all__ = ["CLASSES", "GROUND", "GROUND_ID", "KEYPOINTS", "make_quickstart"]

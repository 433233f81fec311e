"""A trained detector in one line: images in, objects out that can be shown and saved."""

from hrnet_det.detector.detections import Detections
from hrnet_det.detector.detector import Detector

__all__ = ["Detections", "Detector"]

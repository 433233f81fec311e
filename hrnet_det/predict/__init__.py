"""Detections in images of your own: drawn, and written as COCO results."""

from hrnet_det.predict.run import Prediction, check_request, predict

__all__ = ["Prediction", "check_request", "predict"]

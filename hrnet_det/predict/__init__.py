"""Detections in images of your own: drawn, and written as COCO results."""

from hrnet_det.predict.plan import Plan, check_request
from hrnet_det.predict.results import Prediction
from hrnet_det.predict.run import UnreadError, predict, predictions

__all__ = ["Plan", "Prediction", "UnreadError", "check_request", "predict", "predictions"]

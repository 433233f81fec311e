"""A detector as a model of SAHI's, which slices large images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from detectron2.structures import Instances

from hrnet_det.config import settings
from hrnet_det.detector.detector import Detector
from hrnet_det.detector.merging import SAHI_ADVICE
from hrnet_det.errors import SetupError

if TYPE_CHECKING:
    from sahi.models.detectron2 import Detectron2DetectionModel


class _Predictor:
    """What SAHI takes for Detectron2's DefaultPredictor: RGB arrays in, Instances out."""

    input_format = "RGB"  # SAHI interchanges red and blue of others

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def __call__(self, image: np.ndarray) -> dict[str, Instances]:
        return {"instances": self.detector(image)}


def sahi_model(
    detector: Detector, *, confidence_threshold: float = 0.3
) -> Detectron2DetectionModel:
    """SAHI's wrapper of Detectron2's models around a detector, for `get_sliced_prediction`.

    It finds what the detector does. SAHI's AutoDetectionModel(model_type="detectron2") loads a
    saved run's files by itself, but resizes as Detectron2 does, whatever INPUT.RESIZE says, and
    where INPUT.FORMAT is "RGB", as in the shipped configs, gives it red and blue interchanged.

    Args:
        detector: with its class names, and the sizes that slices are resized to.
        confidence_threshold: objects of a lower score are left out.
    Raises: SetupError without SAHI.
    """
    try:
        from sahi.models.detectron2 import Detectron2DetectionModel
    except ImportError as error:
        raise SetupError(f"sahi_model needs SAHI ({error}): {SAHI_ADVICE}") from error
    names = {str(number): name for number, name in enumerate(detector.class_names)}
    model: Any = Detectron2DetectionModel(
        confidence_threshold=confidence_threshold,
        category_mapping=names,
        device=str(detector.run[settings.DEVICE]),
        load_at_init=False,
    )
    model.model, model.category_names = _Predictor(detector), list(names.values())
    return model

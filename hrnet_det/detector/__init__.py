"""A trained detector in one line: images in, objects out that can be shown and saved.

The names are imported when they are first used: `hrnet_det.export`, which Detector needs, imports
other modules from here.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hrnet_det.detector.detections import Detections
    from hrnet_det.detector.detector import Detector

_PLACES = {
    "Detections": "hrnet_det.detector.detections",
    "Detector": "hrnet_det.detector.detector",
}
__all__ = ["Detections", "Detector"]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)

"""A trained detector in one line: images in, objects out that can be shown and saved.

The names are imported when they are first used: what exports detectors builds on the modules here,
and a Detector exports itself.
"""

import importlib

_PLACES = {
    "Detections": "hrnet_det.detector.detections",
    "Detector": "hrnet_det.detector.detector",
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)

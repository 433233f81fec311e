"""HRNet and its feature pyramid (HRNetV2p, arXiv:1908.07919) as backbones for Detectron2.

The names below are imported when they are first used: `hrnet-det doctor` and `hrnet-det
install-detectron2` work without Detectron2.
"""

import importlib

__version__ = "0.1.0"

_NETWORKS = ("HRFPN", "HRNet", "HRNetV1", "HRNetV2", "HRNetVariant", "VARIANTS")
_PLACES = {
    "Detector": "hrnet_det.detector",
    "add_hrnet_config": "hrnet_det.config.keys",
    "get_cfg": "hrnet_det.config.keys",
    "model_zoo": "hrnet_det.model_zoo",
    "register_quickstart": "hrnet_det.data",
    "sahi_model": "hrnet_det.detector.sahi",
    "saved_config": "hrnet_det.checkpoint.saved_run",
}
_PLACES |= dict.fromkeys(_NETWORKS, "hrnet_det.modeling")
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> object:
    """A public name; with the first one, builders and quickstart datasets are registered.

    Raises: ImportError without a working Detectron2 (the message says how to get it).
    """
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hrnet_det.environment import require_detectron2

    require_detectron2()
    for registers in ("hrnet_det.modeling", "hrnet_det.data"):
        importlib.import_module(registers)
    module = importlib.import_module(_PLACES[name])
    return module if _PLACES[name].endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

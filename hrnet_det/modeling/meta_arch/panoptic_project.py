"""Detectron2's project panoptic_deeplab, imported when a detector needs it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import detectron2

from hrnet_det.modeling.segment_ids import segment_ids

PROJECT = "detectron2.projects.panoptic_deeplab"


def panoptic_project() -> ModuleType:
    """The project: its heads and the targets that they learn from.

    It imports panopticapi for one function, which is ours too: where that package is not
    installed, the function alone stands for it while the project is imported.

    Raises: ImportError if the installed Detectron2 has no such project.
    """
    stand_in = _panopticapi() if importlib.util.find_spec("panopticapi") is None else {}
    sys.modules.update(stand_in)
    try:
        return importlib.import_module(PROJECT)
    except ImportError as error:
        raise ImportError(
            f"Panoptic-DeepLab has the heads of {PROJECT}, which the installed Detectron2 "
            f"{detectron2.__version__} does not have ({error}): pip install sal-detectron2"
        ) from error
    finally:
        for name in stand_in:
            del sys.modules[name]


def _panopticapi() -> dict[str, ModuleType]:
    """What stands for panopticapi, by the names of its modules."""
    package, utils = ModuleType("panopticapi"), ModuleType("panopticapi.utils")
    package.utils, utils.rgb2id = utils, segment_ids
    return {"panopticapi": package, "panopticapi.utils": utils}

"""The model of a config."""

from __future__ import annotations

from detectron2.config import CfgNode, instantiate
from detectron2.modeling import build_model
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from hrnet_det.config.load import as_run
from hrnet_det.errors import InputError
from hrnet_det.modeling.compat.conventions import DETECTRON2, check_conventions
from hrnet_det.modeling.kinds import kind_of


def build_detector(cfg: CfgNode | DictConfig) -> nn.Module:
    """The model of a config, with random weights and MODEL.CONVENTIONS; of a LazyConfig on the CPU.

    Raises: InputError where the config asks for what does not exist.
    """
    if not isinstance(cfg, CfgNode):
        try:
            return instantiate(cfg.model)
        except (ValueError, TypeError, AssertionError, OmegaConfBaseException) as error:
            raise InputError(f"the model of this config cannot be built: {error}") from error
    cfg = _with_conventions(cfg)
    try:
        return build_model(cfg)
    except (ValueError, AssertionError) as error:  # such as anchor sizes for other levels
        raise InputError(f"the model of this config cannot be built: {error}") from error
    except KeyError as error:  # of a registry, or of a head that looks for its features
        reason = str(error.args[0])
        if "registry" not in reason:
            reason = (
                f"the backbone has no feature {reason!r}; the IN_FEATURES of MODEL.RPN, "
                "MODEL.ROI_HEADS, MODEL.RETINANET and MODEL.FCOS name levels that it makes"
            )
        raise InputError(f"the model of this config cannot be built: {reason}") from error


def _with_conventions(cfg: CfgNode) -> CfgNode:
    """The config with the meta-architecture that follows MODEL.CONVENTIONS."""
    kind, name = kind_of(as_run(cfg)), cfg.MODEL.CONVENTIONS
    check_conventions(kind, name)
    if name == DETECTRON2 or not kind.compat:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = kind.compat
    return cfg

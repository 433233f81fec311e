"""Configs of mmdetection 2 and 3 as configs of ours."""

from hrnet_det.convert_config.convert import Converted, convert_config, write_config

__all__ = ["Converted", "convert_config", "write_config"]

"""A trained detector as one file that other programs run: ONNX, OpenVINO, TorchScript, ..."""

from hrnet_det.export.export import Exported, export
from hrnet_det.export.formats import FORMATS, format_of
from hrnet_det.export.opening import open_exported
from hrnet_det.export.options import ExportOptions

__all__ = ["FORMATS", "ExportOptions", "Exported", "export", "format_of", "open_exported"]

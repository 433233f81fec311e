"""The rows of what RoI heads take out of the pyramid."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import STAGES, Conversion, Row, always, rows_of, unneeded
from hrnet_det.convert_config.nodes import plain

HEADS = "model.roi_head"


def pooler(extractor: str, group: str) -> Row:
    """RoIAlign of boxes or masks."""
    path = f"{extractor}.roi_layer"

    @rows_of(
        f"{path}.output_size {path}.sampling_ratio {path}.aligned",
        f"{group}.POOLER_RESOLUTION {group}.POOLER_SAMPLING_RATIO {group}.POOLER_TYPE",
    )
    def row(conversion: Conversion) -> None:
        layers = conversion.nodes(path)
        for layer in layers:
            options = plain(layer)
            conversion.use(layer)
            size = options.get("output_size")
            size = size[0] if isinstance(size, (list, tuple)) and len({*size}) == 1 else size
            if options.get("type") != "RoIAlign" or not isinstance(size, int):
                conversion.lack(layer, "RoIAlign of squares is here")
                continue
            if layer is not layers[0]:
                if options != plain(layers[0]):
                    conversion.lack(layer, STAGES)
                continue
            conversion.set(f"{group}.POOLER_RESOLUTION", size, layer.find("output_size"))
            ratio = options.get("sampling_ratio", 0)
            conversion.set(f"{group}.POOLER_SAMPLING_RATIO", ratio, layer.find("sampling_ratio"))
            kind = "ROIAlignV2" if options.get("aligned", True) else "ROIAlign"
            conversion.set(f"{group}.POOLER_TYPE", kind, layer.find("aligned"))

    return row


def extractors(name: str) -> list[Row]:
    path = f"{HEADS}.{name}_roi_extractor.*"
    return [
        always(f"{path}.type", "SingleRoIExtractor"),
        always(f"{path}.finest_scale", 56),
        *unneeded(f"{path}.out_channels"),
    ]

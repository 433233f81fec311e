"""From a config of mmdetection's to the text of one of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hrnet_det import __version__
from hrnet_det.config.keys import get_cfg
from hrnet_det.config.yaml_files import flat
from hrnet_det.convert_config import (
    datasets,
    dense,
    mask_heads,
    network,
    optimizer,
    pace,
    pipelines,
    roi_heads,
    rpn,
    runtime,
    schedule,
)
from hrnet_det.convert_config.conversion import Chosen, Conversion, Lacking, Row
from hrnet_det.convert_config.counterparts import Base, counterpart
from hrnet_det.convert_config.detectors import find_kind
from hrnet_det.convert_config.nodes import Node
from hrnet_det.convert_config.reading import read_config
from hrnet_det.convert_config.version2 import as_version3, version_of
from hrnet_det.convert_config.writing import document, lacking_lines
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.outputs import check_folder

_NETWORK = [*network.BACKBONE, *network.NECK, *network.PIXELS]
_RUN = [*pipelines.ROWS, *datasets.ROWS, *pace.ROWS, *optimizer.ROWS, *schedule.ROWS, *runtime.ROWS]
_BOXES = [*rpn.RPN, *roi_heads.SHARED]
# By kind, the rows of its keys, in the order in which they are converted.
ROWS: dict[str, list[Row]] = {
    "rpn": [*_NETWORK, *rpn.RPN, *_RUN],
    "faster_rcnn": [*_NETWORK, *_BOXES, *roi_heads.BOXES, *_RUN],
    "mask_rcnn": [*_NETWORK, *_BOXES, *roi_heads.BOXES, *mask_heads.MASKS, *_RUN],
    "cascade_rcnn": [*_NETWORK, *_BOXES, *roi_heads.CASCADE, *_RUN],
    "cascade_mask_rcnn": [*_NETWORK, *_BOXES, *roi_heads.CASCADE, *mask_heads.MASKS, *_RUN],
    "htc": [*_NETWORK, *_BOXES, *roi_heads.CASCADE, *mask_heads.MASKS, *mask_heads.HTC, *_RUN],
    "fcos": [*_NETWORK, *dense.FCOS, *_RUN],
    "retinanet": [*_NETWORK, *dense.RETINANET, *_RUN],
}
NO_KEY = "there is no such key here: leave it out if you can do without"


@dataclass(frozen=True)
class Converted:
    """A converted config.

    Attributes:
        text: the YAML.
        base: what it builds on.
        values: all that the other config says, by our keys; stated: those that base does not have.
        lacking: what has no counterpart.
        remarks: what else is to be known.
    """

    text: str
    base: Base
    values: dict[str, Chosen]
    stated: dict[str, Chosen]
    lacking: list[Lacking]
    remarks: list[str]


def convert_config(
    path: str | Path, *, gpus: int | None = None, images: int | None = None
) -> Converted:
    """Convert a config of mmdetection 2 or 3, which is parsed and not run.

    Args:
        path: the config, beside the `_base_` files that it names.
        gpus: how many it was trained on, which configs do not say; None: as its name says (4xb4),
            or as many as its learning rate is for.
        images: of an epoch, with objects; None: COCO's, or those of the json where it is there.
    Raises: MissingInputError if a file is not there; InputError if a file would have to be run, or
        if the detector is none of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"config {path} is not there")
    root = read_config(path)
    version = version_of(root)
    if version == 2:
        root = as_version3(root)
    conversion = Conversion(root, version, gpus, images)
    conversion.kind = find_kind(conversion)
    for row in ROWS[conversion.kind]:
        row.convert(conversion)
    for node in _left(conversion):
        conversion.lack(node, NO_KEY)
    known = flat(get_cfg())
    conversion.values = {k: v for k, v in conversion.values.items() if k in known}
    base, stated = counterpart(conversion)
    text = document(_header(path, conversion), base, stated)
    return Converted(text, base, conversion.values, stated, conversion.lacking, conversion.remarks)


def write_config(
    path: str | Path, output: str | Path, *, gpus: int | None = None, images: int | None = None
) -> str:
    """Convert a config as `convert_config`, into a new file; returns what to say of it.

    Raises: InputError too if the new file is there already, or is not named .yaml.
    """
    target = Path(output)
    if target.suffix not in (".yaml", ".yml"):
        raise InputError(f"-o {output}: a config is a .yaml file")
    if target.exists():
        raise InputError(f"-o {output} is there already: name a new file, or remove it")
    converted = convert_config(path, gpus=gpus, images=images)
    check_folder(target.parent, shown=f"-o {output}", advice="give another file")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(converted.text, encoding="utf-8")
    lines = [f"{output}: {converted.base.name} and {len(converted.stated)} values that differ"]
    lines += converted.remarks
    if converted.lacking:
        lines.append(f"Without a counterpart here, {len(converted.lacking)}:")
        lines += [f"  {line}" for line in lacking_lines(converted.lacking)]
    return "\n".join([*lines, f"Next: hrnet-det train --config-file {output}"])


def _left(conversion: Conversion) -> list[Node]:
    """What no row has read, of the sections that mmdetection's runner reads."""
    return [node for node in conversion.unread() if node.name.split(".")[0] in runtime.SECTIONS]


def _header(path: Path, conversion: Conversion) -> list[str]:
    lines = [
        f"Converted by hrnet-det {__version__} from {path}, a config of mmdetection "
        f"{conversion.version}."
    ]
    lines += conversion.remarks
    if conversion.lacking:
        lines.append("Without a counterpart here:")
        lines += [f"  {line}" for line in lacking_lines(conversion.lacking)]
    return lines

"""From a config of mmdetection's to the text of one of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from hrnet_det import __version__
from hrnet_det.config.files import config_folder
from hrnet_det.config.yaml import merged
from hrnet_det.config.yaml_files import BASE, YamlFile, read_yaml
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
from hrnet_det.convert_config.counterparts import Base, counterpart, remark_of
from hrnet_det.convert_config.detectors import find_kind
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
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a config in it, such as {path / 'mine.py'}")
    if not path.is_file():
        raise MissingInputError(f"config {path} is not there")
    conversion = _started(path, gpus, images)
    for row in ROWS[conversion.kind]:
        with _wrong_values(conversion, row.names):
            row.convert(conversion)
    for node in conversion.unread():
        if node.name.split(".")[0] in runtime.SECTIONS:
            conversion.lack(node, NO_KEY)
    conversion.remarks += remark_of(conversion.kind)
    base, stated = counterpart(conversion)
    text = document(_header(path, conversion), base, stated)
    _check(text, base, stated)
    return Converted(text, base, conversion.values, stated, conversion.lacking, conversion.remarks)


def _started(path: Path, gpus: int | None, images: int | None) -> Conversion:
    """A config in version 3's layout, and which of our detectors it is of."""
    root = read_config(path)
    conversion = Conversion(root, version_of(root), gpus, images)
    with _wrong_values(conversion, ()):
        if conversion.version == 2:
            conversion.root = as_version3(root)
        conversion.kind = find_kind(conversion)
    return conversion


@contextlib.contextmanager
def _wrong_values(conversion: Conversion, names: Sequence[str]) -> Iterator[None]:
    """Values of a kind that mmdetection does not take there are told with their line."""
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        found = [node for name in names for node in conversion.nodes(name)]
        node = found[0] if found else conversion.find("model") or conversion.root
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{node.place}: {node.name or 'the config'} cannot be converted: mmdetection takes "
            f"other values there ({reason})"
        ) from error


def _check(text: str, base: Base, stated: dict[str, Chosen]) -> None:
    """Raises: InputError with the line of the other config whose value ours cannot have."""
    shipped = read_yaml(config_folder() / base.name).shipped
    try:
        merged(YamlFile(shipped, _own(text)), "the converted config")
    except (InputError, yaml.YAMLError) as error:
        nodes = [n for key, c in stated.items() if f"{key} " in str(error) for n in c.sources[:1]]
        place = f"{nodes[0].place}: {nodes[0].name} cannot be converted: " if nodes else ""
        raise InputError(f"{place}{error}") from error


def _own(text: str) -> dict:
    """What a text states of its own."""
    return {key: value for key, value in yaml.safe_load(text).items() if key != BASE}


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
    check_folder(target.absolute().parent, shown=f"-o {output}", advice="give another file")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(converted.text, encoding="utf-8")
    lines = [f"{output}: {converted.base.name} and {len(converted.stated)} values that differ"]
    lines += converted.remarks
    if converted.lacking:
        lines.append(f"Without a counterpart here, {len(converted.lacking)}:")
        lines += [f"  {line}" for line in lacking_lines(converted.lacking)]
    return "\n".join([*lines, f"Next: hrnet-det train --config-file {output}"])


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

"""Weights files of other projects, one file for each, and how a file's project is told.

To add a format, such as that of a project called "yours":

1. yours.py here, with one `Format`, whose docstring says what each field means: name and title,
   `recognises` (by names of tensors that only this project has), `rules` (pairs of its name and
   ours; ours are those of a Detectron2 detector with `backbone.bottom_up.` before HRNet's), and
   where they apply `ignored`, `background_first`, `refuses`, `wraps`, `cannot_hold`. `mmdet` has
   all of them, `imagenet` the fewest.
2. Its line in FORMATS below. The first that recognises a file has it: one whose test would also
   take another's files stands after it.
3. What its detectors compute: a key of `CONVENTIONS` in modeling/compat/conventions.py. For a new
   one a row there, configs/conventions/yours.yaml with the settings that belong to it (and
   yours.KIND.yaml where a kind of detector has others, such as mmdet.fcos.yaml), and its name in
   `conventions` of the rows of modeling/kinds.py that can follow it.
4. Rows of published.csv for its published files, if they are to be named.
5. In tests/checkpoint/test_formats.py: pairs of names written out from the project's own files, and
   a row in each table of formats; in tests/modeling/compat a comparison with what the project
   computes.
"""

from __future__ import annotations

from hrnet_det.checkpoint.formats.base import BODY, Format, Names, has
from hrnet_det.checkpoint.formats.hrnet_object_detection import HRNET_OBJECT_DETECTION
from hrnet_det.checkpoint.formats.imagenet import IMAGENET
from hrnet_det.checkpoint.formats.maskrcnn_benchmark import MASKRCNN_BENCHMARK
from hrnet_det.checkpoint.formats.mmdet import MMDET
from hrnet_det.checkpoint.io import METADATA_KEY
from hrnet_det.errors import InputError


def _refuses(names: Names) -> str:
    if has(names, "backbone.interp_conv.", "backbone.reduction_pooling_conv."):
        return (
            "a DensePose HRFPN: a pyramid of other layers (transposed convolutions), whose weights "
            "fit no HRNetV2p; its HRNet alone may be saved under the names conv1, ..."
        )
    return ""


OWN = Format(
    name="hrnet_det",
    title="hrnet_det or Detectron2",
    recognises=lambda names: has(names, BODY),
    rules=(("{name}", "{name}"),),
    refuses=_refuses,
    wraps=lambda weights, metadata: {"model": weights, METADATA_KEY: metadata},
)
FORMATS = (OWN, MMDET, HRNET_OBJECT_DETECTION, MASKRCNN_BENCHMARK, IMAGENET)


def recognise(names: Names, path: str) -> Format:
    """The format of a file, told by the names of its tensors alone; `OWN` if no other has them.

    Raises: InputError for a file that cannot be loaded here (the message says what it is).
    """
    format = next((format for format in FORMATS if format.recognises(names)), OWN)
    if reason := format.refuses(names):
        raise InputError(f"{path} is {reason}")
    return format

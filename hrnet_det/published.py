"""The detectors on HRNet that others have trained and published: the rows of model_zoo.csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from detectron2.config import CfgNode
from tabulate import tabulate

from hrnet_det.checkpoint.formats import FORMATS
from hrnet_det.checkpoint.model_config import known_config
from hrnet_det.errors import InputError
from hrnet_det.modeling.kinds import KINDS

FORMS = {format.name: format for format in FORMATS}
COCO = "COCO"
ADVICE = "hrnet-det checkpoints WORD ... shows some with their addresses; --json all that is known."


@dataclass(frozen=True)
class Published:
    """A checkpoint that others have published: a row of model_zoo.csv.

    Source: configs/hrnet/metafile.yml of mmdetection 3.3; configs/hrnet/README.md of mmdetection 1,
    whose files HRNet-Object-Detection marks with a star; the README files of
    HRNet-Object-Detection (whose W48 rows of Mask R-CNN have their columns exchanged, and whose
    second W48 Faster R-CNN is 2x), HRNet-MaskRCNN-Benchmark, HRNet-FCOS, bdd100k-models, Pedestron,
    CascadeTabNet (tables that are images) and panoptic-deeplab, and the test settings of their
    configs. An address that a README gives to two rows is kept with the first. The files
    themselves were not read: their names and shapes are those of the sources' code.
    """

    source: str  # the project that offers it
    form: str  # whose names its tensors have: a key of FORMS
    kind: str  # a key of `KINDS`
    variant: str  # a key of `VARIANTS`
    schedule: str  # 1x, 2x, 20e, ..., and what else tells one training from another
    data: str  # what it was trained on
    classes: int  # of objects, or of pixels for a detector without any
    box_ap: float | None  # percent, on the validation images of `data` (COCO's: val2017)
    mask_ap: float | None  # likewise; None without masks
    result: str  # what was published in other metrics
    licence: str  # of the source's repository
    settings: tuple[str, ...]  # KEY, VALUE, ... that its config has beside those of `form`
    file: str  # its name; empty if it is not known
    address: str  # where its authors offer it; empty if it is not known

    @property
    def name(self) -> str:
        """Such as "mmdet/faster_rcnn_hrnetv2p_w18_1x"."""
        network = "hrnetv2p" if "HRNetV2p" in KINDS[self.kind].base else "hrnetv2"
        return f"{self.source}/{self.kind}_{network}_{self.variant}_{self.schedule}"

    @property
    def conventions(self) -> str:
        """A key of `CONVENTIONS`."""
        return FORMS[self.form].conventions

    @property
    def ap(self) -> str:
        """What was published, such as "37.7/34.2 box/mask AP"."""
        known = [str(ap) for ap in (self.box_ap, self.mask_ap) if ap is not None]
        what = "box/mask AP" if len(known) == 2 else "box AP"
        return "; ".join(filter(None, (f"{'/'.join(known)} {what}" if known else "", self.result)))

    @property
    def downloadable(self) -> bool:
        """The address is that of the file itself, not of a page with a button."""
        return self.address.endswith(".pth")

    @property
    def offer(self) -> str:
        """How its file is had: `model_zoo.get(NAME, trained=True)` fetches it, or by hand."""
        if self.downloadable:
            return "fetched"
        return "on a page" if self.address else "no address"

    def config(self) -> CfgNode:
        """The config of the detector, with its source's conventions and settings."""
        kind, words = KINDS[self.kind], ["MODEL.HRNET.VARIANT", self.variant]
        if kind.classes is not None:
            words += [kind.classes.yaml, str(self.classes)]
        words += [*FORMS[self.form].overrides, *self.settings]
        return known_config(self.kind, self.conventions, words)


@cache
def checkpoints() -> tuple[Published, ...]:
    """The published checkpoints: name, source, data, results, licence, file, address."""
    text = Path(__file__).with_name("model_zoo.csv").read_text(encoding="utf-8")
    return tuple(_row(**words) for words in csv.DictReader(text.splitlines()))


def _row(*, classes: str, box_ap: str, mask_ap: str, settings: str, **words: str) -> Published:
    box, mask = (float(ap) if ap else None for ap in (box_ap, mask_ap))
    return Published(
        **words, classes=int(classes), box_ap=box, mask_ap=mask, settings=tuple(settings.split())
    )


def chosen(words: Sequence[str] = ()) -> list[Published]:
    """The rows that have all the words in their name, data, file or licence, whatever their case.

    Raises: InputError if there is none.
    """
    known = checkpoints()
    found = [row for row in known if all(word.casefold() in _text(row) for word in words)]
    if not found:
        raise InputError(
            f"no published checkpoint has {' and '.join(map(repr, words))} in its name, data, file "
            "or licence; there are those of "
            f"{', '.join(dict.fromkeys(row.source for row in known))}, trained on "
            f"{', '.join(dict.fromkeys(row.data for row in known))} (hrnet-det checkpoints)"
        )
    return found


def _text(row: Published) -> str:
    return " ".join((row.name, row.data, row.file, row.licence)).casefold()


def checkpoint_table(words: Sequence[str] = ()) -> str:
    """The published checkpoints that have the words, for reading; with some, their addresses too.

    Raises: as `chosen`.
    """
    found = chosen(words)
    heads = ["name", "trained on", "published", "licence", "weights"]
    rows = [[row.name, row.data, row.ap, row.licence, row.offer] for row in found]
    if words:
        heads.append("address")
        rows = [[*cells, row.address] for cells, row in zip(rows, found, strict=True)]
    table = tabulate(rows, heads, disable_numparse=True)
    lines = [
        table,
        f"{len(found)} of {len(checkpoints())} checkpoints, with the licence of their repository. "
        "AP in percent, as their authors published it (COCO: on val2017).",
    ]
    return "\n".join([*lines, *([] if words else [ADVICE])])


def checkpoint_json(words: Sequence[str] = ()) -> str:
    """The same as a JSON list, with all that is known of each. Raises: as `chosen`."""
    rows = [
        {"name": row.name, "conventions": row.conventions, **asdict(row)} for row in chosen(words)
    ]
    return json.dumps(rows, indent=2)

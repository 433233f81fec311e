"""The published HRNet detectors that can be loaded: where they are, and their AP."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode

from hrnet_det.checkpoint.model_config import known_config
from hrnet_det.modeling.kinds import KINDS

SEMANTIC_CLASSES = "183"  # of published Hybrid Task Cascades: COCO's stuff and thing maps


@dataclass(frozen=True)
class Published:
    """A checkpoint that others have published: a row of published.csv.

    Source: configs/hrnet/metafile.yml of mmdetection 3.3 and the README files of
    HRNet-Object-Detection (whose W48 rows of Mask R-CNN have their columns exchanged, and whose
    second W48 Faster R-CNN is 2x) and HRNet-MaskRCNN-Benchmark. An address that a README gives to
    two rows is kept with the first. The FCOS of mmdetection 1, which has no detector here, is left
    out.

    Args:
        source: whose it is, a key of `conventions.CONVENTIONS`.
        kind: a key of `KINDS`. variant: a key of `VARIANTS`.
        schedule: 1x, 2x, 20e, ..., and what else tells one training from another.
        box_ap, mask_ap: on COCO val2017, percent, as published; mask_ap None without masks.
        file: its name; empty if it is not known.
        address: where its authors offer it; empty if it is not known.
    """

    source: str
    kind: str
    variant: str
    schedule: str
    box_ap: float
    mask_ap: float | None
    file: str
    address: str

    @property
    def name(self) -> str:
        """Such as "mmdet/faster_rcnn_hrnetv2p_w18_1x"."""
        return f"{self.source}/{self.kind}_hrnetv2p_{self.variant}_{self.schedule}"

    @property
    def downloadable(self) -> bool:
        """The address is that of the file itself, not of a page with a button."""
        return self.address.endswith(".pth")

    def config(self) -> CfgNode:
        """The config of the detector, with its source's conventions."""
        kind, words = KINDS[self.kind], ["MODEL.HRNET.VARIANT", self.variant]
        if kind.semantic_classes is not None:
            words += [kind.semantic_classes.yaml, SEMANTIC_CLASSES]
        return known_config(self.kind, self.source, words)


def checkpoints() -> list[Published]:
    """The published checkpoints that can be loaded: name, source, AP, file, address."""
    text = Path(__file__).with_name("published.csv").read_text()
    _, *rows = csv.reader(text.splitlines())
    return [
        Published(*words, float(box_ap), float(mask_ap) if mask_ap else None, file, address)
        for *words, box_ap, mask_ap, file, address in rows
    ]

"""The commands that texts of the project show, and files that stand in for what they name."""

import json
import re
import shlex
from pathlib import Path

from detectron2.data import MetadataCatalog
from helpers.tiny import REPO

from hrnet_det.config.files import config_folder
from hrnet_det.data.dataset_kinds import files_of
from hrnet_det.data.own_data import COCO_NAMES

BUILTIN = (
    "coco_2017_train",
    "coco_2017_val",
    "keypoints_coco_2017_train",
    "keypoints_coco_2017_val",
    "coco_2017_train_panoptic_separated",
    "coco_2017_val_panoptic_separated",
    "coco_2017_train_stuffthing",
    "cityscapes_fine_sem_seg_train",
    "cityscapes_fine_sem_seg_val",
)


def shown_in(page):
    """The words of each command in a page's ```bash blocks."""
    for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r" && ", line):
                words = shlex.split(part, comments=True)
                if words:
                    yield words


def header_of(config):
    """The words of the command in the first line of a shipped config."""
    first = (config_folder() / config).read_text().splitlines()[0]
    return shlex.split(first.removeprefix("#").partition("  (")[0])


def all_shown():
    """(page or config, command) of everything that is shown."""
    pages = sorted((REPO / "docs").glob("*.md"))
    for page in (REPO / "README.md", REPO / "datasets" / "README.md", *pages):
        for words in shown_in(page):
            yield page.relative_to(REPO).as_posix().removeprefix("docs/"), words


def stand_ins(folder: Path, patch) -> None:
    """Files in the places of the builtin datasets, empty but for COCO's categories."""
    for name in BUILTIN:
        metadata = MetadataCatalog.get(name)
        for field, path in list(metadata.__dict__.items()):
            if isinstance(path, str) and path.startswith("datasets/"):
                patch.setitem(metadata.__dict__, field, str(folder / path))
        for path in map(Path, files_of(name)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch() if path.suffix else path.mkdir(exist_ok=True)
        if name in COCO_NAMES:
            classes = metadata.thing_classes
            ids = metadata.get("thing_dataset_id_to_contiguous_id", range(len(classes)))
            rows = [{"id": n, "name": name} for n, name in zip(ids, classes, strict=True)]
            Path(metadata.json_file).write_text(json.dumps({"categories": rows}))

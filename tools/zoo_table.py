"""The tables of docs/model-zoo.md: the shipped configs, and the published checkpoints.

`python -m tools.zoo_table` writes them between their marks there.
"""

from __future__ import annotations

from pathlib import Path

from detectron2.config import CfgNode

from hrnet_det import model_zoo
from hrnet_det.published import COCO
from tools import tables
from tools.complexity import PADDED_SIZE, Complexity, complexity, on_meta
from tools.headers import header_names, read_header
from tools.published import SOURCES, published
from tools.tables import markdown

PAGE = Path("docs/model-zoo.md")
CITYSCAPES_SIZE = (1024, 2048)  # height, width, pixels
# Of the projects whose checkpoints were trained on COCO: those in columns, by recipe.
CHECKPOINTS = (
    "mmdet",
    "mmdet1",
    "hrnet_object_detection",
    "maskrcnn_benchmark",
    "hrnet_fcos",
)
COLUMNS = ("detector", "network", "recipe", "parameters, 10^6", "GMAC")


def zoo_names() -> list[str]:
    """The shipped configs that have a row: not the other names that two of them have."""
    return [name for name in header_names() if "/" in name and name.endswith(".yaml")]


def zoo_table() -> str:
    """Markdown: a row for each shipped config."""
    counted: dict[str, Complexity] = {}  # of each model, which several recipes share
    return markdown([zoo_row(name, counted) for name in zoo_names()], [*COLUMNS, *_sources()])


def zoo_row(name: str, counted: dict[str, Complexity]) -> list[str]:
    """The cells of a config; its model is counted unless that is known, and then it is."""
    cfg = model_zoo.get_config(name)
    key = model_key(cfg)
    if key not in counted:
        counted[key] = complexity(on_meta(cfg), size=image_size(cfg))
    numbers = [f"{counted[key].parameters / 1e6:.2f}", f"{counted[key].run_form / 1e9:.1f}"]
    first, network, recipe, *known = described(name)
    return [first, network, recipe, *numbers, *known]


def described(name: str) -> list[str]:
    """The cells of a config that nothing is counted for: what it is, and what is published."""
    header = read_header(name)
    values = {SOURCES[result.source]: result.text for result in published(name)}
    return [
        f"[{header.detector}](../configs/{name})",
        f"{header.network}-{header.variant}",
        header.recipe,
        *(values.get(source, "-") for source in _sources()),
    ]


def checkpoint_table() -> str:
    """Markdown: a row for each checkpoint of COCO, with the AP in its source's column."""
    cells: dict[str, dict[str, str]] = {}
    for row in model_zoo.checkpoints():
        if row.data == COCO:
            name = row.name.partition("/")[2]
            known = cells.setdefault(name, dict.fromkeys(CHECKPOINTS, "-"))
            known[row.source] = row.ap.partition(" ")[0]
    rows = [[name, *known.values()] for name, known in cells.items()]
    return markdown(rows, ["checkpoint", *(f"`{source}/`" for source in CHECKPOINTS)])


def other_checkpoint_table() -> str:
    """Markdown: a row for each checkpoint of other data."""
    rows = [
        [f"`{row.name}`", row.data, row.ap or "-", row.licence]
        for row in model_zoo.checkpoints()
        if row.data != COCO
    ]
    return markdown(rows, ["checkpoint", "trained on", "published", "licence"])


def model_key(cfg: CfgNode) -> str:
    """Equal for configs whose models have the same parameters and multiply-adds."""
    model = cfg.MODEL.clone()
    model.defrost()
    model.HRNET.NORM, model.HRNET.NORM_EVAL = "", True
    return model.dump()


def image_size(cfg: CfgNode) -> tuple[int, int]:
    """Height and width, in pixels, at which a config's multiply-adds are counted."""
    of_cityscapes = any(name.startswith("cityscapes") for name in cfg.DATASETS.TEST)
    return CITYSCAPES_SIZE if of_cityscapes else PADDED_SIZE


def _sources() -> list[str]:
    return list(dict.fromkeys(SOURCES.values()))


TABLES = {
    "zoo table": zoo_table,
    "checkpoint table": checkpoint_table,
    "table of other checkpoints": other_checkpoint_table,
}

if __name__ == "__main__":
    tables.run("tools.zoo_table", __doc__, PAGE, TABLES)

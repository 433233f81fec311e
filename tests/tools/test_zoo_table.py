"""The tables of docs/model-zoo.md are what the tool makes of the configs and checkpoints."""

import pytest
from helpers.tiny import REPO

from hrnet_det import model_zoo
from tools import zoo_table as zoo
from tools.tables import between_marks

TEXT = (REPO / zoo.PAGE).read_text()
NAMES = zoo.zoo_names()
KINDS = sorted({name.partition("_hrnet")[0] for name in NAMES})
COUNTED = slice(3, 5)  # the columns that take long: parameters and multiply-adds


def shown(what):
    """The cells of a table of the page."""
    _, table, _ = between_marks(TEXT, what)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_page_has_every_config_with_what_is_published_of_it():
    header, _, *rows = shown("zoo table")
    assert header == [*zoo.COLUMNS, "P", "OD", "MM", "MRB", "PDL"]
    described = [[*row[: COUNTED.start], *row[COUNTED.stop :]] for row in rows]
    assert described == [zoo.described(name) for name in NAMES], "python -m tools.zoo_table"


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_has_what_is_counted(kind):
    """Of every model once: building and counting one takes half a second or more."""
    rows = {row[0].rpartition("/configs/")[2].rstrip(")"): row for row in shown("zoo table")[2:]}
    counted = {}
    for name in NAMES:
        if name.startswith(f"{kind}_hrnet"):
            assert rows[name] == zoo.zoo_row(name, counted), "python -m tools.zoo_table"


def test_configs_of_one_model_are_counted_once():
    names = ["w18_1x", "w18_2x", "w18_syncbn_mstrain_1x", "w32_1x"]
    names = [f"COCO-Detection/faster_rcnn_hrnetv2p_{name}.yaml" for name in names]
    keys = [zoo.model_key(model_zoo.get_config(name)) for name in names]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_the_page_has_every_checkpoint():
    for what, table in (
        ("checkpoint table", zoo.checkpoint_table()),
        ("table of other checkpoints", zoo.other_checkpoint_table()),
    ):
        _, shown_table, _ = between_marks(TEXT, what)
        assert shown_table == table, "python -m tools.zoo_table"
    rows = {name: cells for name, *cells in shown("checkpoint table")[2:]}
    others = shown("table of other checkpoints")[2:]
    on_coco = sum(cell != "-" for cells in rows.values() for cell in cells)
    assert on_coco + len(others) == len(model_zoo.checkpoints())
    assert rows["faster_rcnn_hrnetv2p_w18_2x"] == ["38.9", "38.3", "38.1", "38.4", "-"]
    assert rows["mask_rcnn_hrnetv2p_w48_2x"] == ["-", "42.9/38.3", "-", "-", "-"]
    assert (next(row for row in others if "mask_rcnn_hrnetv2p_w18_1x" in row[0])[:3]) == [
        "`bdd100k/mask_rcnn_hrnetv2p_w18_1x`",
        "BDD100K",
        "22.97/16.54 box/mask AP",
    ]

"""The tables of docs/from-mmdetection.md are what convert-config converts."""

from helpers.tiny import REPO

from hrnet_det.config.keys import get_cfg
from hrnet_det.config.yaml_files import flat
from hrnet_det.convert_config.convert import ROWS
from tools import keys_table as tables
from tools.tables import with_tables

TEXT = (REPO / tables.PAGE).read_text()


def test_the_page_has_what_is_converted():
    assert with_tables(TEXT, tables.TABLES) == TEXT, "python -m tools.keys_table"


def test_every_row_of_every_detector_is_in_a_group():
    grouped = {id(row) for rows in tables.GROUPS.values() for row in rows}
    assert {id(row) for rows in ROWS.values() for row in rows} <= grouped


def test_our_keys_exist():
    known = flat(get_cfg())
    groups = {key.rpartition(".")[0] for key in known}
    named = {key for rows in ROWS.values() for row in rows for key in row.keys}
    assert len(named) > 80 and named <= known.keys() | groups


def test_names_of_a_group_are_shortened():
    assert tables.shortened(["a.b.c", "a.b.d", "a.e", "f"]) == "`a.b.c`, `d`, `a.e`, `f`"
    assert tables.shortened(["a.*.c", "a.d"]) == "`a.c`, `d`"
    row = next(r for r in ROWS["fcos"] if r.keys == ("SOLVER.BASE_LR",))
    assert f"| {tables.shortened(row.names)} | `SOLVER.BASE_LR` | |" in tables.keys_table()

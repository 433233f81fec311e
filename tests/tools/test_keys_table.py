"""The tables of docs/from-mmdetection.md are what convert-config converts."""

from helpers.tiny import REPO

from hrnet_det.config.keys import get_cfg
from hrnet_det.config.yaml_files import flat
from hrnet_det.convert_config.convert import ROWS
from tools import keys_table as tables

TEXT = (REPO / tables.PAGE).read_text()


def test_the_page_has_what_is_converted():
    for what, made in (
        ("table of keys", tables.keys_table()),
        ("table of names", tables.names_table()),
    ):
        assert tables.between_marks(TEXT, what)[1] == made, "python -m tools.keys_table"


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


def test_tables_are_written_between_their_marks_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(TEXT.replace("| `work_dir` | `OUTPUT_DIR` | |\n", "| old | old | |\n"))
    assert page.read_text() != TEXT
    tables.write(page)
    assert page.read_text() == TEXT

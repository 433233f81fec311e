"""Tables of the docs, which tools write between their marks."""

import pytest

from hrnet_det.errors import InputError
from tools.tables import write

PAGE = (
    "before\n<!-- first -->\n{}\n<!-- end of first -->\nbetween\n"
    "<!-- second -->\n{}\n<!-- end of second -->\nafter\n"
)
TABLES = {"first": lambda: "| new |", "second": lambda: "| newer |"}


def test_tables_are_written_between_their_marks_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.format("| old |", "| older |\n| rows |"))
    write(page, TABLES)
    assert page.read_text() == PAGE.format("| new |", "| newer |")


@pytest.mark.parametrize("text", ["no marks", PAGE + PAGE])
def test_a_mark_that_is_not_there_once(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(InputError, match="must have one line <!-- first -->"):
        write(page, TABLES)
    assert page.read_text() == text

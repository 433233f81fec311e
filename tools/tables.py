"""Tables of the docs, each between its two marks, which a tool writes anew."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from hrnet_det.errors import InputError

Tables = Mapping[str, Callable[[], str]]  # by the name in their marks, what makes them


def markdown(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> str:
    """Markdown that does not change in one row because another has become wider."""
    padded = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
    return re.sub("-{3,}", "---", re.sub(" +", " ", padded))


def between_marks(text: str, what: str) -> tuple[str, str, str]:
    """What is before, between and after the marks of a table. Raises: InputError without them."""
    start, end = f"<!-- {what} -->\n", f"\n<!-- end of {what} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise InputError(
            f"the page must have one line {start.strip()} and below it one {end.strip()}"
        )
    before, rest = text.split(start)
    table, after = rest.split(end)
    return before + start, table, end + after


def with_tables(text: str, tables: Tables) -> str:
    """A page's text with its tables made anew. Raises: InputError if a mark is not there."""
    for what, make in tables.items():
        before, _, after = between_marks(text, what)
        text = before + make() + after
    return text


def write(path: Path, tables: Tables) -> None:
    """Put the tables between their marks in a page. Raises: as `with_tables`."""
    path.write_text(with_tables(path.read_text(), tables))


def run(prog: str, about: str, page: Path, tables: Tables) -> None:
    """The command of a tool that writes the tables of a page."""
    parser = argparse.ArgumentParser(prog=prog, description=about)
    parser.add_argument("page", nargs="?", type=Path, default=page, help="(%(default)s)")
    page = parser.parse_args().page
    write(page, tables)
    print(page)

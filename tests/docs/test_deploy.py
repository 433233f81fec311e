"""docs/deploy.md says of the formats what the table of the package has."""

import argparse

from helpers.tiny import REPO

from hrnet_det.arguments.export import add_export
from hrnet_det.export import FORMATS

HEAD = (
    "| `--format` | file | `--precision` | sizes of images | `--processing`, else the other one | "
    "why no other precision |\n|---|---|---|---|---|---|"
)


def table():
    lines = [HEAD]
    for row in FORMATS.values():
        files = f"`{row.suffix}`{' with `.bin`' if row.suffix == '.xml' else ''}"
        sizes = "any, or one by `--size`" if row.dynamic else "one, `--size`"
        cells = (f"`{row.name}`", files, ", ".join(row.precisions), sizes, row.processing)
        lines.append(f"| {' | '.join(cells)} | {row.others or 'it has all'} |")
    return "\n".join(lines)


def test_the_table_of_formats_is_the_package_s():
    assert table() in (REPO / "docs" / "deploy.md").read_text(), f"the table is\n{table()}"


def test_the_command_has_the_same_formats():
    parser = argparse.ArgumentParser()
    add_export(parser)
    (option,) = [a for a in parser._actions if a.dest == "format"]
    assert tuple(option.choices) == tuple(FORMATS)

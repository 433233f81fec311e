"""The table of docs/reliability.md has as many cases of each kind as are tried here."""

import re

from bad_input import (
    test_commands,
    test_configs,
    test_images,
    test_jsons,
    test_values,
    test_weights,
)
from helpers.tiny import REPO

GROUPS = {
    "Config files": test_configs.TABLE,
    "Values of keys": test_values.TABLE,
    "Jsons": {**test_jsons.CONTENTS, **test_jsons.TEXTS},
    "Masks": test_jsons.MASKS,
    "Rows of your own code": test_jsons.ROWS,
    "Images": test_images.TABLE,
    "Weights": test_weights.TABLE,
    "Command lines": test_commands.TABLE,
}


def test_the_documented_numbers_are_those_of_the_tests():
    text = (REPO / "docs" / "reliability.md").read_text()
    section = text.partition("\n## Bad input\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \|", section, re.MULTILINE)
    numbers = {group: len(cases) for group, cases in GROUPS.items()}
    assert dict(rows) == {group: str(number) for group, number in numbers.items()}
    assert len(rows) == len(GROUPS)
    assert f"{sum(numbers.values())} cases" in section and sum(numbers.values()) >= 250

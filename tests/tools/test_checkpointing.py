"""What checkpointing keeps, measured."""

import pytest

from hrnet_det.analysis import Case
from tools.checkpointing import CHECKPOINTABLE, checkpointing_table, compare_checkpointing


@pytest.mark.parametrize("mode", ["training", "training with trained norms"])
def test_checkpointing_keeps_less(mode):
    case = Case("pyramid", mode, "w18_small_v1", (64, 64))
    rows = compare_checkpointing(case, rounds=1, parts=True)
    kept = {row["name"]: row["activations"] for row in rows}
    assert len(kept) == 2 + len(CHECKPOINTABLE) + 2  # timm, none, each part, two levels
    assert kept["smallest"] < kept["balanced"] < kept["none"]
    assert all(kept[name] < kept["none"] for name in kept if name.endswith(" alone"))
    table = checkpointing_table(rows)
    assert "| smallest" in table and "| none" in table

"""The same seed gives the same bits in one process on a CPU."""

import torch
from helpers.tiny import metrics_rows, train_net
from helpers.training import words


def trained(data, output, seed):
    """Weights and losses of a training with random crops, flips and samples."""
    more = ["SEED", seed, "SOLVER.MAX_ITER", 2, "INPUT.CROP.ENABLED", True]
    assert train_net(*words(data, output, *more, splits=["TRAIN"])).code == 0
    content = torch.load(output / "model_final.pth", weights_only=True)
    losses = [row["total_loss"] for row in metrics_rows(output)]
    return content["model"], losses


def test_the_same_seed_gives_the_same_bits(coco, tmp_path):
    (first, losses), (second, again) = (trained(coco, tmp_path / n, 5) for n in "ab")
    assert losses == again and first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    other, _ = trained(coco, tmp_path / "c", 6)
    assert not torch.equal(
        first["roi_heads.box_head.fc1.weight"], other["roi_heads.box_head.fc1.weight"]
    )

"""Counted memory of tensors, by hand."""

import torch
from torch import nn

from hrnet_det.analysis.memory import LiveBytes, activation_bytes, peak_bytes

CPU = torch.device("cpu")


def test_live_bytes_are_counted_while_they_live():
    x = torch.zeros(1000)
    with LiveBytes() as counted:
        y = x + 1
        assert (counted.live, counted.peak) == (4000, 4000)
        z = y.view(10, 100)  # the same memory
        z = z.double()
        assert (counted.live, counted.peak) == (12000, 12000)
        del z
        assert (counted.live, counted.peak) == (4000, 12000)
        y.add_(x)  # in place; x was there before
        assert counted.live == 4000


def test_activations_are_what_the_backward_pass_needs():
    net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5, bias=False))
    x = torch.randn(100, 10)
    # the linear layer's 100x20 is freed after the ReLU, which keeps its result; then 100x5
    assert activation_bytes(lambda: net(x)) == 4 * 100 * (20 + 5)
    assert peak_bytes(lambda: net(x), CPU) == 4 * 100 * (20 + 20)

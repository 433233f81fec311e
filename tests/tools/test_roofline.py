"""Measured convolutions: which there are, and their arithmetic."""

import pytest
import torch
from helpers.networks import TINY, images
from torch.utils.flop_counter import FlopCounterMode

from hrnet_det import HRNet
from hrnet_det.modeling import optimize_for_inference
from hrnet_det.modeling.backbone.fused import FusedConv2d
from tools import roofline


@torch.no_grad()
def test_every_convolution_is_counted():
    plain = HRNet(variant=TINY).eval()
    forward = FusedConv2d._onednn
    total, kinds = roofline.measure(optimize_for_inference(plain), images(), 2)
    assert FusedConv2d._onednn is forward
    with FlopCounterMode(display=False) as counter:
        plain(images())
    assert 1e9 * sum(flop for _, flop in kinds.values()) == pytest.approx(
        counter.get_total_flops(), rel=1e-9
    )
    # The stem: 2 images, 32x48 cells of 64 channels, of 3x3 cells of 3 channels, two FLOP each.
    assert kinds[3, 2, 3, 64][1] * 1e9 == pytest.approx(2 * 32 * 48 * 64 * 9 * 3 * 2)
    assert 0 < sum(seconds for seconds, _ in kinds.values()) < 2 * total


def test_the_table_adds_up(monkeypatch, capsys):
    threads = torch.get_num_threads()
    found = {
        (3, 1, 18, 18): [0.010, 1.0],
        (3, 2, 64, 64): [0.020, 4.0],
        (1, 1, 8, 8): [0.0001, 0.1],
    }
    monkeypatch.setattr(roofline, "measure", lambda *_: (0.040, found))
    roofline.main(["--variant", "w18", "--size", "64x64"])
    torch.set_num_threads(threads)
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| 3x3, 64 to 64, stride 2 | 20.0 | 50% | 4.00 | 200 |",
        "| 3x3, 18 to 18 | 10.0 | 25% | 1.00 | 100 |",
        "| others | 0.1 | 0% | 0.10 | 1000 |",
        "| all convolutions | 30.1 | 75% | 5.10 | 169 |",
        "| all | 40 | | | 127 |",
        "",
        "All convolutions as fast as the fastest here (200 GFLOP/s) would take 26 ms; what is "
        "beside them takes 10 ms.",
    ]

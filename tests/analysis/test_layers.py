"""A network's convolutions one by one: how many, how much work, and what is said of them."""

import torch
from torch import nn

from hrnet_det.analysis.layers import Layer, layers_table, measure_layers
from hrnet_det.modeling.inference.optimize import optimize_for_inference


def test_each_convolution_is_found_with_its_work():
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.Conv2d(16, 16, 1),
        nn.Conv2d(16, 16, 1),
        nn.Conv2d(16, 32, 3, padding=1, groups=4),
    )
    found = measure_layers(optimize_for_inference(network.eval()), torch.randn(2, 3, 32, 64))
    cells = 2 * 16 * 32
    assert {layer.name: (layer.count, layer.gmac) for layer in found} == {
        "3x3, 3 to 16": (1, cells * 16 * 3 * 9 / 1e9),
        "1x1, 16 to 16": (2, 2 * cells * 16 * 16 / 1e9),
        "3x3, 16 to 32": (1, cells * 32 * 4 * 9 / 1e9),
    }
    assert all(0 < layer.seconds < 1 for layer in found)


def test_the_table_has_what_each_takes_and_the_most_that_can_be_had():
    layers = [
        Layer("3x3, 64 to 64", 2, 1.0, 0.020),  # 100 GFLOP/s
        Layer("3x3, 64 to 64", 1, 1.0, 0.020),
        Layer("3x3, 18 to 18", 5, 1.0, 0.060),
        Layer("1x1, 18 to 36", 3, 0.01, 0.0004),  # below 3 % of the time
    ]
    text = layers_table(layers, whole=0.2008, plain=0.4016, peak=200)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert rows[2:-1] == [
        ["3x3, 18 to 18", "5", "1.00", "60.0", "33", "17%"],
        ["3x3, 64 to 64", "3", "2.00", "40.0", "100", "50%"],
        ["others", "3", "0.01", "0.4", "50", "25%"],
        ["all", "11", "3.01", "100.4", "60", "30%"],
    ]
    assert rows[-1] == [
        "They are 50% of the 201 ms of the whole, which is 2.00 times as fast as plain; without "
        "all the rest it would be 4.00, and with each at the speed of the fastest "
        f"{0.4016 / (6.02 / 200):.2f}."
    ]

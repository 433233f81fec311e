"""The network that ours is compared with computes the same."""

import pytest
import torch

from hrnet_det.analysis.models import build_pyramid, with_naive_pyramid


def test_the_naive_pyramid_computes_the_same():
    pytest.importorskip("timm")
    ours = build_pyramid("w18_small_v1", "cpu", norm_eval=True).eval().double()
    naive = with_naive_pyramid(ours, "w18_small_v1").eval().double()
    x = torch.randn(1, 3, 64, 96, dtype=torch.double)
    with torch.no_grad():
        expected, result = naive(x), ours(x)
    assert list(expected) == list(result)
    for name, level in result.items():
        torch.testing.assert_close(level, expected[name], rtol=1e-9, atol=1e-9)

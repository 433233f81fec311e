"""Cost against image size: the exponent that is fitted, the table, and what it says."""

import pytest

from hrnet_det.analysis.growth import exponent, growth_tables

SIDES = (500, 1000, 2000, 4000)  # pixels; the other side has 1000


def measured(**seconds):
    """Results of a pyramid: each form's seconds at SIDES, as a function of megapixels."""
    case = {"part": "pyramid", "mode": "inference", "variant": "w18", "batch": 2}
    rows = [
        {"case": case | {"size": (1000, side)}, "form": form, "median": of(2 * side / 1000)}
        for side in SIDES
        for form, of in seconds.items()
    ]
    return {"rows": rows}


@pytest.mark.parametrize("power", [0.5, 1.0, 1.7])
def test_the_exponent_of_a_power_is_found(power):
    assert exponent([(x, 3 * x**power) for x in (0.5, 1, 5)]) == pytest.approx(power)


def test_the_exponent_is_that_of_all_sizes():
    # The slope of a least-squares line through (0, 0), (1, 0), (2, 3) in powers of 2.
    assert exponent([(1, 1), (2, 1), (4, 8)]) == pytest.approx(1.5)


def test_a_row_has_milliseconds_at_each_size_and_for_each_megapixel():
    (text,) = growth_tables(measured(plain=lambda x: 0.2 * x, ours=lambda x: 0.1 * x + 0.001))
    lines = text.splitlines()
    assert lines[0].startswith("w18 pyramid, inference: cost against image size, in ms")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:-1]]
    assert cells[0] == ["", "1000x500", "1000x1000", "1000x2000", "1000x4000", "exponent"]
    assert cells[2] == ["plain", "200 (200)", "400 (200)", "800 (200)", "1,600 (200)", "1.00"]
    assert cells[3] == ["ours", "101 (101)", "201 (100)", "401 (100)", "801 (100)", "1.00"]
    assert lines[-1] == "Time is linear in the pixels: the exponents are from 1.00 to 1.00."


def test_what_grows_faster_than_the_pixels_is_named():
    (text,) = growth_tables(measured(plain=lambda x: x, attention=lambda x: x**1.9))
    assert text.endswith("Time grows faster than the pixels in: attention (1.90).")


def test_fixed_costs_are_not_called_linear():
    (text,) = growth_tables(measured(plain=lambda x: x**0.5))
    assert text.endswith("grows no faster than the pixels: the exponents are from 0.50 to 0.50.")


def test_one_size_says_nothing_of_growth():
    results = measured(plain=lambda x: x)
    results["rows"] = results["rows"][:1]
    assert list(growth_tables(results)) == []

"""Plots as parts of pages."""

import warnings

from hrnet_det.drawing.charts import draw_chart


def test_text_that_stays_text_may_have_any_letters():
    """matplotlib's fonts lack them; the page's are the reader's."""

    def draw(axis):
        axis.plot([0, 1], label="猫")
        axis.legend()
        return "Cats."

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chart = draw_chart(draw, text=True)
    assert ">猫</text>" in chart.svg.decode() and chart.caption == "Cats."

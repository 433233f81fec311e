"""Plots in SVG, for pages that need no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#4363d8", "#f58231", "#3cb44b", "#911eb4")
LIMIT = "#e6194b"  # of lines that mark a limit or a place
LONGEST = 22  # characters of a name beside an axis
_ABOVE = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 4}  # covers no values


@dataclass(frozen=True)
class Chart:
    """A plot, and what is written under it."""

    svg: bytes
    caption: str

    @property
    def address(self) -> str:
        """The plot itself as an address, for a page without other files."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


def draw_chart(draw: Callable[[Axes], str], *, size: tuple[float, float] = (5.6, 3.6)) -> Chart:
    """A plot of one axis, the same bytes whenever it is drawn of the same values.

    Args:
        draw: plots on the axis, and returns the caption.
        size: width and height in inches, of 72 points.
    """
    with matplotlib.rc_context({"svg.hashsalt": "hrnet_det", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.subplots()
        axis.spines[["top", "right"]].set_visible(False)
        caption = draw(axis)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Chart(buffer.getvalue(), caption)


def legend_above(axis: Axes) -> None:
    axis.legend(frameon=False, fontsize=8, **_ABOVE)


def plain(name: str, longest: int = LONGEST) -> str:
    """A name as matplotlib writes it, cut short: no dollar starts a formula."""
    short = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return short.replace("$", r"\$")

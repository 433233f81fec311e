"""Plots in SVG, for pages that need no other file."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#4363d8", "#f58231", "#3cb44b", "#911eb4")
LIMIT = "#e6194b"  # of lines that mark a limit or a place
LONGEST = 22  # characters of a name beside an axis
_METADATA = re.compile(rb" *<metadata>.*?</metadata>\n", re.DOTALL)  # which names addresses
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

    def inline(self, parts: Mapping[str, tuple[str, str]]) -> Markup:
        """The plot as a part of a page, whose scripts and styles reach parts of it.

        Args:
            parts: the number of a class and its title, by the id (`Artist.set_gid`) of what is
                drawn of it: it becomes data-class, and the title is shown beside the pointer.
        """
        svg = self.svg.decode()
        for gid, (number, title) in parts.items():
            svg = svg.replace(
                f'<g id="{gid}">', f'<g data-class="{number}"><title>{escape(title)}</title>'
            )
        return Markup(svg[svg.index("<svg") :])


def draw_chart(
    draw: Callable[[Axes], str],
    *,
    size: tuple[float, float] = (5.6, 3.6),
    salt: str = "",
    text: bool = False,
) -> Chart:
    """A plot of one axis, the same bytes whenever it is drawn of the same values.

    Args:
        draw: plots on the axis, and returns the caption.
        size: width and height in inches, of 72 points.
        salt: makes its ids others than those of another plot, for `Chart.inline`.
        text: keep text as text, which is short, for a page that has a font.
    """
    options = {"svg.hashsalt": f"hrnet_det {salt}", "font.size": 9}
    options["svg.fonttype"] = "none" if text else "path"
    with matplotlib.rc_context(options):
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.subplots()
        axis.spines[["top", "right"]].set_visible(False)
        caption = draw(axis)
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            if text:  # letters that matplotlib's fonts lack are the page's font's
                warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")
            figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Chart(_METADATA.sub(b"", buffer.getvalue()), caption)


def legend_above(axis: Axes) -> None:
    axis.legend(frameon=False, fontsize=8, **_ABOVE)


def plain(name: str, longest: int = LONGEST) -> str:
    """A name as matplotlib writes it, cut short: no dollar starts a formula."""
    short = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return short.replace("$", r"\$")

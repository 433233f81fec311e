"""A drawing of HRNetV2p, from the image to Detectron2's heads, derived from the variant table."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from hrnet_det.modeling.backbone.hrnet import STEM_CHANNELS, branch_names
from hrnet_det.modeling.backbone.variants import VARIANTS, HRNetVariant, get_variant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BRANCH_COLOURS = ("#2b6cb0", "#15917a", "#c77d0a", "#c0415a", "#7a55a8")  # then the first again
INK, NEUTRAL, GREY, EDGE, BAND = "#1f2937", "#4a5568", "#8a94a6", "#c9d1dc", "#eff2f6"
PYRAMID_CHANNELS, LEVELS = 256, 5  # HRFPN's defaults
TIMES = "\N{MULTIPLICATION SIGN}"
# Lengths in points, x to the right, y downwards.
FONT, MARGIN, TITLES = 12, 10, (17, 44, 59)  # TITLES: y of a part, of a stage, of its size
TOP, SIDE, GAP, MIN_PITCH = 80, 76, 26, 41  # of the rows; SIDE: height of a map of stride 4
PLATE, CORE, RADIUS, PAD = 3.4, 36.6, 3.0, 4  # a block, blocks and fusion, a sum, in a frame


def draw_architecture(
    variant: str | HRNetVariant = "w32", path: str | Path = ".github/hrnetv2p_w32.svg"
) -> None:
    """Draw HRNetV2p as an SVG file.

    Source: the structure is that of arXiv:1908.07919 section 3.

    Args:
        variant: a name in VARIANTS or an HRNetVariant.
        path: the file to write; the same variant and matplotlib give the same bytes.
    Raises: ValueError if the name is unknown (the message lists the valid ones).
    """
    import matplotlib

    settings = {"svg.fonttype": "none", "svg.hashsalt": "hrnet_det", "font.family": "DejaVu Sans"}
    svg = io.StringIO()
    with matplotlib.rc_context(settings):
        metadata = {"Date": None, "Creator": None, "Title": _name("HRNetV2p", variant)}
        architecture_figure(variant).savefig(svg, format="svg", metadata=metadata)
    # Measured with the wide font that comes with matplotlib, shown with the reader's.
    text = svg.getvalue().replace("'DejaVu Sans'", "Helvetica, Arial, sans-serif")
    lines = (line.rstrip() for line in text.splitlines())
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def architecture_figure(variant: str | HRNetVariant) -> Figure:
    """The matplotlib figure that `draw_architecture` writes."""
    page = _Page(get_variant(variant))
    x = _stem_and_stage1(page)
    for s in range(2, len(page.widths) + 1):
        x = _stage(page, x, s)
    _key(page)
    width = f" (C = {page.widths[0]})" if page.doubling else ""
    page.part(_name("HRNetV2", variant) + width, MARGIN, x + 92)
    return page.figure(_heads(page, _pyramid(page, x)))


def _name(network: str, variant: str | HRNetVariant) -> str:
    """HRNetV2-W18-small-v1 of "w18_small_v1"; a variant without a name is only the network."""
    if isinstance(variant, HRNetVariant):
        return network
    return f"{network}-{variant.capitalize().replace('_', '-')}"


class _Page:
    """A white page with one row per stride, from 4, and the signs that are drawn on it."""

    def __init__(self, variant: HRNetVariant) -> None:
        from matplotlib.figure import Figure

        self.variant, self.widths = variant, variant.widths
        self.doubling = all(coarse == 2 * fine for fine, coarse in pairwise(self.widths))
        self.core = max(CORE, variant.blocks * (PLATE + 1) + 19)  # as wide for up to four blocks
        self.sides = [SIDE / 2**b for b in range(max(LEVELS, len(self.widths)))]
        self.rows = [TOP + SIDE / 2]  # their middles
        for fine, coarse in pairwise(self.sides):
            self.rows.append(self.rows[-1] + max(MIN_PITCH, (fine + coarse) / 2 + GAP))
        self.bottoms = [y + side / 2 for y, side in zip(self.rows, self.sides, strict=True)]
        self.colours = [BRANCH_COLOURS[b % len(BRANCH_COLOURS)] for b in range(len(self.widths))]
        self._figure = Figure(facecolor="white")
        self.ax = self._figure.add_axes((0, 0, 1, 1))
        self.ax.set_axis_off()

    def figure(self, width: float) -> Figure:
        height = self.rows[-1] + 22
        self._figure.set_size_inches(width / 72, height / 72)
        self.ax.set(xlim=(0, width), ylim=(height, 0))
        return self._figure

    def text(self, x: float, y: float, text: str, **style: object) -> None:
        style = {"ha": "center", "va": "baseline", "color": INK, "size": FONT} | style
        self.ax.text(x, y, text, **style)

    def titles(self, x: float, title: str, size: str) -> None:
        self.text(x, TITLES[1], title, weight="bold")
        self.text(x, TITLES[2], size)

    def part(self, title: str, start: float, end: float) -> None:
        """The title of a part of the network above a line as long as the part."""
        self.text(start, TITLES[0], title, ha="left", weight="bold", color=NEUTRAL)
        self.lines([[(start, TITLES[0] + 7), (end, TITLES[0] + 7)]], EDGE)

    def box(self, x: float, y: float, w: float, h: float, fill: str, **style: object) -> None:
        """A rectangle with round corners from its upper left corner (x, y)."""
        from matplotlib.patches import FancyBboxPatch

        style = {"lw": 0.8, "ec": "none", "zorder": 0} | style
        shape = f"round,pad=0,rounding_size={min(4, h / 2)}"
        self.ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle=shape, fc=fill, **style))

    def plates(
        self, x: float, y: float, h: float, widths: Sequence[float], fill: str, gid: str
    ) -> float:
        """Blocks or maps of height h side by side, middles at y; returns where they end."""
        starts = [x + sum(widths[:k]) + k for k in range(len(widths))]
        bars = list(zip(starts, widths, strict=True))
        self.ax.broken_barh(bars, (y - h / 2, h), color=fill, lw=0, zorder=3, gid=gid)
        return starts[-1] + widths[-1]

    def lines(self, paths: list, colours: Sequence[str] | str, **style: object) -> None:
        from matplotlib.collections import LineCollection

        lines = LineCollection(paths, colors=colours, linewidths=1.1, zorder=2, **style)
        self.ax.add_collection(lines, autolim=False)

    def arrow(self, points: list[tuple[float, float]], colour: str = GREY) -> None:
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path as Line

        style = {"arrowstyle": "-|>,head_length=4,head_width=2", "mutation_scale": 1, "lw": 1.1}
        self.ax.add_patch(FancyArrowPatch(path=Line(points), color=colour, zorder=2, **style))

    def operation(self, x: float, y: float, text: str, colour: str = INK) -> None:
        """The label of an operation, on a line."""
        w = 7 * len(text) + 6
        self.box(x - w / 2, y - 8.5, w, 17, "white", ec=colour, zorder=4)
        self.text(x, y + 4, text, size=FONT - 1, color=colour, zorder=5)

    def sums(self, x: float, rows: Sequence[float], colours: Sequence[str]) -> None:
        self.ax.scatter([x] * len(rows), rows, (2 * RADIUS) ** 2, "white", ec=colours, zorder=4)


def _stem_and_stage1(page: _Page) -> float:
    """Image, stem and stage 1; returns where stage 1 ends."""
    y, blocks, start = page.rows[0], page.variant.stage1_blocks, 134
    page.box(MARGIN, y - 46, 44, 92, "white", ec=GREY)
    page.text(MARGIN + 22, y + 4, "image")
    page.arrow([(MARGIN + 44, y), (start, y)])
    page.box(71, y - 46, 9, 92, EDGE, zorder=3)  # the two convolutions of stride 2
    page.box(83, y - SIDE / 2, 9, SIDE, EDGE, zorder=3)
    end = page.plates(start, y, SIDE, [PLATE] * blocks, NEUTRAL, "stage1")
    stem, stage1, lower = 81, (start + end) / 2, y + 64
    page.titles(stem, "stem", "stride 4")
    page.titles(stage1, "stage 1", f"{blocks} block" + "s" * (blocks > 1))
    page.text(stem, lower, f"{STEM_CHANNELS}")
    page.text(stage1, lower, f"{4 * page.variant.stage1_width}")
    page.text((stem + stage1) / 2, lower + 15, "channels")
    return end


def _stage(page: _Page, x: float, s: int) -> float:
    """Transition and modules of stage s from x on; returns where its last sums end."""
    rows, modules = page.rows[:s], page.variant.modules[s - 2]
    width = page.core + 2 * (RADIUS + PAD)  # of a module's frame
    start = x + (30 if s == 2 else 20)
    end = start + PAD + modules * (width + PAD)
    for b, colour in enumerate(page.colours[:s]):
        page.arrow([(x, rows[min(b, s - 2)]), (start + 2 * PAD, rows[b])], colour)
    upper, height = TOP - PAD, page.bottoms[s - 1] - TOP + 2 * PAD
    page.box(start, upper - PAD, end - start, height + 2 * PAD, BAND)
    page.titles((start + end) / 2, f"stage {s}", f"{modules} module" + "s" * (modules > 1))
    for m in range(modules):
        x = start + PAD + m * (width + PAD)
        page.box(x, upper, width, height, "white", ec=EDGE, zorder=1, gid=f"stage{s}.{m}")
        x = _module(page, x, s, m)
    return x


def _module(page: _Page, x: float, s: int, m: int) -> float:
    """Blocks and fusion of a module whose frame starts at x; returns where its sums end."""
    rows, colours, plates = page.rows[:s], page.colours[:s], [PLATE] * page.variant.blocks
    if m:  # from the sums of the module before
        page.lines([[(x - 2 * PAD, y), (x + PAD, y)] for y in rows], colours)
    for b, y in enumerate(rows):
        name = f"stage{s}.{m}.branches.{b}"
        end = page.plates(x + PAD, y, page.sides[b], plates, colours[b], name)
    x += PAD + page.core + RADIUS
    fusion = [[(end, source), (x, target)] for source in rows for target in rows]
    by_source = [colour for colour in colours for _ in rows]
    page.lines(fusion, by_source, gid=f"stage{s}.{m}.fuse_layers")
    page.sums(x, rows, colours)
    return x + RADIUS


def _pyramid(page: _Page, x: float) -> float:
    """HRFPN on the branches' outputs, which start at x; returns where its levels go."""
    y, start = page.rows[0], x + 127
    x = _concatenation(page, x, start)
    total = sum(page.widths)
    channels = f"{total // page.widths[0]}C = {total}" if page.doubling else f"{total} channels"
    page.titles((start + x) / 2, "concatenation", channels)
    reduced, levels = x + 42, x + 104
    page.arrow([(x, y), (reduced, y)])
    page.operation(x + 18, y, f"1{TIMES}1")
    for k in range(LEVELS):
        y, side = page.rows[k], page.sides[k]
        if k:
            page.arrow([(reduced + 6, page.bottoms[k - 1]), (reduced + 6, y - side / 2)])
        page.plates(reduced, y, side, [12], NEUTRAL, f"pool{k + 2}")
        page.arrow([(reduced + 12, y), (levels, y)])
        page.operation(reduced + 35, y, f"3{TIMES}3")
        page.plates(levels, y, side, [12], NEUTRAL, f"p{k + 2}")
        page.arrow([(levels + 12, y), (levels + 48, y)])
        page.text(levels + 17, y - 5, f"p{k + 2}", ha="left", weight="bold")
    page.text(reduced + 11, page.bottoms[0] + 17, "average pooling", ha="left")
    page.titles((reduced + levels + 12) / 2, "levels", f"{PYRAMID_CHANNELS} channels")
    page.part("HRFPN", start - 23, levels + 38)
    return levels + 48


def _concatenation(page: _Page, x: float, start: float) -> float:
    """The branches, brought to stride 4, side by side from start on; returns where they end."""
    end, upper = start, page.rows[0]
    for b, name in enumerate(branch_names(page.variant)):
        width, y, colour = page.widths[b], page.rows[b], page.colours[b]
        page.text(x + 13, y - 5, name, ha="left", weight="bold", color=colour)
        page.text(x + 42, y - 5, f"stride {4 * 2**b}", ha="left")
        page.text(x + 13, y + 14, f"{width} channels", ha="left")
        strip = max(3.0, 42 * width / sum(page.widths))
        bend = [(end + strip / 2, y), (end + strip / 2, page.bottoms[0])] if b else [(end, y)]
        page.arrow([(x, y), *bend], colour)
        if b:
            page.operation(start - 13, y, f"{TIMES}{2**b}", colour)
        end = page.plates(end, upper, SIDE, [strip], colour, f"{name}.upsampled") + 1
    return end - 1


def _heads(page: _Page, x: float) -> float:
    """What Detectron2 adds; returns where the image ends."""
    height = page.rows[LEVELS - 1] + 12 - TOP
    page.box(x, TOP, 46, height, BAND, ec=EDGE)
    middle, style = TOP + height / 2, {"rotation": 90, "va": "center"}
    page.text(x + 18, middle, "Detectron2", weight="bold", **style)
    page.text(x + 36, middle, "Faster, Mask, Cascade R-CNN …", **style)
    return x + 46 + MARGIN


def _key(page: _Page) -> None:
    """What the signs mean, in the corner where there are no branches yet."""
    y, colours, blocks = page.bottoms[1] + 34, page.colours, page.variant.blocks
    texts = ["module (exchange unit)", f"{blocks} basic block" + "s" * (blocks > 1)]
    texts += [f"3{TIMES}3 convolutions, stride 2", f"1{TIMES}1 convolution, upsampling"]
    texts += ["sum, ReLU", "bilinear upsampling"]
    for k, text in enumerate(texts):
        page.text(MARGIN + 36, y + 4 + 18 * k, text, ha="left")
    page.box(MARGIN, y - 7, 26, 14, "white", ec=GREY)
    page.plates(MARGIN + 4, y + 18, 12, [PLATE] * 4, colours[0], "key")
    page.lines([[(13, y + 31), (33, y + 41)], [(13, y + 59), (33, y + 49)]], colours[:2])
    page.sums(MARGIN + 13, [y + 72], [GREY])
    page.operation(MARGIN + 13, y + 90, f"{TIMES}2", GREY)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw HRNetV2p as an SVG file.")
    parser.add_argument("--variant", choices=VARIANTS, default="w32")
    parser.add_argument("--out", metavar="FILE", help="default: hrnetv2p_VARIANT.svg")
    args = parser.parse_args()
    out = args.out or f"hrnetv2p_{args.variant}.svg"
    draw_architecture(args.variant, out)
    print(out)


if __name__ == "__main__":
    main()

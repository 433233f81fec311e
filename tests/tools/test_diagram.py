"""The drawing of HRNetV2p: it shows the variant's numbers, legibly, and the same each time."""

import re
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hrnet_det import VARIANTS, HRNetVariant
from tools.diagram import architecture_figure, draw_architecture

COMMITTED = Path(__file__).parents[2] / ".github" / "hrnetv2p_w32.svg"
SVG = "{http://www.w3.org/2000/svg}"
UNEQUAL = HRNetVariant(widths=(20, 48, 30, 77), blocks=3, modules=(2, 1, 5))
THREE_BRANCHES = HRNetVariant(widths=(24, 48, 96), stage1_width=32, modules=(1, 2))
TWO_BRANCHES = HRNetVariant(widths=(7, 14), stage1_blocks=1, blocks=1, modules=(1,))
NAMED = ("w18_small_v1", "w18_small_v2", "w32", "w64")  # the others differ from w32 in C only
ALL = [*(VARIANTS[name] for name in NAMED), UNEQUAL, THREE_BRANCHES, TWO_BRANCHES]


def drawn(variant, path):
    draw_architecture(variant, path)
    return ElementTree.parse(path).getroot()


def texts(root):
    return Counter("".join(text.itertext()) for text in root.iter(f"{SVG}text"))


def ids(root, pattern):
    names = (group.get("id", "") for group in root.iter(f"{SVG}g"))
    return [name for name in names if re.fullmatch(pattern, name)]


def test_the_committed_image_is_what_the_code_draws(tmp_path):
    # Not byte for byte: that depends on the version of matplotlib.
    new, old = drawn("w32", tmp_path / "new.svg"), ElementTree.parse(COMMITTED).getroot()
    assert texts(old) == texts(new)
    signs = r"(stage|pool|p\d|hr\d).*"
    assert ids(old, signs) == ids(new, signs)
    assert old.get("viewBox") == new.get("viewBox")
    assert COMMITTED.stat().st_size < 150_000


@pytest.mark.parametrize("variant", ALL, ids=str)
def test_every_number_of_the_variant_is_drawn(variant, tmp_path):
    root = drawn(variant, tmp_path / "a.svg")
    labels = texts(root)
    for b, width in enumerate(variant.widths):
        assert labels[f"hr{b + 2}"] == labels[f"stride {4 * 2**b}"] - (b == 0) == 1  # and the stem
        assert labels[f"{width} channels"] >= 1
    assert labels["64"] >= 1
    assert labels[f"{4 * variant.stage1_width}"] >= 1
    assert any(re.search(rf"\b{sum(variant.widths)}\b", label) for label in labels)
    assert [labels[f"p{level}"] for level in range(2, 8)] == [1, 1, 1, 1, 1, 0]

    assert len(ids(root, r"stage\d\.\d+")) == sum(variant.modules)
    assert len(ids(root, r"stage\d\.\d+\.fuse_layers")) == sum(variant.modules)
    for s, modules in enumerate(variant.modules, start=2):
        assert len(ids(root, rf"stage{s}\.\d+")) == modules
        assert len(ids(root, rf"stage{s}\.\d+\.branches\.\d+")) == modules * s


def test_a_module_draws_its_blocks_and_a_line_between_any_two_branches():
    collections = {c.get_gid(): c for c in architecture_figure(UNEQUAL).axes[0].collections}
    assert len(collections["stage1"].get_paths()) == 4
    assert len(collections["stage4.4.branches.3"].get_paths()) == 3
    assert len(collections["stage2.1.fuse_layers"].get_paths()) == 4
    assert len(collections["stage4.0.fuse_layers"].get_paths()) == 16


def test_heights_are_the_resolutions():
    collections = {c.get_gid(): c for c in architecture_figure("w32").axes[0].collections}

    def height(name):
        y = collections[name].get_paths()[0].vertices[:, 1]
        return y.max() - y.min()

    finest = height("stage4.2.branches.0")
    halves = [finest / 2**k for k in range(5)]
    assert [height(f"stage4.2.branches.{b}") for b in range(4)] == pytest.approx(halves[:4])
    assert [height(f"hr{b}.upsampled") for b in range(2, 6)] == pytest.approx([finest] * 4)
    assert [height(f"p{level}") for level in range(2, 7)] == pytest.approx(halves)


@pytest.mark.parametrize("variant", ALL, ids=str)
def test_no_text_overlaps_another_or_leaves_the_page(variant):
    figure = architecture_figure(variant)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {text: text.get_window_extent(renderer) for text in figure.axes[0].texts}
    for a, b in combinations(boxes, 2):
        x0, y0 = max(boxes[a].x0, boxes[b].x0), max(boxes[a].y0, boxes[b].y0)
        x1, y1 = min(boxes[a].x1, boxes[b].x1), min(boxes[a].y1, boxes[b].y1)
        assert x1 <= x0 or y1 <= y0, (a.get_text(), b.get_text())
    for text, box in boxes.items():
        assert box.x0 >= 0 and box.y0 >= 0, text.get_text()
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text.get_text()


def test_the_titles_name_the_variant_and_c_where_widths_double(tmp_path):
    small = texts(drawn("w18_small_v2", tmp_path / "a.svg"))
    assert small["HRNetV2-W18-small-v2 (C = 18)"] == small["15C = 270"] == 1
    unequal = texts(drawn(UNEQUAL, tmp_path / "b.svg"))
    assert unequal["HRNetV2"] == unequal["175 channels"] == 1
    three = texts(drawn(THREE_BRANCHES, tmp_path / "c.svg"))
    assert three["HRNetV2 (C = 24)"] == three["7C = 168"] == 1


def test_two_runs_give_the_same_bytes_without_a_date_or_a_font_of_their_own(tmp_path):
    command = [sys.executable, "-m", "tools.diagram", "--variant", "w18", "--out"]
    done = subprocess.run(
        [*command, tmp_path / "a.svg"], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == str(tmp_path / "a.svg")
    draw_architecture("w18", tmp_path / "b.svg")
    data = (tmp_path / "a.svg").read_bytes()
    assert data == (tmp_path / "b.svg").read_bytes()
    assert b"dc:date" not in data and b"DejaVu" not in data and b"sans-serif" in data


def test_an_unknown_variant_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"unknown HRNet variant 'w33'; known: .*w32"):
        draw_architecture("w33", tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()

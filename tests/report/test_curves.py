"""Curves of a training run."""

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import hrnet_det
from hrnet_det.report.curves import draw_curves


def write_metrics(folder, rows):
    (folder / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


def training(losses=5):
    """Rows as Detectron2 writes them, one of an evaluation among them."""
    rows = [
        {"iteration": i, "total_loss": 3.0 / (i + 1), "loss_cls": 2.0 / (i + 1), "lr": 0.01}
        for i in range(19, 20 * losses, 20)
    ]
    return [*rows[:2], {"iteration": 50, "bbox/AP": 3.0}, *rows[2:]]


def test_curves(tmp_path):
    write_metrics(tmp_path, training())
    assert draw_curves(tmp_path) is True
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (960, 720)  # 8 x 6 inches at 120 dots
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for colour in ((0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E)):  # matplotlib's first two: two losses
        assert (pixels == colour).all(axis=1).sum() > 100


def test_losses_on_the_test_set_are_drawn_beside_those_of_training(tmp_path, monkeypatch):
    rows = training()
    rows[2] |= {"validation_loss/total": 2.5, "validation_loss/loss_cls": 1.5}
    rows.append({"iteration": 100, "validation_loss/total": 2.0})
    write_metrics(tmp_path, rows)
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: (figures.append(f), save(f, *a, **k)))
    assert draw_curves(tmp_path) is True
    total, total_on_test, term, term_on_test = figures[0].axes[0].lines
    shown = [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()]
    assert shown == ["total_loss", "on the test set", "loss_cls"]
    assert total_on_test.get_xydata().tolist() == [[50, 2.5], [100, 2.0]]
    assert term_on_test.get_xydata().tolist() == [[50, 1.5]]
    assert len(total.get_xydata()) == len(term.get_xydata()) == 5
    for plain, other in ((total, total_on_test), (term, term_on_test)):
        assert plain.get_color() == other.get_color()
        assert (plain.get_linestyle(), other.get_linestyle()) == ("-", "--")


def test_a_line_that_a_crash_has_cut_is_left_out(tmp_path):
    write_metrics(tmp_path, training())
    with (tmp_path / "metrics.json").open("a") as file:
        file.write('{"iteration": 119, "total_lo')
    assert draw_curves(tmp_path) is True


def test_too_few_points_for_curves(tmp_path):
    write_metrics(tmp_path, [{"iteration": 19, "total_loss": 3.0, "lr": 0.01}, {"bbox/AP": 1.0}])
    assert draw_curves(tmp_path) is False
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("backend", ["svg", "pdf"])
def test_matplotlibs_backend_stays(tmp_path, backend):
    """A notebook's figures are not to vanish because a curve has been drawn."""
    before = matplotlib.get_backend()
    matplotlib.use(backend)
    try:
        write_metrics(tmp_path, training())
        draw_curves(tmp_path)
        assert matplotlib.get_backend() == backend
    finally:
        matplotlib.use(before)


def test_no_module_of_the_package_chooses_a_backend():
    for path in Path(hrnet_det.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert "matplotlib.use(" not in text, path
        assert "import pyplot" not in text, path
        assert "matplotlib.pyplot" not in text, path

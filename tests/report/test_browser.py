"""The pages that commands write, in a real browser."""

import pytest
from helpers.browser import View, look, needs_chromium
from helpers.suspect_data import write_suspect_data

from hrnet_det import check_data
from hrnet_det.check_data.page import as_page
from hrnet_det.check_data.sources import load

pytestmark = needs_chromium
WIDTHS = (400, 1200)  # pixels: a telephone's and a laptop's


def assert_sound(seen):
    """Nothing is asked of the network, nothing fails, nothing is wider than the window."""
    assert seen.requests == []
    assert seen.console == []
    for view in seen.views:
        assert view["content"] <= view["window"]
        assert view["images"] and min(min(size) for size in view["images"]) > 0


def test_what_would_be_wrong_is_seen(tmp_path):
    page = tmp_path / "wrong.html"
    page.write_text(
        '<!doctype html><img src="http://hrnet.invalid/1.png"><img src="data:,none">'
        '<div style="width: 500px; height: 1px"></div><script>missing()</script>'
    )
    seen = look(tmp_path, [View(page, 400, "#a=b", "location.hash")])
    assert seen.requests == ["http://hrnet.invalid/1.png"]
    assert "missing is not defined" in " ".join(seen.console)
    (view,) = seen.views
    assert view["window"] == 400 and view["content"] > 500 and view["measured"] == "#a=b"
    assert view["images"] == [[0, 0], [0, 0]]


@pytest.fixture(scope="module")
def data_check(tmp_path_factory):
    """The page of `hrnet-det check-data` about a dataset with many problems, and hostile names."""
    folder = tmp_path_factory.mktemp("suspect")
    write_suspect_data(folder)
    images = str(folder / "images")
    run = load(
        None,
        [str(folder / "train.json"), images],
        test=[str(folder / "val.json"), images],
        output=str(folder / "report"),
    )
    page = folder / "report.html"
    page.write_text(as_page(check_data.check(run)), encoding="utf-8")
    return page


def test_the_page_of_check_data(data_check, tmp_path):
    views = [View(data_check, width, measure="document.title") for width in WIDTHS]
    seen = look(tmp_path, views)
    assert_sound(seen)
    assert [view["window"] for view in seen.views] == list(WIDTHS)
    assert {view["measured"] for view in seen.views} == {"Data check: 10 warnings"}
    assert {len(view["images"]) for view in seen.views} == {13}

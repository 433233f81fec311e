"""The page of a run in a real browser: its filter by class and by test set, its widths."""

import pytest
from helpers.browser import View, look, needs_chromium
from helpers.report_run import write_run

from hrnet_det.report.page import write_page

pytestmark = needs_chromium
NAMES = ["cat", "<script>$x$", "n" * 300]
# Names of the visible rows of the classes' table of the visible view, and what else can be seen.
SEEN = """(() => {
  const there = part => part.getClientRects().length > 0;
  const rows = [...document.querySelectorAll(".classes tbody tr")].filter(there);
  return {
    rows: rows.map(row => row.cells[0].textContent),
    views: [...document.querySelectorAll(".view")].filter(there).map(
      view => view.querySelector("h2").textContent),
    faint: [...document.querySelectorAll(".view:not([hidden]) svg .other")].length,
    pairs: [...document.querySelectorAll(".pairs figure")].filter(there).length,
    field: document.getElementById("class").value,
    unknown: document.getElementById("unknown").textContent,
  };
})()"""
SORTED = """(() => {
  document.querySelector(".classes thead th:nth-child(2)").click();
  const rows = [...document.querySelectorAll(".view:not([hidden]) .classes tbody tr")];
  return rows.map(row => Number(row.cells[1].textContent.replaceAll(",", "")));
})()"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    write_run(folder / "mine", NAMES, masks=True)
    page = write_page(folder / "mine")
    views = [
        View(page, 1200, measure=SEEN),
        View(page, 400, measure=SEEN),
        View(page, 1200, "#class=cat&view=1", SEEN),
        View(page, 1200, "#class=%3Cscript%3E%24x%24", SEEN),
        View(page, 1200, "#class=horse&view=7", SEEN),
        View(page, 1200, "", SORTED),
    ]
    return look(folder, views)


def test_nothing_is_asked_of_the_network_and_nothing_is_too_wide(seen):
    assert seen.requests == [] and seen.console == []
    for view in seen.views:
        assert view["content"] <= view["window"]
        assert view["images"] and min(min(size) for size in view["images"]) > 0


def test_all_classes_are_shown_of_the_first_view(seen):
    for view in (seen.views[0], seen.views[1]):
        shown = view["measured"]
        assert shown["rows"] == ["all classes", *NAMES]
        assert shown["views"] == ["custom_test, boxes"]
        assert (shown["faint"], shown["field"], shown["unknown"]) == (0, "", "")


def test_the_address_chooses_class_and_view(seen):
    everything, cat, hostile = (seen.views[place]["measured"] for place in (0, 2, 3))
    assert cat["rows"] == ["all classes", "cat"] and cat["field"] == "cat"
    assert cat["views"] == ["custom_test, masks"]
    assert cat["faint"] == 2 * 2  # the other two classes in both plots
    assert 0 < cat["pairs"] <= everything["pairs"]
    assert hostile["rows"] == ["all classes", NAMES[1]]
    assert hostile["views"] == ["custom_test, boxes"]


def test_an_unknown_class_is_said(seen):
    shown = seen.views[4]["measured"]
    assert shown["unknown"] == "There is no class horse: all are shown."
    assert shown["rows"] == ["all classes", *NAMES] and shown["views"] == ["custom_test, boxes"]


def test_a_click_sorts(seen):
    counts = seen.views[5]["measured"]
    assert len(counts) == 4 and counts == sorted(counts, reverse=True)

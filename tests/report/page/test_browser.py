"""The pages that commands write, in a real browser."""

from urllib.parse import quote

import pytest
from helpers.browser import View, look, needs_chromium
from helpers.report_run import write_run
from helpers.suspect_data import write_suspect_data

from hrnet_det import check_data
from hrnet_det.check_data.page import as_page
from hrnet_det.check_data.sources import load
from hrnet_det.report.page import write_page

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


CLASSES = ["cat", "dog & cat", '<img src=x onerror="missing()"> $x$', "n" * 200]
# What is seen of a run's page: test set and task, names in its table of classes, the classes of
# all rows and images that have any, whether a part says that it has none of a class and whether
# that is so, the classes of the curves that stand out, and the choice.
SHOWN = """(() => {
  const seen = query => [...document.querySelectorAll(`.view:not([hidden]) ${query}`)]
    .filter(part => part.offsetParent);
  const bright = document.querySelectorAll(".view:not([hidden]) svg [data-class]:not(.other)");
  return {
    titles: seen("h2").map(part => part.textContent),
    names: seen(".classes tbody tr").map(row => row.cells[0].textContent),
    objects: seen(".classes tbody tr").map(row => +row.cells[1].textContent),
    rows: seen("[data-class]").map(part => part.dataset.class),
    emptied: [...document.querySelectorAll(".view:not([hidden]) .none")].map(
      part => [!part.hidden, !part.previousElementSibling.querySelector("[data-class]:not(.other)")]
    ),
    curves: [...new Set([...bright].map(part => part.dataset.class))].sort(),
    chosen: document.getElementById("class").value,
    unknown: document.getElementById("unknown").textContent,
    address: decodeURIComponent(location.hash.replaceAll("+", " ")),
  };
})()"""
TYPED = """(() => {
  const input = document.getElementById("class");
  input.value = "dog & cat";
  input.dispatchEvent(new Event("input"));
})()"""
SORTED = "document.querySelector('.classes th:nth-child(2)').click()"

REMOVED = """(() => {
  document.querySelectorAll("figure[data-class]").forEach(image => image.remove());
  dispatchEvent(new Event("hashchange"));
})()"""


@pytest.fixture(scope="module")
def seen_run(tmp_path_factory):
    """The page of a run of Mask R-CNN, whose classes have hostile names, in all ways at once."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "mine", CLASSES, masks=True)
    page = write_page(folder / "mine")
    views = [
        *(View(page, width, measure=SHOWN) for width in WIDTHS),
        View(page, 400, f"#class={quote(CLASSES[2])}&view=1", SHOWN),
        View(page, 1200, "#class=cow", SHOWN),
        View(page, 1200, measure=f"({TYPED}, {SHOWN})"),
        View(page, 1200, "#class=cat", f"(document.getElementById('all').click(), {SHOWN})"),
        View(page, 1200, measure=f"({SORTED}, {SHOWN})"),
        View(page, 1200, "#class=cat", f"({REMOVED}, {SHOWN})"),
    ]
    return look(folder, views)


def test_the_page_of_a_run_is_sound(seen_run):
    assert_sound(seen_run)
    phone, laptop = (view["measured"] for view in seen_run.views[:2])
    assert phone == laptop
    assert phone["titles"] == ["custom_test, boxes"]
    assert phone["names"] == ["all classes", *CLASSES]
    assert phone["curves"] == ["0", "1", "2", "3"]
    assert not any(told for told, _ in phone["emptied"])
    assert phone["chosen"] == phone["unknown"] == phone["address"] == ""


def test_a_page_is_opened_at_a_class_and_a_task(seen_run):
    shown = seen_run.views[2]["measured"]
    assert shown["titles"] == ["custom_test, masks"]
    assert shown["names"] == ["all classes", CLASSES[2]]
    assert shown["rows"] and all("2" in classes.split() for classes in shown["rows"])
    assert all(told == empty for told, empty in shown["emptied"])
    assert shown["curves"] == ["2"] and shown["chosen"] == CLASSES[2]


def test_a_class_that_is_not_there_leaves_all(seen_run):
    shown, usual = seen_run.views[3]["measured"], seen_run.views[0]["measured"]
    assert shown["unknown"] == "There is no class cow: all are shown."
    assert shown["rows"] == usual["rows"] and shown["curves"] == usual["curves"]


def test_a_class_is_chosen_and_left_on_the_page(seen_run):
    typed, left = (view["measured"] for view in seen_run.views[4:6])
    assert typed["names"] == ["all classes", "dog & cat"] and typed["curves"] == ["1"]
    assert typed["address"] == "#class=dog & cat"
    assert left == seen_run.views[0]["measured"] | {"address": left["address"]}
    assert "cat" not in left["address"]


def test_classes_are_sorted_by_a_column(seen_run):
    usual, ordered = (seen_run.views[place]["measured"] for place in (0, 6))
    assert usual["objects"] != sorted(usual["objects"], reverse=True)
    assert ordered["objects"] == sorted(usual["objects"], reverse=True)
    assert sorted(usual["names"]) == sorted(ordered["names"])


def test_a_part_without_the_class_says_so(seen_run):
    emptied = seen_run.views[7]["measured"]["emptied"]
    assert emptied == [[False, False], [False, False], [True, True], [True, True]]

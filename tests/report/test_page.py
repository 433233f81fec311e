"""The page of a run, as a reader's parser sees it."""

import json
import re
from html.parser import HTMLParser

import pytest

from hrnet_det import cli
from hrnet_det.report.page import write_page

HOSTILE = "<script>alert(1)</script> $x$ \"quoted\" 'it'"


class Page(HTMLParser):
    """The text of each element with an id or a class, and the addresses that it loads."""

    def __init__(self, text):
        super().__init__()
        self.text, self.sources, self.scripts = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        self.sources += [v for k, v in attributes if k in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.text.append(data.strip())

    def has(self, text):
        return text in " ".join(" ".join(self.text).split())


def metrics(folder, *rows):
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


TRAINED = [
    {"iteration": 19, "total_loss": 2.0, "loss_cls": 1.0, "lr": 0.01, "bbox/AP": 10.0,
     "validation_loss/total": 1.0},
    {"iteration": 39, "total_loss": 1.0, "loss_cls": 0.5, "lr": 0.01, "bbox/AP": 8.0,
     "bbox/AP50": 20.0, f"bbox/AP-{HOSTILE}": 8.0, "validation_loss/total": 1.5},
]  # fmt: skip


def test_an_interrupted_run_has_its_history(tmp_path, capsys):
    metrics(tmp_path / "mine", *TRAINED)
    assert cli.main(["report", str(tmp_path / "mine")]) == 0
    assert capsys.readouterr().out == f"written: {tmp_path / 'mine' / 'report.html'}\n"
    page = Page((tmp_path / "mine" / "report.html").read_text())
    assert page.has("bbox/AP on the test set is 8.0, and 20.0 where")
    assert page.has(
        "It overfits: the loss on the test set was lowest at iteration 19 (1) and has risen since "
        "then by 50.0% (to 1.5), while the loss in training fell by 50.0%."
    )
    assert page.has("metrics are those of its last evaluation, at iteration 39.")
    assert page.has("There is no config.yaml: its test sets are not known.")
    assert len(page.sources) == 4  # losses, metrics, parts of the loss, learning rate
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)


def test_the_page_goes_where_it_is_told_and_nothing_else_is_written(tmp_path):
    metrics(tmp_path / "mine", *TRAINED)
    path = write_page(tmp_path / "mine", tmp_path / "new" / "mine.html")
    assert path == tmp_path / "new" / "mine.html" and path.is_file()
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, r"the folder .*mine of a run is not there"),
        ((), r"mine is no folder of a run: it has none of config.yaml, metrics.json, results.json"),
        (("metrics.json", ""), r"metrics.json cannot be used: it is empty"),
        (("results.json", "{"), r"results.json is not valid JSON .*: evaluate again"),
        (("results.json", "[1]"), r"results.json has no metrics: evaluate again"),
    ],
)
def test_what_is_no_run_is_one_error(tmp_path, capsys, made, message):
    folder = tmp_path / "mine"
    if made is not None:
        folder.mkdir()
    if made:
        (folder / made[0]).write_text(made[1])
    assert cli.main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(message, error)


def test_a_page_that_cannot_be_written_is_said_first(tmp_path, capsys):
    metrics(tmp_path / "mine", *TRAINED)
    assert cli.main(["report", str(tmp_path / "mine"), "--output", str(tmp_path)]) == 2
    assert "is a folder: name the file, such as" in capsys.readouterr().err

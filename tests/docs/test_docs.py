"""README and docs/: their size, links, words, and blocks of commands."""

import importlib
import importlib.util
import itertools
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

from hrnet_det.arguments import build_parser
from hrnet_det.config.files import find_config
from hrnet_det.config.keys import get_cfg

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {"hrnet-det", "make", "python"}
PYTHON_SCRIPTS = {
    "train_net.py",
    "train_mine.py",
    "datasets/prepare_panoptic.py",
    "examples/serve.py",
}
MADE_UP = ("GATE_BIAS", "gated_rcnn")  # of the example in add-a-detector.md
WORDS = r"pictures?|data sets?|one's own|lest|mend\w*|no (?:YAML|JSON)|recomput\w*"


def pages(test):
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)(test)


def blocks(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced blocks of a language."""
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """What a link to a page may have behind its #: its headings, as GitHub and MkDocs name them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def commands(block: str) -> list[list[str]]:
    """The commands of a shell block, as words, without variables before them; && joins two."""
    lines = block.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    found: list[list[str]] = []
    for line in filter(None, words):
        rest = line
        while "&&" in rest:
            end = rest.index("&&")
            found.append(rest[:end])
            rest = rest[end + 1 :]
        found.append(rest)
    is_variable = re.compile(r"[A-Z0-9_]+=").match
    return [list(itertools.dropwhile(is_variable, words)) for words in found]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170


@pages
def test_relative_links_point_to_something(page):
    broken = []
    for link in ("".join(found) for found in LINK.findall(prose(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pages
def test_links_to_pages_stay_on_the_site(page):
    """From docs/ a page is NAME.md, never ../docs/NAME.md, which the site has not."""
    links = ["".join(found) for found in LINK.findall(prose(page))]
    assert not [link for link in links if page.parent == ROOT / "docs" and "docs/" in link]


@pages
def test_shell_blocks_are_commands_of_known_programs(page):
    for block in blocks(page, "bash"):
        for words in commands(block):
            if words[0] == "source":
                assert words == ["source", ".venv/bin/activate"]
                continue
            assert words[0] in PROGRAMS, words
            if words[0] == "python" and words[1] != "-m":
                assert words[1] in PYTHON_SCRIPTS, words


@pages
def test_every_block_says_its_language(page):
    """bash: what a test can run. console: what needs a network or another machine."""
    known = {"bash", "console", "json", "python", "yaml", ""}
    assert {kind for kind, _ in FENCE.findall(page.read_text())} <= known
    for block in blocks(page, ""):  # output, not something to type
        assert not re.search(r"^(python|make|pip|hrnet-det) ", block, re.MULTILINE), block


@pages
def test_python_blocks_compile(page):
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


@pages
def test_commands_in_a_line_are_whole(page):
    """A command that is broken over two lines cannot be copied."""
    lines = prose(page).splitlines()
    assert not [line for line in lines if line.count("`") % 2]


@pages
def test_words_of_the_field(page):
    assert not re.findall(rf"\b(?:{WORDS})\b", page.read_text(), re.IGNORECASE)


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert listed == {page.name for page in PAGES[1:]}


def inline_and_blocks(page: Path) -> str:
    """All that a page sets as code."""
    blocks = [text for _, text in FENCE.findall(page.read_text())]
    return "\n".join([*re.findall(r"`([^`\n]+)`", prose(page)), *blocks])


def known_keys() -> set[str]:
    def walk(node, prefix=""):
        for name, value in node.items():
            yield f"{prefix}{name}"
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")

    return set(walk(get_cfg()))


@pages
def test_config_keys_exist(page):
    groups = "DATALOADER|DATASETS|INPUT|MODEL|SOLVER|TEST"
    key = rf"(?<!/)\b((?:{groups})\.[A-Z_0-9.]*[A-Z0-9])"
    named = set(re.findall(key, inline_and_blocks(page)))
    assert {key for key in named if not key.endswith(MADE_UP)} <= known_keys()


@pages
def test_modules_and_their_names_exist(page):
    text = inline_and_blocks(page)
    for name in set(re.findall(r"python -m ([\w.]+)", text)) - {"mkdocs", "pytest"}:
        assert importlib.util.find_spec(name), name
    for name in set(re.findall(r"\bhrnet_det(?:\.\w+)+", text)) | set(
        re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)
    ):
        assert pkgutil.resolve_name(name) is not None


@pages
def test_paths_of_the_repository_exist(page):
    """Folders and files named in code, but for those with a {choice} or a NAME to be filled in."""
    starts = "configs|datasets|docs|hrnet_det|tests"
    found = re.findall(rf"(?<![\w/.-])((?:{starts})/[\w/.-]+)", inline_and_blocks(page))
    made = ("datasets/quickstart", "datasets/coco", "configs/hrnet")  # the last is mmdetection's
    missing = [
        path
        for path in found
        if not re.search("NAME|train_mine", path)
        and not path.startswith(made)
        and not (ROOT / path).exists()
    ]
    assert not missing


@pages
def test_shipped_configs_that_are_named_exist(page):
    named = re.findall(r"[\w./-]+\.(?:yaml|py)\b", inline_and_blocks(page))
    shipped = ("COCO-", "Cityscapes/", "quickstart/", "hrnetv2p_")
    for name in {name for name in named if name.startswith(shipped)}:
        assert any(word in name for word in MADE_UP) or find_config(name).is_file()


@pages
def test_subcommands_and_their_options_exist(page):
    for block in blocks(page, "bash"):
        for words in commands(block):
            if words[0] == "hrnet-det" and words[1] not in ("train", "doctor"):
                assert build_parser().parse_args(words[1:]).command == words[1]

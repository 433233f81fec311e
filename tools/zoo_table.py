"""The documentation's table of the shipped configs, made from the configs themselves.

`python -m tools.zoo_table` prints it; `--write docs/model-zoo.md` puts it between its marks
there.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from tabulate import tabulate

from hrnet_det import model_zoo
from hrnet_det.analysis.complexity import PADDED_SIZE, Complexity, complexity, on_meta
from hrnet_det.errors import InputError

SOURCES = {"arXiv:1908.07919": "P", "HRNet-Object-Detection": "OD", "mmdetection": "MM"}
CITYSCAPES_SIZE = (1024, 2048)  # height, width, pixels
START, END = "<!-- zoo table -->", "<!-- end of zoo table -->"


@dataclass(frozen=True)
class Header:
    """What the comment at the top of a config says.

    Args:
        detector, network, recipe: such as "Mask R-CNN", "HRNetV2p-W18", "1x".
        published: the metric of each source, such as {"mmdetection": "37.7/34.2"}.
    """

    detector: str
    network: str
    recipe: str
    published: dict[str, str]


def read_header(name: str) -> Header:
    """The header of a shipped config.

    Raises: ValueError if it does not say what a detector, network and recipe it is.
    """
    text = model_zoo.find_config(name).read_text()
    comment = re.match(r"(#.*\n)+", text)[0]
    joined = re.sub(r"\n#\s+", " ", comment)
    joined = re.sub(r"- (?=[A-Z])", "-", joined)
    found = re.search(r"(?:^|\s)([A-Z][\w -]+), (HRNetV\w+-W\d+), (.+?)[,.] [Ff]or \d", joined)
    if not found:
        raise ValueError(f"{name}: its second line is no 'DETECTOR, NETWORK, RECIPE, for N GPUs'")
    published = re.search(r"Published [^:]+: (.*)", joined)
    values = re.findall(r"([\d./]+) \(([^)]+)\)", published[1]) if published else []
    return Header(found[1].strip(), found[2], found[3], {source: value for value, source in values})


def zoo_table() -> str:
    """Markdown: a row for each shipped config but the quickstart's and the two headlines."""
    rows = []
    counted: dict[str, Complexity] = {}  # of each model, which several recipes share
    for name in zoo_names():
        cfg = model_zoo.get_config(name)
        key = cfg.MODEL.dump()
        if key not in counted:
            counted[key] = complexity(on_meta(cfg), size=image_size(cfg))
        header, cost = read_header(name), counted[key]
        known = [header.published.get(source, "-") for source in SOURCES]
        rows.append(
            [
                f"[{header.detector}](../configs/{name})",
                header.network,
                header.recipe,
                f"{cost.parameters / 1e6:.2f}",
                f"{cost.run_form / 1e9:.1f}",
                *known,
            ]
        )
    heads = ["detector", "network", "recipe", "parameters, 10^6", "GMAC", *SOURCES.values()]
    padded = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
    return re.sub("-{3,}", "---", re.sub(" +", " ", padded))


def zoo_names() -> list[str]:
    """The shipped configs of published or Detectron2's own recipes."""
    names = [name for name in model_zoo.names() if name.endswith(".yaml")]
    return [name for name in names if "/" in name and not name.startswith("quickstart/")]


def image_size(cfg: CfgNode) -> tuple[int, int]:
    """Height and width, in pixels, at which a config's multiply-adds are counted."""
    of_cityscapes = any(name.startswith("cityscapes") for name in cfg.DATASETS.TEST)
    return CITYSCAPES_SIZE if of_cityscapes else PADDED_SIZE


def write(path: Path) -> None:
    """Put the table between its marks in a file. Raises: InputError if the marks are not there."""
    text = path.read_text()
    if text.count(START) != 1 or text.count(END) != 1:
        raise InputError(f"{path} must have one line {START} and one {END}")
    before, rest = text.split(START)
    _, after = rest.split(END)
    path.write_text(f"{before}{START}\n{zoo_table()}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.zoo_table", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="such as docs/model-zoo.md")
    path = parser.parse_args().write
    print(zoo_table()) if path is None else write(path)


if __name__ == "__main__":
    main()

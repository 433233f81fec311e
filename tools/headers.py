"""The comments at the top of the shipped configs: command, hardware, published AP with its source,
and the override that trains as for it.

`python -m tools.headers` brings them up to date with configs/published.csv and the ImageNet
weights of each variant. The second line, which says what a config is, is written by hand.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from hrnet_det.config.files import config_folder, names
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS
from tools.published import published, published_line, recipe_line

LINE_LENGTH = 100
# The command, the second line, and what is published, as far as that is there.
_WRITTEN = re.compile(r"#.*\n#.*\n((# (Not p|P)ublished|# As published:).*\n(#   .*\n)*)*")
_SECOND_LINE = re.compile(
    r"# ([A-Z][\w -]+), (HRNetV\w+)-(W\d+), (.+), for (\d+) GPUs, (\d+) images each\."
)


@dataclass(frozen=True)
class Header:
    """What the second line of a config says.

    Args:
        detector, network, variant, recipe: such as "Mask R-CNN", "HRNetV2p", "W18", "1x".
        gpus, images: how many, and how many on each.
    """

    detector: str
    network: str
    variant: str
    recipe: str
    gpus: int
    images: int


def header_names() -> list[str]:
    """The shipped configs of published or Detectron2's own recipes."""
    return [name for name in names() if not name.startswith(("quickstart/", "custom/"))]


def read_header(name: str) -> Header:
    """The header of a shipped config. Raises: InputError if its second line has another form."""
    line = (config_folder() / name).read_text().split("\n", 2)[1]
    found = _SECOND_LINE.fullmatch(line)
    if not found:
        raise InputError(
            f"{name}: its second line is {line!r}; it must be "
            "'# DETECTOR, NETWORK-WIDTH, RECIPE, for N GPUs, M images each.'"
        )
    *words, gpus, images = found.groups()
    return Header(*words, int(gpus), int(images))


def header_text(name: str) -> str:
    """The comment that a config should begin with. Raises: InputError as `read_header`."""
    header = read_header(name)
    weights = IMAGENET_WEIGHTS[header.variant.lower()]
    setting = "train.init_checkpoint=" if name.endswith(".py") else "MODEL.WEIGHTS "
    command = f"python train_net.py --config-file {name} --num-gpus {header.gpus} "
    second = (config_folder() / name).read_text().split("\n", 2)[1]
    found = published(name)
    said = (published_line(found), recipe_line(found, lazy=name.endswith(".py")))
    lines = [f"# {command}{setting}{weights}", second, *map(_wrapped, filter(None, said))]
    return "\n".join(lines) + "\n"


def _wrapped(line: str) -> str:
    """A comment of several lines, in which "SOLVER.RECIPE NAME" and its source stay together."""
    pattern = r" \(.*?\)|SOLVER\.RECIPE \w+"
    line = re.sub(pattern, lambda kept: kept[0].replace(" ", "\0"), line)
    indents = {"initial_indent": "# ", "subsequent_indent": "#   "}
    lines = textwrap.wrap(line, LINE_LENGTH, **indents, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def write_headers() -> list[str]:
    """Bring all headers up to date; returns the names of the configs that have changed."""
    changed = []
    for name in header_names():
        path = config_folder() / name
        text = path.read_text()
        new = header_text(name) + _WRITTEN.sub("", text, count=1)
        if new != text:
            path.write_text(new)
            changed.append(name)
    return changed


def main() -> None:
    print("\n".join(write_headers()) or "the headers of all configs are up to date")


if __name__ == "__main__":
    main()

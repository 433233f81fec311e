"""Where the shipped configs are, and how a config is found by its name."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from hrnet_det.errors import MissingInputError, last_part, nearest


def config_folder() -> Path:
    """configs/ inside the installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def names() -> list[str]:
    """Names of all shipped configs, such as "COCO-Detection/fcos_hrnetv2p_w18_1x.yaml"."""
    folder = config_folder()
    paths = (p.relative_to(folder) for p in folder.rglob("*") if p.suffix in (".yaml", ".py"))
    return sorted(
        path.as_posix()
        for path in paths
        if not path.name.startswith("Base-") and path.parts[0] not in ("conventions", "common")
    )


def is_shipped(path: str | Path) -> bool:
    """Whether a file is one of the shipped configs, or of what they are made from."""
    return Path(path).resolve().is_relative_to(config_folder().resolve())


def find_config(name: str | Path) -> Path:
    """The file of a config: a path, or a shipped config by its name or its last part.

    Raises: MissingInputError if it is found nowhere (the message has the nearest names).
    """
    if os.path.isfile(name):
        return Path(name)
    wanted = str(name).removeprefix("./").removeprefix("configs/")
    wanted = wanted if wanted.endswith(".py") else wanted.removesuffix(".yaml") + ".yaml"
    base = config_folder() / wanted
    if base.name.startswith("Base-") and base.is_file():
        return base
    shipped = names()
    found = [n for n in shipped if n == wanted] or [n for n in shipped if n.endswith("/" + wanted)]
    if len(found) == 1:
        return config_folder() / found[0]
    suffix = Path(wanted).suffix
    stems = [n.removesuffix(suffix) for n in shipped if n.endswith(suffix)]
    near = found or [stem + suffix for stem in nearest(wanted.removesuffix(suffix), stems)]
    title, listed = ("nearest", near) if near else ("shipped", _by_likeness(wanted, shipped))
    raise MissingInputError(
        "\n  ".join([f"config {name} is neither a file nor a shipped config; {title}:", *listed])
    )


def _by_likeness(wanted: str, shipped: list[str]) -> list[str]:
    """The names of all shipped configs, those most like the wanted one first."""

    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, last_part(wanted), last_part(name)).ratio()

    return sorted(shipped, key=likeness, reverse=True)

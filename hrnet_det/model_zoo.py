"""The shipped configs by name, as Detectron2's `model_zoo` has its own."""

from __future__ import annotations

import difflib
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from hrnet_det.config import load_config
from hrnet_det.errors import InputError, MissingInputError


def _config_folder() -> Path:
    """configs/ inside the installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def names() -> list[str]:
    """Names of all shipped configs, such as "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml"."""
    folder = _config_folder()
    paths = (path.relative_to(folder) for path in folder.rglob("*.yaml"))
    return sorted(path.as_posix() for path in paths if not path.name.startswith("Base-"))


def find_config(name: str | Path) -> Path:
    """The file of a config: a path, or a shipped config by its name or its last part.

    Raises: MissingInputError if it is found nowhere (the message has the nearest names).
    """
    if Path(name).is_file():
        return Path(name)
    wanted = str(name).removeprefix("./").removeprefix("configs/").removesuffix(".yaml") + ".yaml"
    shipped = names()
    found = [n for n in shipped if n == wanted] or [n for n in shipped if n.endswith("/" + wanted)]
    if len(found) == 1:
        return _config_folder() / found[0]
    by_file = {n.rsplit("/", 1)[-1]: n for n in shipped}
    near = found or difflib.get_close_matches(wanted, shipped, n=3, cutoff=0.5)
    near += [
        by_file[n]
        for n in difflib.get_close_matches(wanted.rsplit("/", 1)[-1], by_file, n=3, cutoff=0.5)
        if by_file[n] not in near
    ]
    hint = "; nearest: " + ", ".join(near) if near else f"; shipped: {', '.join(shipped)}"
    raise MissingInputError(f"config {name} is neither a file nor a shipped config{hint}")


def get_config(name: str) -> CfgNode:
    """The config of a shipped name (or of a path), to be changed and built from.

    Raises: MissingInputError if there is none of that name (the message has the nearest names).
    """
    return load_config(find_config(name))


def get(name: str, *, trained: bool = False, device: str = "cpu") -> nn.Module:
    """The detector of a shipped config, built, in evaluation mode.

    Args:
        name: as for get_config.
        trained: False: random weights. True is an error as long as no trained weights are shipped.
        device: "cpu", "cuda", ...
    """
    if trained:
        raise InputError(
            f"no trained weights are published for {name} by hrnet_det: build it with "
            "trained=False and load a checkpoint of your own"
        )
    cfg = get_config(name)
    cfg.MODEL.DEVICE = device
    return build_model(cfg).eval()

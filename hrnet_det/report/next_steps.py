"""What a user may want to type after a run."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS
from hrnet_det.modeling.kinds import kind_of

OWN_DATA = (
    (settings.TRAIN_JSON, "train.json"),
    (settings.TRAIN_IMAGES, "images"),
    (settings.TEST_JSON, "val.json"),
    (settings.TEST_IMAGES, "images"),
)


def next_steps(run: RunConfig, weights: Path) -> str:
    """Commands, each as the shell takes it, that evaluate again, predict, show curves and train.

    Args:
        run: the run that has ended. weights: the file with its model's.
    """
    output = Path(str(run[settings.OUTPUT_DIR]))
    steps = [("evaluate again", _train(_config(run, output), "--eval-only", *_set(run, weights)))]
    if kind_of(run).detects:
        command = shell(program("hrnet-det"), "predict", weights, "image.jpg")
        steps.append(("objects in other images", command))
    steps.append(
        ("curves in the browser", shell(program("tensorboard"), "--logdir", output)),
    )
    data = [word for setting, value in OWN_DATA for word in (setting.yaml, value)]
    own = _train("quickstart/mask_rcnn.yaml", "OUTPUT_DIR", "output/mine", *data)
    steps.append(("your own data in COCO's format", own))
    coco = ("--num-gpus", "8", "MODEL.WEIGHTS", IMAGENET_WEIGHTS["w32"])
    steps.append(
        ("COCO on 8 GPUs, from ImageNet weights", _train("hrnetv2p_faster_rcnn.yaml", *coco))
    )
    lines = [line for what, command in steps for line in (f"  {what}:", f"    {command}")]
    return "\n".join(["Next:", *lines])


def _config(run: RunConfig, output: Path) -> str:
    """The config to evaluate with: what the run has saved, or where it could not, the file."""
    saved = output / "config.yaml"
    return str(saved) if saved.is_file() else run.path


def _set(run: RunConfig, weights: Path) -> Iterable[str]:
    return run.words(settings.WEIGHTS, weights)


def _train(config: str, *words: str) -> str:
    return shell(*train_words(), "--config-file", config, *words)


def train_words() -> list[str]:
    """How training is started here: by train_net.py in a checkout, else by hrnet-det."""
    if Path("train_net.py").is_file():
        return [program("python"), "train_net.py"]
    return [program("hrnet-det"), "train"]


def program(name: str) -> str:
    """A program of this environment: its name where the shell finds it, else its path."""
    folder = os.path.dirname(sys.executable)
    found = shutil.which(name)
    if found and os.path.dirname(os.path.abspath(found)) == folder:
        return name
    return os.path.join(os.path.relpath(folder), name)


def shell(*words: object) -> str:
    """A command as the shell takes it."""
    return shlex.join(str(word) for word in words)

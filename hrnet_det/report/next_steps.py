"""What a user may want to type after a run."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS
from hrnet_det.modeling.kinds import kind_of

OWN_DATA = {
    settings.TRAIN_JSON: "train.json",
    settings.TRAIN_IMAGES: "images",
    settings.TEST_JSON: "val.json",
    settings.TEST_IMAGES: "images",
}


def next_steps(run: RunConfig, weights: Path) -> str:
    """Commands that evaluate a run's weights again, predict with them, show curves and train."""
    output = Path(str(run[settings.OUTPUT_DIR]))
    saved = output / "config.yaml"  # there unless the config has no form as text
    config = str(saved) if saved.is_file() else run.path
    evaluate = _train(config, "--eval-only", *run.words(settings.WEIGHTS, weights))
    predict = _shell(_program("hrnet-det"), "predict", weights, "image.jpg")
    words = [word for setting, value in OWN_DATA.items() for word in (setting.yaml, value)]
    own = _train("quickstart/mask_rcnn.yaml", "OUTPUT_DIR", "output/mine", *words)
    on_coco = ("--num-gpus", "8", "MODEL.WEIGHTS", IMAGENET_WEIGHTS["w32"])
    steps = {
        "evaluate again": evaluate,
        "objects in other images": predict,
        "curves in the browser": _shell(_program("tensorboard"), "--logdir", output),
        "your own data in COCO's format": own,
        "COCO on 8 GPUs, from ImageNet weights": _train("hrnetv2p_faster_rcnn.yaml", *on_coco),
    }
    if not kind_of(run).detects:
        del steps["objects in other images"]
    return "\n".join(["Next:", *(f"  {what}:\n    {command}" for what, command in steps.items())])


def _train(config: str, *words: str) -> str:
    """Training is started by train_net.py in a checkout, else by hrnet-det."""
    in_checkout = Path("train_net.py").is_file()
    start = (
        (_program("python"), "train_net.py") if in_checkout else (_program("hrnet-det"), "train")
    )
    return _shell(*start, "--config-file", config, *words)


def _program(name: str) -> str:
    """A program of this environment: its name where the shell finds it, else its path."""
    folder = os.path.dirname(sys.executable)
    found = shutil.which(name)
    if found and os.path.dirname(os.path.abspath(found)) == folder:
        return name
    return os.path.join(os.path.relpath(folder), name)


def _shell(*words: object) -> str:
    return shlex.join(str(word) for word in words)

"""Every command that READMEs, the documentation and the configs' headers show, as far as its start.

`test_real_runs` runs many of them to their end.
"""

import contextlib
import importlib
import io
import itertools
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import pytest
import timm
from helpers.commands import all_shown, header_of, stand_ins
from helpers.tiny import REPO, make_coco

from hrnet_det import model_zoo
from hrnet_det.arguments import build_parser
from hrnet_det.config import settings
from hrnet_det.engine.preflight import preflight
from hrnet_det.engine.train import EPILOG, load_job
from hrnet_det.engine.train import build_parser as train_parser

SHELL = {"source", "cd", "export", "ln", "unzip", "mkdir", "cp"}  # no commands of the project
OWN = ["python", "train_mine.py"]  # a program that the reader writes, whose datasets are not here
TRAIN = (["python", "train_net.py"], ["hrnet-det", "train"])


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with what commands name: COCO, Cityscapes, a user's data."""
    folder = tmp_path_factory.mktemp("workplace")
    coco, own = make_coco(folder / "coco"), folder / "mine"
    for place in (folder, own):
        shutil.copytree(coco / "images", place / "images")
        for name in ("train.json", "val.json"):
            shutil.copy(coco / "polygons.json", place / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = folder / "output" / "mine"  # of a training
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(model_zoo.get_config("hrnetv2p_faster_rcnn.yaml").dump())
        stand_ins(folder, patch)
        patch.setattr("hrnet_det.data.datasets.quickstart.make_quickstart", lambda root: root)
        for check in ("check_files", "check_segments"):  # of which there are none
            patch.setattr(f"hrnet_det.data.datasets.{check}", lambda *_: None)
        yield folder


def starts(words):
    """Load the config of a training or evaluation and check all that is checked before a start.

    GPUs are left out: there are none.
    """
    args = train_parser().parse_args(words)
    args.num_gpus = args.num_machines = 1
    job = load_job(args)
    preflight(job)
    return job


@pytest.mark.parametrize("config", [n for n in model_zoo.names() if "resnet" not in n])
def test_the_command_in_a_configs_header(config, workplace):
    words = header_of(config)
    assert words[:3] == ["python", "train_net.py", "--config-file"] and words[3] == config
    job = starts(words[2:])
    weights = str(job.run[settings.WEIGHTS])
    if weights:
        model = weights.removeprefix("timm://")
        assert model in timm.list_pretrained("hrnet*")
        variant = job.run[settings.VARIANT]
        assert model.split(".")[0] == f"hrnet_{variant}"
    assert bool(weights) == (not config.startswith(("quickstart/", "custom/")))


def runs(words):
    """Whether a command that is shown would start; what trains is checked as far as it can be."""
    is_variable = re.compile(r"[A-Z0-9_]+=").match
    words = list(itertools.dropwhile(is_variable, words))
    for start in TRAIN:
        if words[: len(start)] == start:
            starts(words[len(start) :])
            return
    if words[0] == "hrnet-det":
        arguments = build_parser().parse_args(words[1:])
        if arguments.command == "plan":
            model_zoo.get_config(arguments.config_file, arguments.overrides)
    elif words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=REPO, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[:2] == ["python", "-m"] and words[2] != "pip":
        assert importlib.util.find_spec(words[2]) is not None
        has_options(["-m", words[2]], words[3:])
    elif words[:2] == OWN:
        args = train_parser().parse_args(words[2:])
        model_zoo.get_config(args.config_file, args.opts)
    elif words[0] == "python" and words[1].startswith(("datasets/", "examples/")):
        has_options([words[1]], words[2:])
    else:
        assert words[0] in SHELL, f"what is {shlex.join(words)}?"


def has_options(program, words):
    """A program that explains itself names each option; run here, without its imports again."""
    said, (*_, name) = io.StringIO(), program
    run = runpy.run_module if program[0] == "-m" else runpy.run_path
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(sys, "argv", [name, "--help"])
        patch.delitem(sys.modules, name, raising=False)  # runpy warns of a module that is there
        try:
            run(name if program[0] == "-m" else str(REPO / name), run_name="__main__")
        except SystemExit as end:  # of argparse; a program without options runs
            assert not end.code
    for word in words:
        assert not word.startswith("--") or word in said.getvalue(), word


SHOWN = sorted({(page, shlex.join(words)) for page, words in all_shown()})


@pytest.mark.parametrize(("page", "command"), SHOWN, ids=range(len(SHOWN)))
def test_a_command_of_a_page(page, command, workplace):
    runs(shlex.split(command))


def test_there_are_commands():
    assert len(SHOWN) > 30 and {"README.md", "own-data.md"} <= {page for page, _ in SHOWN}


def test_the_examples_of_the_help(workplace):
    lines = EPILOG.replace("\\\n", " ").splitlines()
    commands = [line.partition("train_net.py ")[2] for line in lines if "train_net.py" in line]
    whole = [c for c in commands if "..." not in c and "URL" not in c]
    assert len(whole) >= 3
    for command in whole:
        starts(shlex.split(command))

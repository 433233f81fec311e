"""Packaging, and the set-up by make."""

import os
import re
import shutil
import subprocess
import tarfile
import zipfile

import pytest
from helpers.processes import run
from helpers.tiny import REPO

# The wheel.


def test_wheel_holds_the_configs_and_works_without_the_repository(tmp_path):
    out, installed = tmp_path / "out", tmp_path / "installed"
    # First the sdist and from it the wheel: so the sdist holds all that the wheel is built from.
    built = run("-m", "build", "--no-isolation", "--outdir", out, REPO, cwd=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        parts = {name.split("/")[1] for name in archive.getnames() if name.count("/") > 1}
    assert parts >= {"hrnet_det", "configs", "datasets", "docs", "tests", "tools", ".github"}
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    code = {path.relative_to(REPO).as_posix() for path in (REPO / "hrnet_det").rglob("*.py")}
    configs = {
        f"hrnet_det/{path.relative_to(REPO).as_posix()}": path.read_bytes()
        for path in (REPO / "configs").rglob("*")
        if path.suffix in (".yaml", ".py", ".csv")
    }
    assert {name.split("/")[0] for name in content} == {"hrnet_det", "hrnet_det-0.1.0.dist-info"}
    assert {name for name in content if name.endswith(".py")} - set(configs) == code
    there = {name: content[name] for name in content if name.startswith("hrnet_det/configs/")}
    assert there == configs
    assert "hrnet_det/configs/common/models/faster_rcnn.py" in configs
    assert "hrnet_det/configs/hrnetv2p_faster_rcnn.yaml" in configs
    assert "hrnet_det/configs/hrnetv2p_mask_rcnn.yaml" in configs
    assert "hrnet_det/configs/published.csv" in configs

    pip = run("-m", "pip", "install", "--no-deps", "--target", installed, wheel, cwd=tmp_path)
    assert pip.returncode == 0, pip.stderr
    code = (
        "import hrnet_det; from hrnet_det import model_zoo; print(hrnet_det.__file__);"
        "print(model_zoo.get_config('hrnetv2p_faster_rcnn.yaml').MODEL.HRNET.VARIANT)"
    )
    used = run("-c", code, path=[installed], cwd=tmp_path)
    assert used.returncode == 0, used.stderr
    assert used.stdout.split() == [str(installed / "hrnet_det" / "__init__.py"), "w32"]


# make.


@pytest.fixture
def make(tmp_path):
    """Runs make in a folder with only what the set-up rule reads, as if not started by make."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPO / name, tmp_path)
    ours = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "DETECTRON2", "ARGS", "PYTHON")
    env = {name: value for name, value in os.environ.items() if name not in ours}

    def call(*words, **more):
        command = ["make", *words]
        return subprocess.run(
            command, cwd=tmp_path, env={**env, **more}, check=False, capture_output=True, text=True
        )

    return call


def stamp(folder, *, age, name=".installed"):
    """Write a stamp that is `age` seconds older than pyproject.toml."""
    path = folder / ".venv" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    time = (folder / "pyproject.toml").stat().st_mtime - age
    os.utime(path, (time, time))


@pytest.mark.parametrize("target", ["test", "quickstart"])
def test_make_installs_from_nothing(make, target):
    lines = make("-n", target).stdout.splitlines()
    installs = [
        "python3 -m venv .venv",
        ".venv/bin/python -m pip install -e '.[dev]'",
        ".venv/bin/python -m pip install --no-deps "
        "lvis==0.5.3 cityscapesscripts==2.3.0 pyquaternion==0.9.9 tidecv==1.0.1 sahi==0.12.8",
        ".venv/bin/hrnet-det install-detectron2 ",
    ]
    commands = {
        "test": ".venv/bin/python -m pytest -n auto --dist loadfile ",
        "quickstart": ".venv/bin/python train_net.py --config-file quickstart/mask_rcnn.yaml ",
    }
    assert [line for line in lines if line.startswith(("python3 -m", ".venv/"))] == [
        *installs,
        commands[target],
    ]


def test_make_installs_nothing_twice(make, tmp_path):
    stamp(tmp_path, age=-60)
    stamp(tmp_path, age=-120, name=".parity")
    assert make("-n", "test").stdout == ".venv/bin/python -m pytest -n auto --dist loadfile \n"


@pytest.mark.parametrize("ci", ["", "true"])
def test_make_test_where_mmdetection_cannot_be_installed(make, tmp_path, ci):
    stamp(tmp_path, age=-60)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@" >> calls\ncase "$*" in *mmdet*) exit 1;; esac\n')
    python.chmod(0o755)
    done = make("test", CI=ci)
    tests = (
        [] if ci else ["-m pytest -n auto --dist loadfile"]
    )  # no comparison may be skipped there
    assert (tmp_path / "calls").read_text().splitlines() == [
        "-m pip install -q -e .[parity]",
        "-m pip install -q --no-deps mmdet==3.3.0 mmcv-lite==2.1.0 mmengine==0.10.7",
        *tests,
    ]
    assert (done.returncode == 0) == (not ci)
    assert "mmdetection cannot be installed here" in done.stderr
    assert (tmp_path / ".venv/.parity").is_file() == (not ci)


def test_make_installs_again_after_a_change_of_pyproject(make, tmp_path):
    stamp(tmp_path, age=60)
    assert ".venv/bin/python -m pip install -e '.[dev]'\n" in make("-n", "test").stdout


def test_make_installs_another_detectron2_in_spite_of_the_stamp(make, tmp_path):
    stamp(tmp_path, age=-60)
    shown = make("-n", "setup", "DETECTRON2=../my detectron2").stdout
    assert ".venv/bin/hrnet-det install-detectron2 --from='../my detectron2'\n" in shown


@pytest.mark.parametrize(
    ("fails_on", "message"),
    [
        ("version_info", "Python 3.10 or newer is needed; {python} is Python 3.9.1. Next step: "),
        ("ensurepip", "{python} has no venv module. Next step: install it"),
    ],
)
def test_make_says_what_is_wrong_with_python(make, tmp_path, fails_on, message):
    python = tmp_path / "old-python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) echo Python 3.9.1;; *{fails_on}*) exit 1;; esac\n'
    )
    python.chmod(0o755)
    done = make("setup", f"PYTHON={python}")
    assert done.returncode == 2
    assert done.stderr.startswith(message.format(python=python))
    assert not (tmp_path / ".venv").exists()


def test_make_help_lists_each_target(make):
    shown = make().stdout
    assert shown == make("help").stdout
    listed = re.findall(r"^  ([a-z]+) +\S", shown, re.MULTILINE)
    targets = re.search(r"^\.PHONY: (.*)$", (REPO / "Makefile").read_text(), re.MULTILINE)[1]
    assert listed == targets.split()

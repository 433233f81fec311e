"""Packaging, the set-up by make, finding and installing Detectron2, and `hrnet-det doctor`."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from hrnet_det import cli, doctor, environment

REPO = Path(__file__).resolve().parents[1]
SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"
ABSENT = ModuleNotFoundError("No module named 'detectron2'", name="detectron2")
NO_DETECTRON2 = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "detectron2":
            raise ModuleNotFoundError("No module named 'detectron2'", name="detectron2")
sys.meta_path.insert(0, Blocker())
"""
NO_PKG_RESOURCES = (
    "raise ModuleNotFoundError(\"No module named 'pkg_resources'\", name='pkg_resources')"
)


def run(*command, path=(), cwd, python=sys.executable):
    """Run Python on `command`, with only `path` on PYTHONPATH."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    words = [str(word) for word in (python, *command)]
    return subprocess.run(words, cwd=cwd, env=env, check=False, capture_output=True, text=True)


@pytest.fixture
def console_script(tmp_path):
    """A file like the one that pip writes for `[project.scripts]`."""
    script = tmp_path / "bin" / "hrnet-det"
    script.parent.mkdir()
    script.write_text("import sys\nfrom hrnet_det.cli import main\nsys.exit(main())\n")
    return script


@pytest.fixture
def without_detectron2(tmp_path):
    """A folder that, on PYTHONPATH, makes `import detectron2` fail."""
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NO_DETECTRON2)
    return folder


@pytest.fixture
def broken_detectron2(tmp_path):
    """A folder with a Detectron2 whose import fails for want of pkg_resources."""
    package = tmp_path / "broken" / "detectron2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(NO_PKG_RESOURCES)
    return package.parent


@pytest.fixture
def commands(monkeypatch):
    """Records what would be run, with the requirements file that pip would read."""
    recorded = []

    def record(command, **options):
        files = [Path(word).read_text() for word in command if word.endswith("requirements.txt")]
        recorded.append((command, files))
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")

    monkeypatch.setattr(subprocess, "run", record)
    return recorded


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


# Detectron2 missing, broken, here.


def test_import_without_detectron2_says_how_to_install_it(tmp_path, without_detectron2):
    done = run("-c", "from hrnet_det import HRNet", path=[without_detectron2, REPO], cwd=tmp_path)
    assert done.returncode == 1
    message = done.stderr.partition("\nImportError: ")[2]
    assert message.startswith(
        f"hrnet_det needs Detectron2, which is not installed for {sys.executable}."
    )
    assert "\n  hrnet-det install-detectron2\n" in message
    assert (
        "\n  python -m pip install --no-build-isolation "
        "'git+https://github.com/facebookresearch/detectron2.git'\n"
    ) in message


def test_a_folder_named_detectron2_is_not_detectron2(tmp_path):
    (tmp_path / "detectron2" / "configs").mkdir(parents=True)  # the root of a clone
    code = "from hrnet_det import HRNet"
    # Without site-packages, where a real Detectron2 would come first.
    done = run("-S", "-c", code, path=[REPO, tmp_path], cwd=tmp_path)
    assert "ImportError: hrnet_det needs Detectron2, which is not installed" in done.stderr


def test_import_with_a_broken_detectron2_names_what_it_lacks(tmp_path, broken_detectron2):
    done = run("-c", "from hrnet_det import HRNet", path=[broken_detectron2, REPO], cwd=tmp_path)
    assert done.returncode == 1
    message = done.stderr.partition("\nImportError: ")[2]
    assert message.splitlines() == [
        f"hrnet_det needs Detectron2, which is installed in {broken_detectron2 / 'detectron2'} but "
        "cannot be imported: ModuleNotFoundError: No module named 'pkg_resources'",
        "Next step: setuptools: python -m pip install 'setuptools<81'",
        "`hrnet-det doctor` checks the rest.",
    ]


@pytest.mark.parametrize("command", [["train", "--config-file", "any.yaml"], ["configs"]])
def test_console_script_without_detectron2_is_one_error(
    tmp_path, console_script, without_detectron2, command
):
    done = run(console_script, *command, path=[without_detectron2, REPO], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hrnet-det: error: hrnet_det needs Detectron2, which is not")
    assert "\n  hrnet-det install-detectron2\n" in done.stderr
    assert "Traceback" not in done.stderr


# The command.


def test_train_hands_everything_on(monkeypatch):
    from hrnet_det.engine import train

    received = []
    monkeypatch.setattr(train, "main", received.append)
    assert cli.main(["train", "--config-file", "any.yaml", "--help"]) == 0
    assert received == [["--config-file", "any.yaml", "--help"]]


def test_configs_prints_the_names(capsys):
    assert cli.main(["configs"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert {"hrnetv2p_faster_rcnn.yaml", "hrnetv2p_mask_rcnn.yaml"} <= set(names)


def test_help_names_each_subcommand(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for command in ("doctor", "install-detectron2", "train", "configs"):
        assert re.search(rf"^    {command}\s", shown, re.MULTILINE), command


# doctor.


def test_doctor_with_everything_installed():
    import detectron2
    import fvcore
    import torch
    import torchvision

    report, status = doctor.doctor()
    rows = dict(line.split(maxsplit=1) for line in report.splitlines() if line and line[0] != " ")
    assert status == 0, report
    assert "missing: nothing that is needed" in report
    assert rows["torch"].startswith(f"{torch.__version__}; built for ")
    assert rows["torchvision"] == torchvision.__version__
    assert rows["fvcore"] == fvcore.__version__
    assert rows["pycocotools"] == metadata.version("pycocotools")
    assert rows["detectron2"].startswith(f"{detectron2.__version__}, the ")
    assert rows["detectron2"].endswith(f", {Path(detectron2.__file__).parent}")
    assert rows["hrnet_det"] == f"0.1.0, {REPO / 'hrnet_det'}"
    assert rows["Python"].startswith(sys.version.split()[0])


def test_doctor_without_detectron2(tmp_path, console_script, without_detectron2):
    done = run(console_script, "doctor", path=[without_detectron2, REPO], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    report, missing = done.stdout.split("\nmissing:\n")
    assert re.search(r"^detectron2 +does not work: ModuleNotFoundError", report, re.MULTILINE)
    assert missing.splitlines() == ["  detectron2: hrnet-det install-detectron2"]


def test_doctor_with_nothing_installed(tmp_path, console_script):
    # -S: no site-packages at all.
    done = run("-S", console_script, "doctor", path=[REPO], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.split("\nmissing:\n")[1].splitlines() == [
        "  torch: python -m pip install 'torch>=2.6'",
        "  torchvision: python -m pip install 'torchvision>=0.21'",
        "  detectron2: hrnet-det install-detectron2",
        "  fvcore: python -m pip install 'fvcore>=0.1.5,<0.1.6'",
        "  pycocotools: python -m pip install 'pycocotools>=2.0.2'",
    ]


def test_doctor_names_requirements_that_are_absent(monkeypatch):
    own = SimpleNamespace(
        requires=["torch>=2.6", "no-such-project<3", "nor-this; extra == 'dev'"], version="0"
    )
    real = metadata.distribution
    monkeypatch.setattr(
        metadata, "distribution", lambda name: own if name == "hrnet_det" else real(name)
    )
    report, status = doctor.doctor()
    assert status == 1
    assert report.split("\nmissing:\n")[1].splitlines() == [
        "  no-such-project: python -m pip install 'no-such-project<3'"
    ]


def test_remedies_are_the_requirements_of_the_package():
    text = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    required = re.findall(r'^    "(.*?)",', text.partition("\ndependencies = [")[2], re.MULTILINE)
    assert set(environment.REQUIREMENTS.values()) <= set(required)


def test_the_fast_coco_evaluation_is_an_extra_that_the_tests_have_too():
    text = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    extras = text.partition("[project.optional-dependencies]")[2].partition("[project.scripts]")[0]
    assert f'\nfasteval = ["{environment.FAST_COCO_EVALUATION}"]\n' in extras
    assert f'    "{environment.FAST_COCO_EVALUATION}",\n' in extras.partition("dev = [")[2]


def test_doctor_says_what_the_fast_coco_evaluation_is_for(monkeypatch):
    version = metadata.version("faster-coco-eval")
    row = f"optional             faster_coco_eval {version} for COCO evaluation in less time"
    assert row in doctor.doctor()[0].splitlines()
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    (row,) = [line for line in doctor.doctor()[0].splitlines() if " faster_coco_eval" in line]
    assert row.startswith("optional             faster_coco_eval for COCO evaluation in less")
    assert row.endswith(" (pip install 'faster-coco-eval>=1.6.5')")


def fake_torch(*, cuda, gpus=(), reason=""):
    def init():
        raise RuntimeError(reason)

    device = SimpleNamespace(
        is_available=lambda: bool(gpus),
        device_count=lambda: len(gpus),
        get_device_properties=lambda i: gpus[i],
        init=init,
    )
    version = SimpleNamespace(cuda=cuda, hip=None)
    return SimpleNamespace(__version__="2.9", version=version, cuda=device)


def test_doctor_describes_the_devices(monkeypatch):
    monkeypatch.setattr(doctor, "_cores", lambda: 6)
    monkeypatch.setattr(doctor, "_cpu_bf16", lambda: "no native bf16")
    gpu = SimpleNamespace(name="NVIDIA X", total_memory=80 * 2**30)
    describe = doctor._describe_torch
    assert describe(fake_torch(cuda="13.0", gpus=[gpu])) == (
        "2.9; built for CUDA 13.0; GPU 0: NVIDIA X, 80 GiB"
    )
    no_driver = "Found no NVIDIA driver on your system. Please check that you have one"
    assert describe(fake_torch(cuda="13.0", reason=no_driver)) == (
        "2.9; built for CUDA 13.0; no GPU: Found no NVIDIA driver on your system; "
        "CPU only, 6 cores, no native bf16"
    )
    assert describe(fake_torch(cuda=None)) == (
        "2.9; built for CPU; CPU only, 6 cores, no native bf16"
    )


def test_doctor_notices_a_torchvision_that_does_not_fit_torch(monkeypatch):
    import torchvision

    def nms(boxes, scores, threshold):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    report, status = doctor.doctor()
    assert status == 1
    assert re.search(r"^torchvision +does not work: RuntimeError: operator", report, re.MULTILINE)
    assert report.split("\nmissing:\n")[1].splitlines() == [
        "  torch and torchvision: python -m pip install --force-reinstall torch torchvision"
    ]


def test_doctor_finds_the_parts_of_coco(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    coco = tmp_path / "coco"
    for folder in ("train2017", "val2017", "annotations"):
        (coco / folder).mkdir(parents=True)
    (coco / "val2017" / "1.jpg").touch()
    (coco / "annotations" / "instances_val2017.json").touch()
    assert dict(doctor._dataset_rows()) == {
        "DETECTRON2_DATASETS": f"{tmp_path} ({tmp_path})",
        "COCO 2017": "found: val2017, annotations/instances_val2017.json; "
        f"not in {coco}: train2017, annotations/instances_train2017.json "
        "(the quickstart needs none of them)",
    }


# Installing Detectron2.


def test_install_leaves_a_working_detectron2_alone(commands):
    import detectron2

    done = environment.install_detectron2()
    assert commands == []
    assert done.startswith(f"Nothing to do, Detectron2 is here: {detectron2.__version__}, ")
    assert str(Path(detectron2.__file__).parent) in done


def test_install_pins_the_wheel_by_its_hash(monkeypatch, commands, tmp_path):
    monkeypatch.setattr(environment, "detectron2_error", lambda: ABSENT)
    monkeypatch.setattr(sysconfig, "get_path", {"purelib": str(tmp_path)}.get)
    done = environment.install_detectron2()
    assert done == "Installed Detectron2 from sal-detectron2==0.7.2"
    (pip, files), (check, _) = commands
    flags = "--no-deps --only-binary=:all: --python-version=3.10 --implementation=cp --abi=none"
    target = ["--target", str(tmp_path)]
    expected = [sys.executable, "-m", "pip", "install", *flags.split(), "--platform=any", *target]
    assert pip[:-1] == [*expected, "--require-hashes", "-r"]
    assert files == [f"sal-detectron2==0.7.2 --hash=sha256:{SHA256}\n"]
    assert check[-2:] == ["-c", "import detectron2.model_zoo"]


def test_install_says_what_is_in_the_way(monkeypatch, commands, tmp_path):
    monkeypatch.setattr(environment, "detectron2_error", lambda: ABSENT)
    monkeypatch.setattr(sysconfig, "get_path", {"purelib": str(tmp_path)}.get)
    (tmp_path / "detectron2").mkdir()
    with pytest.raises(RuntimeError, match=r"detectron2 is in the way: .* Next step: remove it"):
        environment.install_detectron2()
    assert commands == []


def test_install_does_not_touch_a_broken_detectron2(monkeypatch, commands):
    lacking = ModuleNotFoundError("No module named 'yacs'", name="yacs")
    monkeypatch.setattr(environment, "detectron2_error", lambda: lacking)
    with pytest.raises(
        RuntimeError, match=r"imported: .*'yacs'\nNext step: yacs: .*'yacs>=0\.1\.8'"
    ):
        environment.install_detectron2()
    assert commands == []


@pytest.mark.parametrize("spec", ["", " "])
def test_install_of_an_empty_spec_is_an_error(commands, capsys, spec):
    assert cli.main(["install-detectron2", "--from", spec]) == 1
    assert capsys.readouterr().err == (
        f"hrnet-det: error: What to install is empty ({spec!r}). "
        "Give pip's name, URL or path of it\n"
    )
    assert commands == []


def test_install_that_fails_or_does_not_import_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "detectron2_error", lambda: ABSENT)
    monkeypatch.setattr(sysconfig, "get_path", {"purelib": str(tmp_path)}.get)
    outcomes = [(0, ""), (1, "Traceback\nModuleNotFoundError: No module named 'torch'\n")]

    def run_next(command, **options):
        status, text = outcomes.pop(0)
        return subprocess.CompletedProcess(command, status, stdout="", stderr=text)

    monkeypatch.setattr(subprocess, "run", run_next)
    with pytest.raises(RuntimeError, match=r"Detectron2 fails: ModuleNotFoundError: .*'torch'\n"):
        environment.install_detectron2()
    outcomes.append((2, ""))
    with pytest.raises(RuntimeError, match=r"pip failed \(exit status 2.*\n.*--require-hashes"):
        environment.install_detectron2()


def test_pip_is_needed_to_install(monkeypatch, commands):
    monkeypatch.setattr(environment, "detectron2_error", lambda: ABSENT)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"has no pip\. Next step: .* -m ensurepip, then again"):
        environment.install_detectron2()
    assert commands == []


BUILD_BACKEND = """
import zipfile
import torch  # as Detectron2's setup.py does: found only without build isolation

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name, info = "detectron2-9-py3-none-any.whl", "detectron2-9.dist-info/"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.writestr("detectron2/__init__.py", "__version__ = '9.9'")
        wheel.writestr("detectron2/model_zoo/__init__.py", "")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: detectron2\\nVersion: 9")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""


def test_install_of_another_one_replaces_the_pinned_one(tmp_path, console_script):
    venv, source = tmp_path / "venv", tmp_path / "source"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run("-c", code, cwd=tmp_path, python=python).stdout.strip())
    (site / "torch.py").touch()
    pinned = {
        "detectron2/__init__.py": "__version__ = '0.7.2'",
        "detectron2/pinned.py": "",
        "sal_detectron2-0.7.2.dist-info/METADATA": "Name: sal-detectron2\nVersion: 0.7.2\n",
        "sal_detectron2-0.7.2.dist-info/INSTALLER": "pip\n",
    }
    record = "sal_detectron2-0.7.2.dist-info/RECORD"
    pinned[record] = "".join(f"{name},,\n" for name in [*pinned, record])
    for name, text in pinned.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)
    source.mkdir()
    (source / "backend.py").write_text(BUILD_BACKEND)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )

    command = [console_script, "install-detectron2", "--from", source]
    done = run(*command, path=[REPO], cwd=tmp_path, python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"Installed Detectron2 from {source}"
    names = {path.name for path in site.glob("*detectron2*")}
    assert names == {"detectron2", "detectron2-9.dist-info"}
    assert not (site / "detectron2" / "pinned.py").exists()
    code = "import detectron2; print(detectron2.__version__)"
    assert run("-c", code, cwd=tmp_path, python=python).stdout == "9.9\n"


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
        ".venv/bin/hrnet-det install-detectron2 ",
    ]
    commands = {
        "test": ".venv/bin/python -m pytest -n auto ",
        "quickstart": ".venv/bin/python train_net.py --config-file quickstart/mask_rcnn.yaml ",
    }
    assert [line for line in lines if line.startswith(("python3 -m", ".venv/"))] == [
        *installs,
        commands[target],
    ]


def test_make_installs_nothing_twice(make, tmp_path):
    stamp(tmp_path, age=-60)
    stamp(tmp_path, age=-120, name=".parity")
    assert make("-n", "test").stdout == ".venv/bin/python -m pytest -n auto \n"


@pytest.mark.parametrize("ci", ["", "true"])
def test_make_test_where_mmdetection_cannot_be_installed(make, tmp_path, ci):
    stamp(tmp_path, age=-60)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@" >> calls\ncase "$*" in *mmdet*) exit 1;; esac\n')
    python.chmod(0o755)
    done = make("test", CI=ci)
    tests = [] if ci else ["-m pytest -n auto"]  # no comparison may be skipped there
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

"""`hrnet-det install-detectron2`."""

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from helpers.processes import console_script, run
from helpers.tiny import REPO

from hrnet_det import environment, install
from hrnet_det.errors import InputError

SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"
ABSENT = ModuleNotFoundError("No module named 'detectron2'", name="detectron2")


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


def test_install_leaves_a_working_detectron2_alone(commands):
    import detectron2

    done = install.install_detectron2()
    assert commands == []
    assert done.startswith(f"Detectron2 is already installed: {detectron2.__version__}, ")
    assert str(Path(detectron2.__file__).parent) in done


def test_install_pins_the_wheel_by_its_hash(monkeypatch, commands, tmp_path):
    monkeypatch.setattr(environment, "detectron2_error", lambda: ABSENT)
    monkeypatch.setattr(sysconfig, "get_path", {"purelib": str(tmp_path)}.get)
    done = install.install_detectron2()
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
    with pytest.raises(RuntimeError, match=r"detectron2 exists but .* Next step: remove it"):
        install.install_detectron2()
    assert commands == []


def test_install_does_not_touch_a_broken_detectron2(monkeypatch, commands):
    lacking = ModuleNotFoundError("No module named 'yacs'", name="yacs")
    monkeypatch.setattr(environment, "detectron2_error", lambda: lacking)
    with pytest.raises(
        RuntimeError, match=r"imported: .*'yacs'\nNext step: yacs: .*'yacs>=0\.1\.8'"
    ):
        install.install_detectron2()
    assert commands == []


@pytest.mark.parametrize("spec", ["", " "])
def test_install_of_an_empty_spec_is_an_error(commands, spec):
    with pytest.raises(InputError, match=rf"^--from '{spec}' is empty: give a URL, folder or"):
        install.install_detectron2(spec)
    assert commands == []


def test_install_that_fails_or_does_not_import_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "detectron2_error", lambda: ABSENT)
    monkeypatch.setattr(sysconfig, "get_path", {"purelib": str(tmp_path)}.get)
    outcomes = [(0, ""), (1, "Traceback\nModuleNotFoundError: No module named 'torch'\n")]

    def run_next(command, **options):
        status, text = outcomes.pop(0)
        return subprocess.CompletedProcess(command, status, stdout="", stderr=text)

    monkeypatch.setattr(subprocess, "run", run_next)
    with pytest.raises(RuntimeError, match=r"imported: ModuleNotFoundError: .*'torch'\n"):
        install.install_detectron2()
    outcomes.append((2, ""))
    with pytest.raises(RuntimeError, match=r"pip failed with exit status 2 .*\n.*--require-hashes"):
        install.install_detectron2()


def test_the_pinned_one_comes_back_where_another_one_cannot_be_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_path", {"purelib": str(tmp_path)}.get)
    monkeypatch.setattr(environment, "distribution", lambda name: name)
    commands = []

    def run_next(command, **_):
        commands.append(command[3:])
        return subprocess.CompletedProcess(command, "/nonsense" in command)

    monkeypatch.setattr(subprocess, "run", run_next)
    with pytest.raises(RuntimeError, match=r"(?s)pip failed .*The pinned Detectron2 is installed"):
        install.install_detectron2("/nonsense")
    uninstalled, failed, again = commands
    assert uninstalled == ["uninstall", "-y", "sal-detectron2"] and failed[-1] == "/nonsense"
    assert again[:2] == ["install", "--no-deps"] and "--require-hashes" in again


def test_pip_is_needed_to_install(monkeypatch, commands):
    monkeypatch.setattr(environment, "detectron2_error", lambda: ABSENT)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"has no pip\. Next step: .* -m ensurepip, and again"):
        install.install_detectron2()
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


def test_install_of_another_one_replaces_the_pinned_one(tmp_path):
    venv, source = tmp_path / "venv", tmp_path / "source"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run("-c", code, cwd=tmp_path, python=python).stdout.strip())
    shutil.copytree(Path(importlib.util.find_spec("pip").origin).parent, site / "pip")
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

    command = [console_script(tmp_path), "install-detectron2", "--from", source]
    done = run(*command, path=[REPO], cwd=tmp_path, python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"Installed Detectron2 from {source}"
    names = {path.name for path in site.glob("*detectron2*")}
    assert names == {"detectron2", "detectron2-9.dist-info"}
    assert not (site / "detectron2" / "pinned.py").exists()
    code = "import detectron2; print(detectron2.__version__)"
    assert run("-c", code, cwd=tmp_path, python=python).stdout == "9.9\n"

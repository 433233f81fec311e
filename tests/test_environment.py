"""Detectron2 missing, broken, or here: what an import and the command say."""

import re
import sys

import pytest
from helpers.processes import console_script, run, without_detectron2
from helpers.tiny import REPO

from hrnet_det import environment

NO_PKG_RESOURCES = (
    "raise ModuleNotFoundError(\"No module named 'pkg_resources'\", name='pkg_resources')"
)


@pytest.fixture
def broken_detectron2(tmp_path):
    """A folder with a Detectron2 whose import fails for want of pkg_resources."""
    package = tmp_path / "broken" / "detectron2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(NO_PKG_RESOURCES)
    return package.parent


def test_import_without_detectron2_says_how_to_install_it(tmp_path):
    done = run(
        "-c", "from hrnet_det import HRNet", path=[without_detectron2(tmp_path), REPO], cwd=tmp_path
    )
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
def test_console_script_without_detectron2_is_one_error(tmp_path, command):
    done = run(
        console_script(tmp_path), *command, path=[without_detectron2(tmp_path), REPO], cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: hrnet_det needs Detectron2, which is not" in done.stderr.splitlines()[0]
    assert "\n  hrnet-det install-detectron2\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_remedies_are_the_requirements_of_the_package():
    text = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    required = re.findall(r'^    "(.*?)",', text.partition("\ndependencies = [")[2], re.MULTILINE)
    assert set(environment.REQUIREMENTS.values()) <= set(required)


def test_the_fast_coco_evaluation_is_an_extra_that_the_tests_have_too():
    text = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    extras = text.partition("[project.optional-dependencies]")[2].partition("[project.scripts]")[0]
    assert f'\nfasteval = ["{environment.FAST_COCO_EVALUATION}"]\n' in extras
    assert f'    "{environment.FAST_COCO_EVALUATION}",\n' in extras.partition("dev = [")[2]

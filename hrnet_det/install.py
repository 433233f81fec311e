"""`hrnet-det install-detectron2`: Detectron2 by pip, into the running interpreter's environment."""

import importlib.util
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from hrnet_det import environment
from hrnet_det.errors import InputError, SetupError

# Detectron2 has no release under its own name. This wheel is, but for a few lines, the official
# repository at a59f0563 (April 2024). Its tag says Python 3.10, for which its compiled part was
# built; its Python code works with others.
PINNED_VERSION = "0.7.2"
PINNED_SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"
PINNED_TAGS = ("--python-version=3.10", "--implementation=cp", "--abi=none", "--platform=any")


def install_detectron2(spec: str | None = None) -> str:
    """Install Detectron2 with pip into the environment of the running interpreter.

    Args:
        spec: anything pip accepts (a git URL, a folder, a wheel), which replaces the pinned one.
            None: the pinned one, and only where no Detectron2 is installed.
    Raises: InputError for an empty spec; SetupError if pip fails or what it installed cannot be
        imported, or, without a spec, if there is a broken one already.
    """
    if spec is not None and not spec.strip():
        raise InputError(f"--from {spec!r} is empty: give a URL, folder or wheel that pip accepts")
    if spec is None:
        error = environment.detectron2_error()
        if error is None:
            return (
                f"Detectron2 is already installed: {environment.which_detectron2()}. "
                f"To replace it: {environment.INSTALL_COMMAND} --from SPEC"
            )
        if not environment.is_absent(error):
            raise SetupError(environment.describe_error(error))
    if importlib.util.find_spec("pip") is None:
        raise SetupError(
            f"{sys.executable} has no pip. Next step: {sys.executable} -m ensurepip, and again "
            f"{environment.INSTALL_COMMAND}"
        )
    if spec is None:
        _install_pinned()
    else:
        _replace(spec)
    problem = _problem_in_new_process()
    if problem is not None:
        raise SetupError(
            f"pip has installed {spec or environment.PINNED_NAME}, but it cannot be imported: "
            f"{problem}\nNext step: hrnet-det doctor"
        )
    return f"Installed Detectron2 from {spec or f'{environment.PINNED_NAME}=={PINNED_VERSION}'}"


def _replace(spec: str) -> None:
    """Install another Detectron2 in place of the pinned one, which comes back if that fails."""
    replaced = environment.distribution(environment.PINNED_NAME) is not None
    if replaced:
        _pip("uninstall", "-y", environment.PINNED_NAME)
    try:
        # Without build isolation: the official setup.py imports the torch that it is built for.
        _pip("install", "--no-build-isolation", spec)
    except SetupError as error:
        if not replaced:
            raise
        _install_pinned()
        raise SetupError(f"{error}\nThe pinned Detectron2 is installed again.") from error


def _install_pinned() -> None:
    site = Path(sysconfig.get_path("purelib"))
    if (site / "detectron2").exists():  # pip would leave it as it is, and report success
        raise SetupError(
            f"{site / 'detectron2'} exists but cannot be imported as Detectron2; it may be left "
            f"over from another one. Next step: remove it, and again {environment.INSTALL_COMMAND}"
        )
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        pin = f"{environment.PINNED_NAME}=={PINNED_VERSION} --hash=sha256:{PINNED_SHA256}\n"
        requirements.write_text(pin, encoding="utf-8")
        # pip asks for --target and --no-deps as soon as it is told another Python's tags.
        wheel = ["--no-deps", "--only-binary=:all:", *PINNED_TAGS, "--target", str(site)]
        _pip("install", *wheel, "--require-hashes", "-r", str(requirements))


def _pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], check=False)
    if done.returncode != 0:
        raise SetupError(
            f"pip failed with exit status {done.returncode} and the message above. The command was"
            f"\n  {sys.executable} -m pip {shlex.join(arguments)}\n"
            "Next step: solve what it says, or install Detectron2 with one of\n"
            f"{environment.INSTALL_HELP}"
        )


def _problem_in_new_process() -> str | None:
    """Why a new interpreter cannot import Detectron2, or None: this one may hold the old one."""
    with tempfile.TemporaryDirectory() as folder:  # a folder with no detectron2/ in it
        command = [sys.executable, "-W", "ignore", "-c", "import detectron2.model_zoo"]
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return lines[-1] if done.returncode != 0 else None

"""Is Detectron2 here, which one is it, and how to get it.

Only the standard library is imported at the top: this file works where everything else is missing.
"""

import importlib
import importlib.util
import logging
import re
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from importlib import metadata
from pathlib import Path

# Detectron2 has no release under its own name. This wheel is, but for a few
# lines, the official repository at a59f0563 (April 2024). Its tag says Python 3.10, for which its
# compiled part was built; its Python code is not bound to that.
PINNED_NAME = "sal-detectron2"
PINNED_VERSION = "0.7.2"
PINNED_SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"
PINNED_TAGS = ("--python-version=3.10", "--implementation=cp", "--abi=none", "--platform=any")

INSTALL_COMMAND = "hrnet-det install-detectron2"
OFFICIAL_SPEC = "git+https://github.com/facebookresearch/detectron2.git"
INSTALL_HELP = f"""\
  {INSTALL_COMMAND}
      a pinned copy, no compiler needed, seconds
  python -m pip install --no-build-isolation '{OFFICIAL_SPEC}'
      the official repository, needs torch and a C++ compiler, minutes"""

# What pyproject.toml's extra "fasteval" brings.
FAST_COCO_EVALUATION = "faster-coco-eval>=1.6.5"

# The requirement that brings a module: as in pyproject.toml, which is not at hand where hrnet_det
# runs from a source folder. A module that is not listed is its own requirement.
REQUIREMENTS = {
    "PIL": "Pillow",
    "fvcore": "fvcore>=0.1.5,<0.1.6",
    "hydra": "hydra-core>=1.1",
    "iopath": "iopath>=0.1.7,<0.1.10",
    "omegaconf": "omegaconf>=2.1,<2.4",
    "pkg_resources": "setuptools<81",
    "pycocotools": "pycocotools>=2.0.2",
    "torch": "torch>=2.6",
    "torchvision": "torchvision>=0.21",
    "yacs": "yacs>=0.1.8",
    "yaml": "PyYAML",
}


def detectron2_error() -> Exception | None:
    """The exception that importing Detectron2 ends in, or None where it works."""
    try:
        with warnings.catch_warnings():
            # A dozen lines about its own code at every start, which no user can act on.
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            warnings.filterwarnings("ignore", message=r".*torch\.jit")
            # `import detectron2` alone reads two of its files; this reads what hrnet_det builds on.
            importlib.import_module("detectron2.model_zoo")
    except Exception as error:  # a broken one raises OSError, AttributeError, RuntimeError, ...
        return error
    return None


def require_detectron2() -> None:
    """Return if Detectron2 can be imported.

    Raises: ImportError that tells "not installed" from "installed, but broken" and says what to do.
    """
    error = detectron2_error()
    if error is not None:
        raise ImportError(describe_error(error)) from error


def describe_error(error: Exception) -> str:
    """Why Detectron2 cannot be imported and what to do next; `error` is `detectron2_error()`'s."""
    if _is_absent(error):
        checkout = Path(__file__).resolve().parent.parent
        hint = (
            f"`make setup` has installed it in {checkout / '.venv'}: activate that first, with\n"
            f"  source {checkout / '.venv' / 'bin' / 'activate'}\nor install"
            if (checkout / ".venv" / ".installed").is_file()
            and Path(sys.prefix).resolve() != (checkout / ".venv").resolve()
            else "Install"
        )
        return (
            f"hrnet_det needs Detectron2, which is not installed for {sys.executable}. "
            f"{hint} it with one of:\n{INSTALL_HELP}"
        )
    return (
        f"hrnet_det needs Detectron2, which is installed in {_folder()} but cannot be imported: "
        f"{one_line(error)}\nNext step: {remedy(error, 'detectron2')}\n"
        "`hrnet-det doctor` checks the rest."
    )


def which_detectron2() -> str:
    """Which Detectron2 an import finds: its version, the pinned one or another, its folder."""
    import detectron2

    version = getattr(detectron2, "__version__", "of unknown version")
    return f"{version}, {_kind(_folder())}, {_folder()}"


def install_detectron2(spec: str | None = None) -> str:
    """Install Detectron2 with pip into the environment of the running interpreter.

    Args:
        spec: anything pip accepts (a git URL, a folder, a wheel): installed in the place of the
            pinned one. None: the pinned one, and only where no Detectron2 can be imported.
    Returns: one sentence for the user.
    Raises: ValueError for an empty spec; RuntimeError if pip fails or what it installed cannot be
        imported, or, without a spec, if there is a broken one already.
    """
    if spec is not None and not spec.strip():
        raise ValueError(f"What to install is empty ({spec!r}). Give pip's name, URL or path of it")
    error = detectron2_error()
    if spec is None and error is None:
        return (
            f"Nothing to do, Detectron2 is here: {which_detectron2()}. "
            f"For another one: {INSTALL_COMMAND} --from SPEC"
        )
    if spec is None and not _is_absent(error):
        raise RuntimeError(describe_error(error))
    if importlib.util.find_spec("pip") is None:
        raise RuntimeError(
            f"{sys.executable} has no pip. Next step: {sys.executable} -m ensurepip, then again"
        )
    if spec is None:
        _install_pinned()
    else:
        _install_other(spec)
    problem = _problem_in_new_process()
    if problem is not None:
        raise RuntimeError(
            f"pip installed {spec or PINNED_NAME}, but importing Detectron2 fails: {problem}\n"
            "Next step: hrnet-det doctor"
        )
    return f"Installed Detectron2 from {spec or f'{PINNED_NAME}=={PINNED_VERSION}'}"


def _install_pinned() -> None:
    """Install the pinned wheel, checked by its hash."""
    site = Path(sysconfig.get_path("purelib"))
    if (site / "detectron2").exists():  # pip would leave it as it is, and report success
        raise RuntimeError(
            f"{site / 'detectron2'} is in the way: a folder that is no Detectron2, perhaps what an "
            "earlier one left. Next step: remove it, then again"
        )
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        pin = f"{PINNED_NAME}=={PINNED_VERSION} --hash=sha256:{PINNED_SHA256}\n"
        requirements.write_text(pin, encoding="utf-8")
        # pip asks for --target and --no-deps as soon as it is told another Python's tags.
        target = ["--target", str(site)]
        wheel = ["--no-deps", "--only-binary=:all:", *PINNED_TAGS, *target]
        _pip("install", *wheel, "--require-hashes", "-r", str(requirements))


def _install_other(spec: str) -> None:
    """Install `spec` in the place of the pinned one."""
    if distribution(PINNED_NAME) is not None:
        _pip("uninstall", "-y", PINNED_NAME)
    # Without build isolation: the official setup.py imports the torch that it is built for.
    _pip("install", "--no-build-isolation", spec)


def _pip(*arguments: str) -> None:
    """Run pip, its output shown as it comes."""
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"pip failed (exit status {done.returncode}, its message is above); the command was\n"
            f"  {sys.executable} -m pip {' '.join(arguments)}\n"
            f"Next step: solve what it says, or install Detectron2 with one of\n{INSTALL_HELP}"
        )


def _problem_in_new_process() -> str | None:
    """Why a new interpreter cannot import Detectron2, or None: this one may hold the old one."""
    with tempfile.TemporaryDirectory() as folder:  # a folder with no detectron2/ in it
        command = [sys.executable, "-W", "ignore", "-c", "import detectron2.model_zoo"]
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _is_absent(error: Exception) -> bool:
    """Whether there is no Detectron2 at all, as against one that cannot be imported."""
    if isinstance(error, ModuleNotFoundError) and error.name == "detectron2":
        return True
    # A plain folder of that name, such as a clone of its repository, imports as an empty package.
    found = sys.modules.get("detectron2")
    return found is not None and getattr(found, "__file__", None) is None


def _folder() -> Path:
    """The folder of the Detectron2 that an import finds."""
    return Path(importlib.util.find_spec("detectron2").origin).parent


def _kind(folder: Path) -> str:
    """Where the Detectron2 in `folder` comes from."""
    for name, kind in (
        (PINNED_NAME, f"the pinned one from PyPI ({PINNED_NAME})"),
        ("detectron2", "the official one or another build of it"),
    ):
        found = distribution(name)
        if found and Path(found.locate_file("detectron2")).resolve() == folder.resolve():
            return kind
    return "the official one or another, from a source folder"


def distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def one_line(error: Exception) -> str:
    """The exception's type and the first sentence of its message."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}".split(". ")[0]


def remedy(error: Exception, module: str) -> str:
    """The command that brings what importing `module` failed for."""
    if module == "detectron2" and _is_absent(error):
        return f"detectron2: {INSTALL_COMMAND}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        lacking = error.name.partition(".")[0]
        if lacking != "detectron2":
            return pip_remedy(REQUIREMENTS.get(lacking, lacking))
    if module == "detectron2":
        # Most often it is another package that breaks it, such as a torch that does not load.
        return f"detectron2: if nothing else is wrong, {INSTALL_COMMAND} --from '{OFFICIAL_SPEC}'"
    if module in ("torch", "torchvision"):  # built for each other, so replaced together
        return "torch and torchvision: python -m pip install --force-reinstall torch torchvision"
    return f"{module}: python -m pip install --force-reinstall '{REQUIREMENTS.get(module, module)}'"


def pip_remedy(requirement: str) -> str:
    return f"{project(requirement)}: python -m pip install '{requirement}'"


def project(text: str) -> str:
    """The project that a requirement, or a remedy, begins with."""
    return re.match(r"[\w.-]+", text)[0].lower()


def silence_known_warnings() -> None:
    """Of Detectron2 under newer versions of torch: true, harmless, not the user's to change."""
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
    warnings.filterwarnings("ignore", message="Creating a tensor from a list of numpy.ndarrays")
    logging.getLogger("torch.fx").setLevel(logging.ERROR)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a compiler, no GPU

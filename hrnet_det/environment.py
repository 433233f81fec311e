"""Whether Detectron2 works here, which one it is, and what to do where it does not."""

# Only the standard library, so that this works where everything else is missing.
import importlib
import importlib.util
import logging
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path

PINNED_NAME = "sal-detectron2"  # see install.py

INSTALL_COMMAND = "hrnet-det install-detectron2"
OFFICIAL_SPEC = "git+https://github.com/facebookresearch/detectron2.git"
INSTALL_HELP = f"""\
  {INSTALL_COMMAND}
      a pinned copy, no compiler needed, seconds
  python -m pip install --no-build-isolation '{OFFICIAL_SPEC}'
      the official repository, needs torch and a C++ compiler, minutes"""

FAST_COCO_EVALUATION = "faster-coco-eval>=1.6.5"  # pyproject.toml's extra "fasteval"

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
    """Raises: ImportError without a working Detectron2: says what is wrong and what to do."""
    error = detectron2_error()
    if error is not None:
        raise ImportError(describe_error(error)) from error


def describe_error(error: Exception) -> str:
    """Why Detectron2 cannot be imported and what to do next; `error` is `detectron2_error()`'s."""
    if not is_absent(error):
        return (
            f"hrnet_det needs Detectron2, which is installed in {_folder()} but cannot be "
            f"imported: {one_line(error)}\nNext step: {remedy(error, 'detectron2')}\n"
            "`hrnet-det doctor` checks the rest."
        )
    venv, hint = Path(__file__).resolve().parents[1] / ".venv", "Install"
    if (venv / ".installed").is_file() and Path(sys.prefix).resolve() != venv.resolve():
        hint = (
            f"`make setup` has installed it in {venv}. Activate that:\n"
            f"  source {venv / 'bin' / 'activate'}\nor install"
        )
    return (
        f"hrnet_det needs Detectron2, which is not installed for {sys.executable}. "
        f"{hint} it with one of:\n{INSTALL_HELP}"
    )


def which_detectron2() -> str:
    """Version of the Detectron2 that an import finds, whether it is the pinned one, its folder."""
    import detectron2

    folder, kind = _folder(), "from a source folder"
    builds = {"detectron2": "another build", PINNED_NAME: f"the pinned {PINNED_NAME} of PyPI"}
    for name, build in builds.items():
        found = distribution(name)
        if found and Path(found.locate_file("detectron2")).resolve() == folder.resolve():
            kind = build
    return f"{getattr(detectron2, '__version__', 'of unknown version')}, {kind}, {folder}"


def is_absent(error: Exception) -> bool:
    """Whether there is no Detectron2 at all, as against one that cannot be imported."""
    if isinstance(error, ModuleNotFoundError) and error.name == "detectron2":
        return True
    # A plain folder of that name, such as a clone of its repository, imports as an empty package.
    found = sys.modules.get("detectron2")
    return found is not None and getattr(found, "__file__", None) is None


def _folder() -> Path:
    """The folder of the Detectron2 that an import finds, whether or not it works."""
    return Path(importlib.util.find_spec("detectron2").origin).parent


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
    if module == "detectron2" and is_absent(error):
        return f"detectron2: {INSTALL_COMMAND}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        lacking = error.name.partition(".")[0]
        if lacking != "detectron2":
            return pip_remedy(REQUIREMENTS.get(lacking, lacking))
    if module == "detectron2":
        # Most often another package breaks it, such as a torch that cannot be imported.
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
    """Hide what Detectron2 causes under newer versions of torch and a user cannot change."""
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
    warnings.filterwarnings("ignore", message="Creating a tensor from a list of numpy.ndarrays")
    logging.getLogger("torch.fx").setLevel(logging.ERROR)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a compiler, no GPU

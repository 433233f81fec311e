"""Is Detectron2 here, which one is it, how to get it; and the report of `hrnet-det doctor`.

Only the standard library is imported at the top: this file works where everything else is missing.
"""

import importlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType

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
    "torch": "torch>=2.4",
    "torchvision": "torchvision>=0.19",
    "yacs": "yacs>=0.1.8",
    "yaml": "PyYAML",
}
COCO_PARTS = (
    "train2017",
    "val2017",
    "annotations/instances_train2017.json",
    "annotations/instances_val2017.json",
)


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
        return (
            f"hrnet_det needs Detectron2, which is not installed for {sys.executable}. "
            f"Install it with one of:\n{INSTALL_HELP}"
        )
    return (
        f"hrnet_det needs Detectron2, which is installed in {_folder()} but cannot be imported: "
        f"{_one_line(error)}\nNext step: {_remedy(error, 'detectron2')}\n"
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


def doctor() -> tuple[str, int]:
    """What is installed here, what is missing, and how to get it.

    Returns: the report, and the exit status: 1 if something that is needed is missing, else 0.
    """
    rows = [("Python", f"{platform.python_version()}, {sys.executable}")]
    missing = []
    for name, describe in _CHECKS.items():
        text, remedy = _check(name, describe)
        rows.append((name.partition(".")[0], text))
        if remedy is not None:
            missing.append(remedy)
    rows.insert(1, ("hrnet_det", _own_version()))
    rows += _dataset_rows()
    # One remedy for each project: a missing torch is also why torchvision fails.
    missing = list(
        {_project(remedy): remedy for remedy in _absent_requirements() + missing}.values()
    )
    lines = [f"{name:<20} {text}" for name, text in rows]
    lines += ["", "missing:" if missing else "missing: nothing that is needed"]
    lines += [f"  {remedy}" for remedy in missing]
    return "\n".join(lines), int(bool(missing))


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
    if _distribution(PINNED_NAME) is not None:
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
        found = _distribution(name)
        if found and Path(found.locate_file("detectron2")).resolve() == folder.resolve():
            return kind
    return "the official one or another, from a source folder"


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _one_line(error: Exception) -> str:
    """The exception's type and the first sentence of its message."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}".split(". ")[0]


def _remedy(error: Exception, module: str) -> str:
    """The command that brings what importing `module` failed for."""
    if module == "detectron2" and _is_absent(error):
        return f"detectron2: {INSTALL_COMMAND}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        lacking = error.name.partition(".")[0]
        if lacking != "detectron2":
            return _pip_remedy(REQUIREMENTS.get(lacking, lacking))
    if module == "detectron2":
        # Most often it is another package that breaks it, such as a torch that does not load.
        return f"detectron2: if nothing else is wrong, {INSTALL_COMMAND} --from '{OFFICIAL_SPEC}'"
    if module in ("torch", "torchvision"):  # built for each other, so replaced together
        return "torch and torchvision: python -m pip install --force-reinstall torch torchvision"
    return f"{module}: python -m pip install --force-reinstall '{REQUIREMENTS.get(module, module)}'"


def _pip_remedy(requirement: str) -> str:
    return f"{_project(requirement)}: python -m pip install '{requirement}'"


def _project(text: str) -> str:
    """The project that a requirement, or a remedy, begins with."""
    return re.match(r"[\w.-]+", text)[0].lower()


def _check(name: str, describe: Callable[[ModuleType], str]) -> tuple[str, str | None]:
    """A module's row in the report, and what to do if it does not work."""
    error = detectron2_error() if name == "detectron2" else None
    try:
        if error is not None:
            raise error
        return describe(importlib.import_module(name)), None
    except Exception as failed:  # as in detectron2_error
        return f"does not work: {_one_line(failed)}", _remedy(failed, name.partition(".")[0])


def _describe_version(module: ModuleType) -> str:
    """The version that a module reports, or else that of its installed distribution."""
    name = module.__name__.partition(".")[0]
    found = _distribution(name)
    return str(getattr(module, "__version__", found.version if found else "of unknown version"))


def _describe_torch(torch: ModuleType) -> str:
    """Version, what it was built for, and the devices that it can use."""
    built = torch.version.cuda or getattr(torch.version, "hip", None)
    platform_name = "CUDA" if torch.version.cuda else "ROCm"
    parts = [torch.__version__, f"built for {platform_name} {built}" if built else "built for CPU"]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(i)
            parts.append(f"GPU {i}: {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB")
        return "; ".join(parts)
    if built:
        try:
            torch.cuda.init()
        except RuntimeError as error:  # no driver, a driver that is too old, no visible GPU
            parts.append("no GPU: " + str(error).split(". ")[0].split("\n")[0])
    return "; ".join([*parts, f"CPU only, {_cores()} cores, {_cpu_bf16()}"])


def _describe_torchvision(torchvision: ModuleType) -> str:
    """Version, once its compiled part has answered: that is lacking beside the wrong torch."""
    import torch

    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    return torchvision.__version__


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_bf16() -> str:
    """Whether the CPU has instructions for bfloat16."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return "native bf16 unknown"
    native = flags & {"avx512_bf16", "amx_bf16", "bf16"}
    return f"native bf16 ({', '.join(sorted(native))})" if native else "no native bf16"


def _describe_detectron2(module: ModuleType) -> str:
    """Which Detectron2 it is, and whether its compiled part loads."""
    try:
        importlib.import_module("detectron2._C")
    except Exception as error:
        lacking = "no fast COCO evaluation, no deformable and rotated operators; none is needed"
        return f"{which_detectron2()}\n{'':<20} detectron2._C: {_one_line(error)} ({lacking})"
    return f"{which_detectron2()}\n{'':<20} detectron2._C: loaded"


# In this order in the report; pycocotools is tried by its compiled part.
_CHECKS = {
    "torch": _describe_torch,
    "torchvision": _describe_torchvision,
    "detectron2": _describe_detectron2,
    "fvcore": _describe_version,
    "pycocotools.mask": _describe_version,
}


def _own_version() -> str:
    from hrnet_det import __version__

    return f"{__version__}, {Path(__file__).parent}"


def _absent_requirements() -> list[str]:
    """The remedies for what hrnet_det requires, by its own metadata, and is not installed."""
    found = _distribution("hrnet_det")
    required = [r for r in (found.requires if found else None) or [] if "extra ==" not in r]
    return [_pip_remedy(r) for r in required if _distribution(_project(r)) is None]


def _dataset_rows() -> list[tuple[str, str]]:
    """Where data sets are looked for, and the parts of COCO 2017 that are there."""
    setting = os.environ.get("DETECTRON2_DATASETS")
    root = Path(os.path.expanduser("datasets" if setting is None else setting)).absolute()
    shown = f"{setting} ({root})" if setting is not None else f"not set, so {root}"
    here = [part for part in COCO_PARTS if _has_content(root / "coco" / part)]
    absent = [part for part in COCO_PARTS if part not in here]
    text = f"found: {', '.join(here) or 'nothing'}"
    if absent:
        text += f"; not in {root / 'coco'}: {', '.join(absent)} (the quickstart needs none of them)"
    return [("DETECTRON2_DATASETS", shown), ("COCO 2017", text)]


def _has_content(path: Path) -> bool:
    """Whether a file is there, or a folder with anything in it."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))

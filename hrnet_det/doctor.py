"""The report of `hrnet-det doctor`: what is installed, what is missing, and how to get it.

Only the standard library is imported at the top: this file works where everything else is missing.
"""

import importlib
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from hrnet_det.environment import (
    FAST_COCO_EVALUATION,
    detectron2_error,
    distribution,
    one_line,
    pip_remedy,
    project,
    remedy,
    which_detectron2,
)

COCO_PARTS = (
    "train2017",
    "val2017",
    "annotations/instances_train2017.json",
    "annotations/instances_val2017.json",
)


def doctor() -> tuple[str, int]:
    """What is installed here, what is missing, and how to get it.

    Returns: the report, and the exit status: 1 if something that is needed is missing, else 0.
    """
    rows = [("Python", f"{platform.python_version()}, {sys.executable}")]
    missing = []
    for name, describe in _CHECKS.items():
        text, to_do = _check(name, describe)
        rows.append((name.partition(".")[0], text))
        if to_do is not None:
            missing.append(to_do)
    rows.insert(1, ("hrnet_det", _own_version()))
    rows += [("optional", text) for text in map(_describe_optional, _OPTIONAL.items())]
    rows += _dataset_rows()
    # One remedy for each project: a missing torch is also why torchvision fails.
    missing = list({project(to_do): to_do for to_do in _absent_requirements() + missing}.values())
    lines = [f"{name:<20} {text}" for name, text in rows]
    lines += ["", "missing:" if missing else "missing: nothing that is needed"]
    lines += [f"  {to_do}" for to_do in missing]
    return "\n".join(lines), int(bool(missing))


def _check(name: str, describe: Callable[[ModuleType], str]) -> tuple[str, str | None]:
    """A module's row in the report, and what to do if it does not work."""
    error = detectron2_error() if name == "detectron2" else None
    try:
        if error is not None:
            raise error
        return describe(importlib.import_module(name)), None
    except Exception as failed:  # as in detectron2_error
        return f"does not work: {one_line(failed)}", remedy(failed, name.partition(".")[0])


def _describe_version(module: ModuleType) -> str:
    """The version that a module reports, or else that of its installed distribution."""
    name = module.__name__.partition(".")[0]
    found = distribution(name)
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
        return f"{which_detectron2()}\n{'':<20} detectron2._C: {one_line(error)} ({lacking})"
    return f"{which_detectron2()}\n{'':<20} detectron2._C: loaded"


# In this order in the report; pycocotools is tried by its compiled part.
_CHECKS = {
    "torch": _describe_torch,
    "torchvision": _describe_torchvision,
    "detectron2": _describe_detectron2,
    "fvcore": _describe_version,
    "pycocotools.mask": _describe_version,
}


# What makes something more possible, and how to get it.
_OPTIONAL = {
    "cv2": ("detectors of mmdetection, HRNet-Object-Detection", "opencv-python-headless"),
    "faster_coco_eval": ("COCO evaluation in less time", f"'{FAST_COCO_EVALUATION}'"),
    "huggingface_hub": ("weights from timm:// and hf://", "huggingface_hub"),
}


def _describe_optional(row: tuple[str, tuple[str, str]]) -> str:
    """An optional package: what it is for, and what to do if it is not here."""
    name, (purpose, package) = row
    try:
        version = _describe_version(importlib.import_module(name))
    except Exception as error:  # as in _check
        return f"{name} for {purpose}: {one_line(error)} (pip install {package})"
    return f"{name} {version} for {purpose}"


def _own_version() -> str:
    from hrnet_det import __version__

    return f"{__version__}, {Path(__file__).parent}"


def _absent_requirements() -> list[str]:
    """The remedies for what hrnet_det requires, by its own metadata, and is not installed."""
    found = distribution("hrnet_det")
    required = [r for r in (found.requires if found else None) or [] if "extra ==" not in r]
    return [pip_remedy(r) for r in required if distribution(project(r)) is None]


def _dataset_rows() -> list[tuple[str, str]]:
    """Where datasets are looked for, and the parts of COCO 2017 that are there."""
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

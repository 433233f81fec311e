"""The report of `hrnet-det doctor`: what is installed, what is missing, and how to get it."""

# Only the standard library, so that this works where everything else is missing.
import importlib
import os
import platform
import sys
from pathlib import Path
from types import ModuleType

from hrnet_det import __version__, environment

# What each makes possible, and what to install for it.
OPTIONAL = {
    "av": ("hrnet-det predict on videos", "'av>=17'"),
    "cv2": ("detectors of mmdetection, HRNet-Object-Detection", "opencv-python-headless"),
    "faster_coco_eval": ("COCO evaluation in less time", f"'{environment.FAST_COCO_EVALUATION}'"),
    "fastapi": ("examples/serve.py", "fastapi python-multipart uvicorn"),
    "huggingface_hub": ("weights from timm:// and hf://", "huggingface_hub"),
    "onnxruntime": ("hrnet-det export to ONNX, and its files", "onnx onnxruntime"),
    "openvino": ("hrnet-det export to OpenVINO, TEST.ENGINE openvino", "openvino nncf"),
    "sahi": ("predict --merge sahi, sahi_model", "sahi, which brings opencv-python"),
    "supervision": ("Detections.to_supervision", "'supervision>=0.29'"),
}
_ANNOTATIONS = ("annotations/instances_train2017.json", "annotations/instances_val2017.json")
COCO_PARTS = ("train2017", "val2017", *_ANNOTATIONS)


def doctor() -> tuple[str, int]:
    """What is installed here, what is missing, and how to get it.

    Returns: the report, and the exit status: 1 if something that is needed is missing, else 0.
    """
    rows = [("hrnet_det", f"{__version__}, {Path(__file__).parent}")]
    rows.append(("Python", f"{platform.python_version()}, {sys.executable}"))
    missing = _absent_requirements()
    for name, describe in NEEDED.items():
        module = name.partition(".")[0]
        try:
            error = environment.detectron2_error() if name == "detectron2" else None
            if error is not None:
                raise error
            rows.append((module, describe(importlib.import_module(name))))
        except Exception as error:  # as in detectron2_error
            rows.append((module, f"does not work: {environment.one_line(error)}"))
            missing.append(environment.remedy(error, module))
    rows += [("optional", _describe_optional(name)) for name in OPTIONAL]
    rows += _dataset_rows()
    lines = [f"{name:<20} {text}" for name, text in rows]
    lines += [*_collected(), "", "missing:" if missing else "missing: nothing that is needed"]
    remedies = {environment.project(to_do): to_do for to_do in missing}  # one for each project
    lines += [f"  {to_do}" for to_do in remedies.values()]
    return "\n".join(lines), int(bool(missing))


def _version(module: ModuleType) -> str:
    """The version that a module reports, or else that of its installed distribution."""
    found = environment.distribution(module.__name__.partition(".")[0])
    return str(getattr(module, "__version__", found.version if found else "of unknown version"))


def _describe_torch(torch: ModuleType) -> str:
    if torch.cuda.is_available():
        gpus = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        found = (f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus)
        return "; ".join([torch.__version__, *found])
    reason = "built for the CPU"
    if torch.version.cuda or torch.version.hip:
        try:
            torch.cuda.init()
        except RuntimeError as error:  # no driver, a driver that is too old, no visible GPU
            reason = str(error).split(". ")[0].split("\n")[0]
    return f"{torch.__version__}; no GPU ({reason}); {_cpu()}"


def _cpu() -> str:
    """The cores that this process may use, and their instructions for bfloat16."""
    own = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if own else os.cpu_count()
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text(encoding="utf-8").split()) if info.is_file() else set()
    native = ", ".join(sorted(flags & {"avx512_bf16", "amx_bf16", "bf16"}))
    return f"{cores} CPU cores, {f'native bf16 ({native})' if native else 'no native bf16 found'}"


def _describe_torchvision(torchvision: ModuleType) -> str:
    """Version, once its compiled part has answered: that fails beside the wrong torch."""
    import torch

    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    return torchvision.__version__


def _describe_detectron2(_: ModuleType) -> str:
    """It works where its compiled part does not load."""
    try:
        importlib.import_module("detectron2._C")
    except Exception as error:  # of any kind, as in detectron2_error
        reason = environment.one_line(error)
        without = f"; without its compiled part ({reason}), which nothing here needs"
    else:
        without = ""
    return f"{environment.which_detectron2()}{without}"


# In this order in the report; pycocotools is tried by its compiled part.
NEEDED = {
    "torch": _describe_torch,
    "torchvision": _describe_torchvision,
    "detectron2": _describe_detectron2,
    "fvcore": _version,
    "pycocotools.mask": _version,
}


def _collected() -> list[str]:
    """Detectron2's own report, but for the flags that torch was built with; none if it fails."""
    environment.silence_known_warnings()
    try:
        collect_env = importlib.import_module("detectron2.utils.collect_env")
        return ["", collect_env.collect_env_info().partition("PyTorch built with")[0].strip()]
    except Exception:  # it calls compilers and imports what may be broken
        return []


def _describe_optional(name: str) -> str:
    """An optional package: what it is for, and what to do if it is not here."""
    purpose, package = OPTIONAL[name]
    try:
        version = _version(importlib.import_module(name))
    except Exception as error:  # as in detectron2_error
        return f"{name} for {purpose}: {environment.one_line(error)} (pip install {package})"
    return f"{name} {version} for {purpose}"


def _absent_requirements() -> list[str]:
    """The remedies for what hrnet_det requires, by its own metadata, and is not installed."""
    found = environment.distribution("hrnet_det")
    required = [r for r in (found.requires if found else None) or [] if "extra ==" not in r]
    return [
        environment.pip_remedy(r)
        for r in required
        if environment.distribution(environment.project(r)) is None
    ]


def _dataset_rows() -> list[tuple[str, str]]:
    """Where datasets are looked for, and the parts of COCO 2017 that are there."""
    setting = os.environ.get("DETECTRON2_DATASETS")
    root = Path(os.path.expanduser("datasets" if setting is None else setting)).absolute()
    coco = root / "coco"
    here = [part for part in COCO_PARTS if (coco / part).is_file() or any(coco.glob(f"{part}/*"))]
    absent = [part for part in COCO_PARTS if part not in here]
    text = f"found: {', '.join(here) or 'nothing'}"
    if absent:
        text += f"; not in {coco}: {', '.join(absent)} (the quickstart needs none of them)"
    shown = f"not set, so {root}" if setting is None else f"{setting} ({root})"
    return [("DETECTRON2_DATASETS", shown), ("COCO 2017", text)]

"""The keys that hrnet_det adds to Detectron2's config, and how a config is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml
from detectron2.config import CfgNode
from detectron2.config import get_cfg as get_detectron2_cfg

from hrnet_det.errors import InputError, MissingInputError


def add_hrnet_config(cfg: CfgNode) -> None:
    """Add hrnet_det's keys to a config of Detectron2's, in place."""
    cfg.MODEL.HRNET = CfgNode()
    # w18, w30, w32, w40, w44, w48, w64, w18_small_v1 or w18_small_v2.
    cfg.MODEL.HRNET.VARIANT = "w18"
    # Any Detectron2 norm: BN, SyncBN, FrozenBN, GN, LN, naiveSyncBN (SyncBN that runs on the CPU).
    cfg.MODEL.HRNET.NORM = "BN"
    # Norms use their running statistics in training too while their weights train, as the
    # published detectors do, which start from ImageNet statistics. From scratch: False.
    cfg.MODEL.HRNET.NORM_EVAL = False
    # Branches that build_hrnet_backbone returns and build_hrnetv2_backbone concatenates.
    cfg.MODEL.HRNET.OUT_FEATURES = ["hr2", "hr3", "hr4", "hr5"]
    # "none"; "balanced" or "smallest": less memory, paid for by computing activations twice.
    cfg.MODEL.HRNET.ACTIVATION_CHECKPOINTING = "none"

    cfg.MODEL.HRFPN = CfgNode()
    # Branches that the pyramid is made from.
    cfg.MODEL.HRFPN.IN_FEATURES = ["hr2", "hr3", "hr4", "hr5"]
    # Channels of every level.
    cfg.MODEL.HRFPN.OUT_CHANNELS = 256
    # Number of levels, from p{MIN_LEVEL} on.
    cfg.MODEL.HRFPN.NUM_LEVELS = 5
    # 2: p2..p6 for two-stage detectors. 3: p3..p7 for one-stage detectors.
    cfg.MODEL.HRFPN.MIN_LEVEL = 2
    # "avg" (published) or "max".
    cfg.MODEL.HRFPN.POOLING = "avg"
    # Norm after the pyramid's convolutions; "" (published) for none.
    cfg.MODEL.HRFPN.NORM = ""
    # One 3x3 convolution for all levels instead of one each.
    cfg.MODEL.HRFPN.SHARE_CONV = False

    # Whose boxes, scores and masks a detector computes from its heads' outputs: "detectron2",
    # "mmdet", "mmdet_fcos", "hrnet_object_detection" or "maskrcnn_benchmark". As an override it
    # merges the whole of configs/semantics/NAME.yaml; in a file, name that file in _BASE_.
    cfg.MODEL.SEMANTICS = "detectron2"

    # Semantic segmentation by HRNetV2SemSegHead: a weight of the loss for each class, [] for none.
    cfg.MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS = []

    # FCOS, where MODEL.META_ARCHITECTURE names it.
    cfg.MODEL.FCOS = CfgNode()
    cfg.MODEL.FCOS.NUM_CLASSES = 80
    # Pyramid levels, finest first.
    cfg.MODEL.FCOS.IN_FEATURES = ["p3", "p4", "p5", "p6", "p7"]
    # 3x3 convolutions of each tower, and the norm after each ("GN", or "" for none).
    cfg.MODEL.FCOS.NUM_CONVS = 4
    cfg.MODEL.FCOS.NORM = "GN"
    # Class probability that the first predictions start from.
    cfg.MODEL.FCOS.PRIOR_PROB = 0.01
    # Points this near to a box's centre, in strides, learn it.
    cfg.MODEL.FCOS.CENTER_SAMPLING_RADIUS = 1.5
    # Least class probability, candidates per level, and IoU of the suppression.
    cfg.MODEL.FCOS.SCORE_THRESH_TEST = 0.05
    cfg.MODEL.FCOS.TOPK_CANDIDATES_TEST = 1000
    cfg.MODEL.FCOS.NMS_THRESH_TEST = 0.5

    # Of ResamplingCascadeROIHeads and HTCROIHeads: factors of the losses, one for each of IOUS.
    cfg.MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS = [1.0, 0.5, 0.25]

    # Hybrid Task Cascade, where MODEL.ROI_HEADS.NAME is HTCROIHeads and META_ARCHITECTURE is HTC.
    cfg.MODEL.HTC = CfgNode()
    # A semantic branch by the keys of MODEL.SEM_SEG_HEAD, whose features boxes and masks get too.
    cfg.MODEL.HTC.SEMANTIC_ON = True

    # How pictures are resized: "pillow" (Detectron2's, antialiased), "opencv" (mmdetection's),
    # "opencv_float" (HRNet-Object-Detection's) or "pillow_floor" (maskrcnn-benchmark's).
    cfg.INPUT.RESIZE = "pillow"

    # Several scales to train on, one chosen for each picture: [shorter, longer side] in pixels, the
    # longer one at most. [] for none: MIN_SIZE_TRAIN and MAX_SIZE_TRAIN.
    cfg.INPUT.SCALES_TRAIN = []
    # [shorter, longer side] of a crop of the resized picture, around a random object; [] for none.
    # Objects whose centre lies outside are dropped.
    cfg.INPUT.CROP_TRAIN = []

    # Weights files that hold Python objects beside tensors may run any code when they are loaded.
    # True permits it: only for files whose origin you trust.
    cfg.MODEL.WEIGHTS_UNPICKLE = False
    # Take what fits of a file in which tensors of a part are missing or have other shapes.
    cfg.MODEL.WEIGHTS_PARTIAL = False

    # "SGD" (Detectron2's own) or "ADAMW", which learns faster from random weights.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # A step's IMS_PER_BATCH pictures go through the detector in so many parts that a recipe of 16
    # takes the memory of 16 / ACCUMULATE (shared by the GPUs). Schedules do not change.
    cfg.SOLVER.ACCUMULATE = 1
    # SOLVER.LR_SCHEDULER_NAME may be "WarmupPolyLR" too: the learning rate falls to 0 by
    # (1 - iteration / MAX_ITER) to this power.
    cfg.SOLVER.POLY_LR_POWER = 0.9

    # What computes COCO's AP, with the same result: "detectron2" (its compiled part),
    # "faster_coco_eval", "pycocotools", or "auto": the first of these that is installed.
    cfg.TEST.COCO_EVAL = "auto"

    # Detectors are evaluated and used in a form that computes the same in less time: norms folded,
    # channels_last, fused convolutions (see optimize_for_inference). False: as they train.
    cfg.TEST.OPTIMIZED = True
    # What that form computes in: "float32", "bfloat16", or on GPUs "float16".
    cfg.TEST.DTYPE = "float32"
    # torch.compile for its backbone, anew for each evaluation: on a CPU it needs a C++ compiler.
    cfg.TEST.COMPILE = False

    # One's own data without Python: COCO json and picture folder, for training and for testing.
    # When set, they take the place of DATASETS.TRAIN and DATASETS.TEST.
    cfg.DATASETS.CUSTOM = CfgNode()
    cfg.DATASETS.CUSTOM.TRAIN_JSON = ""
    cfg.DATASETS.CUSTOM.TRAIN_IMAGES = ""
    cfg.DATASETS.CUSTOM.TEST_JSON = ""
    cfg.DATASETS.CUSTOM.TEST_IMAGES = ""


def get_cfg() -> CfgNode:
    """Detectron2's defaults with hrnet_det's keys."""
    cfg = get_detectron2_cfg()
    add_hrnet_config(cfg)
    return cfg


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """The defaults, with a YAML file (and its `_BASE_`s) and KEY VALUE pairs merged over them.

    YAML is loaded safely: a tag that would run code is refused.

    Args:
        path: the YAML file.
        overrides: KEY, VALUE, KEY, VALUE, ... as on the command line.
    Raises: MissingInputError if the file is not there; InputError if it is no plain YAML or has a
        key or a type of value that does not exist (the message names the nearest key).
    """
    cfg = get_cfg()
    content = _load_yaml(path)
    _check_keys(cfg, _flat_keys(content), source=str(path))
    defaults = dict(_flat_items(cfg))
    empty = [k for k, value in _flat_items(content) if value is None and defaults[k] is not None]
    if empty:
        raise InputError(f"{path}: {', '.join(empty)} has no value; write one, or leave it out")
    if content.get("VERSION", cfg.VERSION) != cfg.VERSION:
        raise InputError(f"{path}: VERSION {content['VERSION']}; only {cfg.VERSION} can be read")
    try:
        cfg.merge_from_other_cfg(CfgNode(content))
    except (ValueError, AssertionError) as error:
        raise InputError(f"{path}: {error}") from error
    merge_overrides(cfg, overrides)
    try:
        check_semantics(cfg)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return cfg


def merge_overrides(cfg: CfgNode, overrides: Sequence[str]) -> None:
    """Merge KEY VALUE pairs into cfg. Raises: InputError as load_config does."""
    if len(overrides) % 2:
        raise InputError(
            "overrides are pairs of KEY VALUE, such as SOLVER.BASE_LR 0.01; got an odd number: "
            + " ".join(overrides)
        )
    _check_keys(cfg, overrides[::2], source="command line")
    stated = dict(zip(overrides[::2], overrides[1::2], strict=True))
    known = dict(_flat_items(cfg))
    empty = [k for k, v in stated.items() if v in (None, "None") and known.get(k) is not None]
    if empty:
        raise InputError(f"command line: {', '.join(empty)} needs a value, not None")
    if "MODEL.SEMANTICS" in stated:
        _merge_semantics(cfg, str(stated["MODEL.SEMANTICS"]))
    try:
        cfg.merge_from_list(list(overrides))
    except (ValueError, AssertionError) as error:
        hint = "; several values are written \"('a', 'b')\", one \"('a',)\""
        raise InputError(
            f"command line: {error}" + (hint if "tuple" in str(error) else "")
        ) from error


def check_semantics(cfg: CfgNode) -> None:
    """Raises: InputError if MODEL.SEMANTICS names what MODEL.META_ARCHITECTURE does not follow."""
    semantics, architecture = cfg.MODEL.SEMANTICS, cfg.MODEL.META_ARCHITECTURE
    follows = {"detectron2": architecture, "mmdet_fcos": "FCOS"}.get(semantics, "SourceRCNN")
    if architecture != follows:
        raise InputError(
            f"MODEL.SEMANTICS {semantics} with MODEL.META_ARCHITECTURE {architecture}, which does "
            f"not follow it. The whole of semantics/{semantics}.yaml is needed: in a file, name it "
            "in _BASE_ after the detector's own config; as an override of load_config or the "
            f"command line, MODEL.SEMANTICS {semantics} merges it"
        )


def config_folder() -> Path:
    """configs/ inside the installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def _merge_semantics(cfg: CfgNode, name: str) -> None:
    """Merge configs/semantics/NAME.yaml."""
    if name == "detectron2":
        return
    folder = config_folder() / "semantics"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise InputError(
            f"command line: there are no MODEL.SEMANTICS {name!r}; there are "
            f"detectron2, {', '.join(known)}"
        )
    one_stage = cfg.MODEL.META_ARCHITECTURE == "FCOS"
    if one_stage != (name == "mmdet_fcos"):
        allowed = "mmdet_fcos" if one_stage else ", ".join(n for n in known if n != "mmdet_fcos")
        raise InputError(
            f"command line: MODEL.SEMANTICS {name} is not for MODEL.META_ARCHITECTURE "
            f"{cfg.MODEL.META_ARCHITECTURE}, which may have {allowed}"
        )
    cfg.merge_from_other_cfg(CfgNode(_load_yaml(folder / f"{name}.yaml")))


def stated_keys(path: str | Path, overrides: Sequence[str] = ()) -> set[str]:
    """The keys that a YAML file (with its `_BASE_`s) or the overrides state themselves."""
    return {*_flat_keys(_load_yaml(path)), *overrides[::2]}


def _load_yaml(path: str | Path) -> dict:
    if not Path(path).is_file():
        raise MissingInputError(f"config {path} is not there")
    try:
        content = CfgNode.load_yaml_with_base(str(path), allow_unsafe=False)
    except yaml.constructor.ConstructorError as error:
        raise InputError(
            f"{path}: YAML tags that run code are not loaded ({error.problem}); write plain values"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML: {error}") from error
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: its _BASE_ {error.filename} is not there") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} has no KEY: VALUE lines")
    return content


def _flat_items(content: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat_items(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _flat_keys(content: dict) -> Iterator[str]:
    return (key for key, _ in _flat_items(content))


def _check_keys(cfg: CfgNode, keys: Iterable[str], *, source: str) -> None:
    known = list(_flat_keys(cfg))
    sections = {key[:i] for key in known for i, letter in enumerate(key) if letter == "."}
    for key in keys:
        if key in known:
            continue
        if key in sections:
            inside = ", ".join(k for k in known if k.startswith(key + "."))
            raise InputError(f"{source}: {key} is a group of keys, which are {inside}")
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        last = key.rsplit(".", 1)[-1]
        near = near or [k for k in known if k.rsplit(".", 1)[-1] == last][:3]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"{source}: there is no config key {key}{hint}")

"""The keys that hrnet_det adds to Detectron2's config."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.config import get_cfg as get_detectron2_cfg


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
    # "mmdet", "hrnet_object_detection" or "maskrcnn_benchmark". As an override it merges the whole
    # of configs/conventions/NAME.KIND.yaml (mmdet.fcos.yaml), or without one of NAME.yaml; in a
    # file, name that file in _BASE_.
    cfg.MODEL.CONVENTIONS = "detectron2"

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

    # How images are resized: "pillow" (Detectron2's, antialiased), "opencv" (mmdetection's),
    # "opencv_float" (HRNet-Object-Detection's) or "pillow_floor" (maskrcnn-benchmark's).
    cfg.INPUT.RESIZE = "pillow"

    # Several scales to train on, one chosen for each image: [shorter, longer side] in pixels, the
    # longer one at most. [] for none: MIN_SIZE_TRAIN and MAX_SIZE_TRAIN.
    cfg.INPUT.SCALES_TRAIN = []
    # [shorter, longer side] of a crop of the resized image, around a random object; [] for none.
    # Objects whose centre lies outside are dropped.
    cfg.INPUT.CROP_TRAIN = []

    # Weights files that hold Python objects beside tensors may run any code when they are loaded.
    # True permits it: only for files whose origin you trust.
    cfg.MODEL.WEIGHTS_ALLOW_PICKLE = False
    # False takes what fits of a file in which tensors of a part are missing or have other shapes.
    cfg.MODEL.WEIGHTS_STRICT = True

    # "SGD" (Detectron2's own) or "ADAMW", which learns faster from random weights.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # A step's IMS_PER_BATCH images go through the detector in so many parts that a recipe of 16
    # takes the memory of 16 / steps (shared by the GPUs). Schedules do not change.
    cfg.SOLVER.GRADIENT_ACCUMULATION_STEPS = 1
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

    # Your own data without Python: COCO json and image folder, for training and for testing.
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

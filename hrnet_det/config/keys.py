"""The keys that hrnet_det adds to Detectron2's config."""

from __future__ import annotations

import copy

from detectron2.config import CfgNode
from detectron2.config import get_cfg as get_detectron2_cfg

from hrnet_det.config.panoptic_keys import PANOPTIC_DEEPLAB_KEYS

# Every key with its default.
KEYS: dict[str, object] = {
    "MODEL.HRNET.VARIANT": "w18",  # w18, w30, w32, w40, w44, w48, w64, w18_small_v1, w18_small_v2
    # Any Detectron2 norm: BN, SyncBN, FrozenBN, GN, LN, naiveSyncBN (SyncBN that runs on the CPU).
    "MODEL.HRNET.NORM": "BN",
    # Norms use their running statistics in training too while their weights train, as the
    # published detectors do, which start from ImageNet statistics. From scratch: False.
    "MODEL.HRNET.NORM_EVAL": False,
    # Branches that build_hrnet_backbone returns and build_hrnetv2_backbone concatenates.
    "MODEL.HRNET.OUT_FEATURES": ["hr2", "hr3", "hr4", "hr5"],
    # How coarser branches are brought to a finer one's size: "nearest", or "bilinear" with corners
    # aligned, as in HRNet-Semantic-Segmentation and Panoptic-DeepLab.
    "MODEL.HRNET.UPSAMPLING": "nearest",
    # "none"; "balanced" or "smallest": less memory, paid for by computing activations twice.
    "MODEL.HRNET.ACTIVATION_CHECKPOINTING": "none",
    # The pyramid: the branches that it is made from, and the channels of every level.
    "MODEL.HRFPN.IN_FEATURES": ["hr2", "hr3", "hr4", "hr5"],
    "MODEL.HRFPN.OUT_CHANNELS": 256,
    "MODEL.HRFPN.NUM_LEVELS": 5,  # from p{MIN_LEVEL} on
    "MODEL.HRFPN.MIN_LEVEL": 2,  # 2: p2..p6 for two-stage detectors; 3: p3..p7 for one-stage ones
    "MODEL.HRFPN.POOLING": "avg",  # as published, or "max"
    "MODEL.HRFPN.NORM": "",  # after its convolutions; "" (published) for none
    "MODEL.HRFPN.SHARE_CONV": False,  # one 3x3 convolution for all levels instead of one each
    # By whose rules a detector trains, and makes boxes, scores and masks of its heads' outputs:
    # "detectron2", "mmdet", "hrnet_object_detection" or "maskrcnn_benchmark". As an override or in
    # your own file it merges configs/conventions/NAME.FAMILY.yaml (mmdet.fcos.yaml), or NAME.yaml.
    "MODEL.CONVENTIONS": "detectron2",
    "MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS": [],  # HRNetV2SemSegHead's, in the loss; [] for none
    "MODEL.FCOS.NUM_CLASSES": 80,
    "MODEL.FCOS.IN_FEATURES": ["p3", "p4", "p5", "p6", "p7"],  # pyramid levels, finest first
    "MODEL.FCOS.NUM_CONVS": 4,  # 3x3 convolutions of each tower
    "MODEL.FCOS.NORM": "GN",  # after each of them; "" for none
    "MODEL.FCOS.CONV_BIAS": False,  # whether they have biases beside the norm, as HRNet-FCOS's
    "MODEL.FCOS.PRIOR_PROB": 0.01,  # class probability that the first predictions start from
    # How it learns: Detectron2's rules, improvements of the published ones ("center sampling" and
    # GIoU). Points this near to a box's centre, in strides, are positive; 0: all in the box.
    "MODEL.FCOS.CENTER_SAMPLING_RADIUS": 1.5,
    # "giou"; mmdetection's "iou_log" and "giou_weighted", where points count by their centerness;
    # HRNet-FCOS's "iou_log_smooth", likewise.
    "MODEL.FCOS.BOX_LOSS": "giou",
    # What losses are divided by. "moving_average": positive points, from 300 on; "batch": this
    # batch's, averaged over the processes; "images": this batch's and the images of the process.
    "MODEL.FCOS.NORMALIZER": "moving_average",
    # Least class probability, candidates per level, and IoU of the suppression.
    "MODEL.FCOS.SCORE_THRESH_TEST": 0.05,
    "MODEL.FCOS.TOPK_CANDIDATES_TEST": 1000,
    "MODEL.FCOS.NMS_THRESH_TEST": 0.5,
    # Overlapping boxes of a class lose score in place of being dropped: mmdetection's soft_nms.
    "MODEL.ROI_HEADS.SOFT_NMS": False,
    # Of ResamplingCascadeROIHeads and HTCROIHeads: factors of the losses, one for each of IOUS.
    "MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS": [1.0, 0.5, 0.25],
    # Whether in the RoI heads' training the box that fits an object best becomes its own, whatever
    # it matched before: "never" (Detectron2's), "always", or "with_masks": where MASK_ON is True.
    # The last two need MODEL.CONVENTIONS of a code base that does so.
    "MODEL.ROI_HEADS.LOW_QUALITY_MATCHES": "never",
    # Hybrid Task Cascade (MODEL.ROI_HEADS.NAME HTCROIHeads, META_ARCHITECTURE HTC): a semantic
    # branch by the keys of MODEL.SEM_SEG_HEAD, whose features boxes and masks get too.
    "MODEL.HTC.SEMANTIC_ON": True,
    # How images are resized: "pillow" (Detectron2's, antialiased), "opencv" (mmdetection's),
    # "opencv_float" (HRNet-Object-Detection's) or "pillow_floor" (maskrcnn-benchmark's). Of labels
    # and bitmaps the nearest pixel is taken, by the same library.
    "INPUT.RESIZE": "pillow",
    # Several scales to train on, one chosen for each image: [shorter, longer side] in pixels, the
    # longer one at most. [] for none: MIN_SIZE_TRAIN and MAX_SIZE_TRAIN.
    "INPUT.SCALES_TRAIN": [],
    # [shorter, longer side] of a crop of the resized image, around a random object; [] for none.
    # Objects whose centre lies outside are dropped.
    "INPUT.CROP_TRAIN": [],
    # Augmentations of training. INPUT.RANDOM_FLIP may be "both" beside "horizontal" and "vertical":
    # each with a probability of 1/2. A random crop of the image before it is resized, with at least
    # this share of each side, that contains at least this share of each object's box.
    "INPUT.AUGMENT.CROP": 1.0,
    "INPUT.AUGMENT.CROP_VISIBLE": 1.0,
    "INPUT.AUGMENT.RIGHT_ANGLES": 0.0,  # probability of a turn by 90, 180 or 270 degrees
    "INPUT.AUGMENT.ROTATION": 0.0,  # degrees: turns by up to so many either way
    # Brightness, contrast, saturation: by a factor of 1 - x to 1 + x.
    "INPUT.AUGMENT.BRIGHTNESS": 0.0,
    "INPUT.AUGMENT.CONTRAST": 0.0,
    "INPUT.AUGMENT.SATURATION": 0.0,
    "INPUT.AUGMENT.HUE": 0.0,  # degrees: colours turned on the circle by up to so many either way
    # Large-scale jitter, in place of MIN_SIZE_TRAIN and MAX_SIZE_TRAIN: images are resized to fit
    # into SCALE_JITTER_SIZE, (height, width) in pixels, times a random factor between these, such
    # as [0.1, 2.0], and cropped or padded to that size.
    "INPUT.AUGMENT.SCALE_JITTER": [],
    "INPUT.AUGMENT.SCALE_JITTER_SIZE": [1024, 1024],
    "INPUT.AUGMENT.FILL": 128,  # level of grey of what rotation and jitter leave uncovered
    # Probability that objects of another training image are pasted with their masks, each of them
    # with a probability of 1/2 (arXiv:2012.07177). INPUT.MASK_FORMAT becomes bitmask.
    "INPUT.AUGMENT.COPY_PASTE": 0.0,
    # [low, high]: the values of images of more than 8 bits that become black and white. []: the 0.1
    # and 99.9 percentiles of the images to train on, measured once and kept with the weights.
    "INPUT.PIXEL_RANGE": [],
    "INPUT.MAX_PIXELS": 178_956_970,  # images of more are refused before they are decoded
    # Weights files with Python objects may run any code: True permits them, where you trust them.
    "MODEL.WEIGHTS_ALLOW_PICKLE": False,
    # False takes what fits of a file in which tensors of a part are missing or have other shapes.
    "MODEL.WEIGHTS_STRICT": True,
    # Whose published optimiser and schedule, for the config's own 1x, 2x, 20e or 28e: "mmdet" or
    # "hrnet_object_detection"; "" for what the config says. It lies between the shipped config and
    # the user's values, starts from ImageNet weights, and MODEL.CONVENTIONS follows it.
    "SOLVER.RECIPE": "",
    # Factor of the learning rate of norms' biases; None: BIAS_LR_FACTOR, as of other biases.
    "SOLVER.BIAS_LR_FACTOR_NORM": None,
    # Above 0: MAX_ITER, STEPS, WARMUP_ITERS, CHECKPOINT_PERIOD and TEST.EVAL_PERIOD follow from so
    # many epochs of the images with objects, where they are not stated.
    "SOLVER.EPOCHS": 0,
    # Above 0: BASE_LR is for batches of so many images, and changes in proportion to IMS_PER_BATCH
    # where it is not stated.
    "SOLVER.BASE_LR_BATCH": 0,
    # "SGD" (Detectron2's own) or "ADAMW", which learns faster from random weights.
    "SOLVER.OPTIMIZER": "SGD",
    # A step's IMS_PER_BATCH images go through the detector in so many parts that a recipe of 16
    # takes the memory of 16 / steps (shared by the GPUs). Schedules do not change.
    "SOLVER.GRADIENT_ACCUMULATION_STEPS": 1,
    # SOLVER.LR_SCHEDULER_NAME may be "WarmupPolyLR" too: the learning rate falls to 0 by
    # (1 - iteration / MAX_ITER) to this power.
    "SOLVER.POLY_LR_POWER": 0.9,
    # Of the checkpoints of each CHECKPOINT_PERIOD only so many last ones stay; 0 for all, as in
    # Detectron2. model_best.pth and model_final.pth always do.
    "SOLVER.CHECKPOINTS_KEPT": 0,
    # Early stopping: training ends after so many evaluations (TEST.EVAL_PERIOD) in which the metric
    # of model_best.pth has not risen; 0 for never. The learning rates are those of MAX_ITER.
    "SOLVER.PATIENCE": 0,
    # Evaluate and save the moving average of the weights, such as 0.999: after step n, counted
    # from 0, it keeps min(EMA_DECAY, (1 + n) / (10 + n)) of itself. 0 for none.
    "SOLVER.EMA_DECAY": 0.0,
    # Each evaluation computes the losses on the test sets too: validation_loss/... in metrics.json.
    "TEST.LOSS": False,
    # What computes COCO's AP, with the same result: "detectron2" (its compiled part),
    # "faster_coco_eval", "pycocotools", or "auto": the first of these that is installed.
    "TEST.COCO_EVAL": "auto",
    # Detectors are evaluated and used in a form that computes the same in less time: norms folded,
    # channels_last, fused convolutions (see optimize_for_inference). False: as they train.
    "TEST.OPTIMIZED": True,
    "TEST.DTYPE": "float32",  # what that form computes in, or "bfloat16", or on GPUs "float16"
    "TEST.COMPILE": False,  # torch.compile for its backbone, which needs a C++ compiler on a CPU
    # What computes its backbone: "torch", or on a CPU "openvino", in less time.
    "TEST.ENGINE": "torch",
    # Your own data without Python: a folder in one of the layouts of hrnet_det/data/layouts.py
    # (--data FOLDER on the command line), whose jsons and images the next four keys become.
    "DATASETS.CUSTOM.FOLDER": "",
    # True: image sizes and anchors follow the images and objects to train on, where not stated.
    "DATASETS.CUSTOM.FIT": False,
    # COCO json and image folder, for training and for testing.
    # When set, they take the place of DATASETS.TRAIN and DATASETS.TEST.
    "DATASETS.CUSTOM.TRAIN_JSON": "",
    "DATASETS.CUSTOM.TRAIN_IMAGES": "",
    "DATASETS.CUSTOM.TEST_JSON": "",
    "DATASETS.CUSTOM.TEST_IMAGES": "",
}


KEYS |= PANOPTIC_DEEPLAB_KEYS


def add_hrnet_config(cfg: CfgNode) -> None:
    """Add hrnet_det's keys to a config of Detectron2's, in place."""
    for key, default in KEYS.items():
        *groups, name = key.split(".")
        node = cfg
        for group in groups:
            node = node.setdefault(group, CfgNode())
        setattr(node, name, copy.deepcopy(default))


def get_cfg() -> CfgNode:
    """Detectron2's defaults with hrnet_det's keys."""
    cfg = get_detectron2_cfg()
    add_hrnet_config(cfg)
    return cfg

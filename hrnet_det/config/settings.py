"""The settings that hrnet_det reads by `run[...]`, and where each kind of config has them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """Its key in a YAML config; its place in a LazyConfig, "" for none, and its default there."""

    yaml: str
    lazy: str = ""
    default: object = None


# How a run goes.
OUTPUT_DIR = Setting("OUTPUT_DIR", "train.output_dir", "./output")
SEED = Setting("SEED", "train.seed", -1)
DEVICE = Setting("MODEL.DEVICE", "train.device", "cuda")
MAX_ITER = Setting("SOLVER.MAX_ITER", "train.max_iter", 90000)
BATCH_SIZE = Setting("SOLVER.IMS_PER_BATCH", "dataloader.train.total_batch_size", 16)
EPOCHS = Setting("SOLVER.EPOCHS", default=0)
RECIPE = Setting("SOLVER.RECIPE", default="")
BASE_LR_BATCH = Setting("SOLVER.BASE_LR_BATCH", default=0)
STEPS = Setting("SOLVER.STEPS")
WARMUP_ITERS = Setting("SOLVER.WARMUP_ITERS")
BASE_LR = Setting("SOLVER.BASE_LR", "optimizer.lr", 0.02)
ACCUMULATION_STEPS = Setting(
    "SOLVER.GRADIENT_ACCUMULATION_STEPS", "train.gradient_accumulation_steps", 1
)
AMP = Setting("SOLVER.AMP.ENABLED", "train.amp.enabled", False)
CHECKPOINT_PERIOD = Setting("SOLVER.CHECKPOINT_PERIOD", "train.checkpoint_period", 5000)
CHECKPOINTS_KEPT = Setting("SOLVER.CHECKPOINTS_KEPT", "train.checkpoints_kept", 0)
EVAL_PERIOD = Setting("TEST.EVAL_PERIOD", "train.eval_period", 0)
PATIENCE = Setting("SOLVER.PATIENCE", "train.patience", 0)
EMA_DECAY = Setting("SOLVER.EMA_DECAY", "train.ema_decay", 0.0)
REFERENCE_WORLD_SIZE = Setting("SOLVER.REFERENCE_WORLD_SIZE", default=0)
NUM_WORKERS = Setting("DATALOADER.NUM_WORKERS", "dataloader.train.num_workers", 4)
PRECISE_BN = Setting("TEST.PRECISE_BN.ENABLED", default=False)
GRADIENT_CLIP = Setting("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "train.clip_gradient_norm", 0.0)

# Weights.
WEIGHTS = Setting("MODEL.WEIGHTS", "train.init_checkpoint", "")
WEIGHTS_STRICT = Setting("MODEL.WEIGHTS_STRICT", "train.weights_strict", True)
WEIGHTS_ALLOW_PICKLE = Setting("MODEL.WEIGHTS_ALLOW_PICKLE", "train.weights_allow_pickle", False)

# The network.
VARIANT = Setting("MODEL.HRNET.VARIANT", "model.backbone.bottom_up.variant", "")
NORM = Setting("MODEL.HRNET.NORM", "model.backbone.bottom_up.norm", "")
NORM_EVAL = Setting("MODEL.HRNET.NORM_EVAL", "model.backbone.bottom_up.norm_eval", False)
FREEZE_AT = Setting("MODEL.BACKBONE.FREEZE_AT", "model.backbone.bottom_up.freeze_at", 0)
NORMS = (
    NORM,
    Setting("MODEL.HRFPN.NORM", "model.backbone.norm", ""),
    Setting("MODEL.SEM_SEG_HEAD.NORM", "model.sem_seg_head.norm", ""),
    Setting("MODEL.INS_EMBED_HEAD.NORM", "model.ins_embed_head.norm", ""),
    Setting("MODEL.FCOS.NORM", "model.head.norm", ""),
    Setting("MODEL.RETINANET.NORM", "model.head.norm", ""),
    Setting("MODEL.ROI_BOX_HEAD.NORM", "model.roi_heads.box_head.conv_norm", ""),
    Setting("MODEL.ROI_MASK_HEAD.NORM", "model.roi_heads.mask_head.conv_norm", ""),
)
CONVENTIONS = Setting("MODEL.CONVENTIONS", default="detectron2")

PIXEL_MEAN = Setting("MODEL.PIXEL_MEAN", "model.pixel_mean")
PIXEL_STD = Setting("MODEL.PIXEL_STD", "model.pixel_std")
PIXEL_FORMAT = Setting("INPUT.FORMAT", "dataloader.test.mapper.image_format", "BGR")

# Numbers that follow the data.
ROI_CLASSES = Setting("MODEL.ROI_HEADS.NUM_CLASSES", "model.roi_heads.num_classes")
RETINANET_CLASSES = Setting("MODEL.RETINANET.NUM_CLASSES", "model.num_classes")
FCOS_CLASSES = Setting("MODEL.FCOS.NUM_CLASSES", "model.num_classes")
SEMANTIC_CLASSES = Setting("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "model.sem_seg_head.num_classes")
THING_CLASSES = Setting("MODEL.PANOPTIC_DEEPLAB.THING_CLASSES", "model.thing_classes")
HTC_SEMANTIC_CLASSES = Setting(
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "model.roi_heads.semantic_head.num_classes"
)
CLASS_WEIGHTS = Setting("MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS", "model.sem_seg_head.class_weights", ())
NUM_KEYPOINTS = Setting(
    "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", "model.roi_heads.keypoint_head.num_keypoints"
)

# Data.
TRAIN_DATASETS = Setting("DATASETS.TRAIN", "dataloader.train.dataset.names", ())
TEST_DATASETS = Setting("DATASETS.TEST", "dataloader.test.dataset.names", ())
DATA_FOLDER = Setting("DATASETS.CUSTOM.FOLDER", "train.custom.folder", "")
TRAIN_JSON = Setting("DATASETS.CUSTOM.TRAIN_JSON", "train.custom.train_json", "")
TRAIN_IMAGES = Setting("DATASETS.CUSTOM.TRAIN_IMAGES", "train.custom.train_images", "")
TEST_JSON = Setting("DATASETS.CUSTOM.TEST_JSON", "train.custom.test_json", "")
TEST_IMAGES = Setting("DATASETS.CUSTOM.TEST_IMAGES", "train.custom.test_images", "")

MASK_FORMAT = Setting(
    "INPUT.MASK_FORMAT", "dataloader.train.mapper.instance_mask_format", "polygon"
)
MIN_SIZE_TRAIN = Setting("INPUT.MIN_SIZE_TRAIN")
MAX_SIZE_TRAIN = Setting("INPUT.MAX_SIZE_TRAIN")
MIN_SIZE_TEST = Setting("INPUT.MIN_SIZE_TEST")
MAX_SIZE_TEST = Setting("INPUT.MAX_SIZE_TEST")
SCALES_TRAIN = Setting("INPUT.SCALES_TRAIN", default=())
FIT = Setting("DATASETS.CUSTOM.FIT", default=False)
ANCHOR_SIZES = Setting("MODEL.ANCHOR_GENERATOR.SIZES")
POST_NMS_TOPK_TRAIN = Setting("MODEL.RPN.POST_NMS_TOPK_TRAIN")
POST_NMS_TOPK_TEST = Setting("MODEL.RPN.POST_NMS_TOPK_TEST")
DETECTIONS_PER_IMAGE = Setting("TEST.DETECTIONS_PER_IMAGE")  # in LazyConfigs where the model has it
RESIZE = Setting("INPUT.RESIZE", default="pillow")
PIXEL_RANGE = Setting("INPUT.PIXEL_RANGE", "dataloader.train.mapper.pixel_range", ())
MAX_PIXELS = Setting("INPUT.MAX_PIXELS", "dataloader.train.mapper.max_pixels", 178_956_970)
RANDOM_FLIP = Setting("INPUT.RANDOM_FLIP", default="none")

# Evaluation.
COCO_EVAL = Setting("TEST.COCO_EVAL", "train.test.coco_eval", "auto")
KEYPOINT_OKS_SIGMAS = Setting("TEST.KEYPOINT_OKS_SIGMAS", "train.test.keypoint_oks_sigmas", ())
OPTIMIZED = Setting("TEST.OPTIMIZED", "train.test.optimized", True)
DTYPE = Setting("TEST.DTYPE", "train.test.dtype", "float32")
COMPILE = Setting("TEST.COMPILE", "train.test.compile", False)
ENGINE = Setting("TEST.ENGINE", "train.test.engine", "torch")
LOSS = Setting("TEST.LOSS", "train.test.loss", False)
AUGMENTED = Setting("TEST.AUG.ENABLED", default=False)

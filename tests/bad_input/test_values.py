"""Values of keys, as overrides or in a file, that no run can have."""

from functools import cache

import pytest
from helpers.refusals import refusal
from helpers.tiny import TINY

from hrnet_det.config import load
from hrnet_det.config.allowed import RULES
from hrnet_det.config.files import config_folder
from hrnet_det.config.load import load_run
from hrnet_det.config.yaml import load_config
from hrnet_det.engine.job import Job
from hrnet_det.engine.training_checks import check_numbers
from hrnet_det.modeling.build_model import build_detector

FASTER, MASK = "hrnetv2p_faster_rcnn.yaml", "hrnetv2p_mask_rcnn.yaml"
FCOS, RETINANET = "Base-FCOS-HRNetV2p.yaml", "Base-RetinaNet-HRNetV2p.yaml"
DEEPLAB = "quickstart/panoptic_deeplab.yaml"
CASCADE, HTC = "Base-Cascade-RCNN-HRNetV2p.yaml", "quickstart/htc.yaml"
ABOVE_0, AT_LEAST_0 = "a number above 0", "a number at least 0"
COUNT, FROM_0 = "a whole number at least 1", "a whole number at least 0"
SHARE, SOME_SHARE = "a number at least 0 and at most 1", "a number above 0 and at most 1"
CHANNELS = "a whole number at least 1 and at most 65536"
WEIGHTS_OF_4 = f"4 values, each {ABOVE_0}"
RISING_SHARES = f"a list of at least one value, rising, each {SHARE}"
A_LIST = "a list of at least one value"
NAMES = "a list of different names of levels, such as ['p2', 'p3']"
LOSSES = "one of smooth_l1, giou, diou, ciou"
SIZES = "each a list of at least one value, each a number above 0 and at most 65536"
# A key, values that are refused, and what is allowed instead.
KEYS = (
    ("SEED", ("1.5", "x", "2147483648", str(10**30)), "whole number"),
    ("VIS_PERIOD", ("-1",), FROM_0),
    ("OUTPUT_DIR", ("5", "[]"), "text"),
    ("VERSION", ("1", "99"), "only 2 can be read"),
    ("DATASETS.TRAIN", ("5", "x", "(5,)", "[[1]]", "('',)"), "'"),
    ("DATASETS.TEST", ("(5,)", "((),)"), "names of datasets, each text"),
    ("MODEL.PANOPTIC_DEEPLAB.NMS_KERNEL", ("0", "4", "-3"), "an odd number"),
    ("MODEL.PANOPTIC_DEEPLAB.THING_CLASSES", ("[-1]", "['car']"), f"a list, each {FROM_0}"),
    ("MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS", ("[]", "[0]"), f"{A_LIST}, each {CHANNELS}"),
    ("MODEL.SEM_SEG_HEAD.ASPP_DILATIONS", ("[1]", "[1,2,0]"), f"3 values, each {COUNT}"),
    ("MODEL.SEM_SEG_HEAD.LOSS_TYPE", ("focal",), "one of hard_pixel_mining, cross_entropy"),
    ("MODEL.SEM_SEG_HEAD.LOSS_TOP_K", ("0.0", "1.1"), SOME_SHARE),
    ("SOLVER.MAX_ITER", ("1.5", "x", "[1]", "True", "nan"), "a whole number, such as 90000"),
    ("SOLVER.BASE_LR", ("x", "[0.1]", "nan", "True", ""), "a number, such as 0.02"),
    ("SOLVER.MOMENTUM", ("-1", "1", "2"), "at least 0 and below 1"),
    ("SOLVER.WEIGHT_DECAY", ("-1", "1e400"), "number"),
    ("SOLVER.WEIGHT_DECAY_NORM", ("-1",), AT_LEAST_0),
    ("SOLVER.WEIGHT_DECAY_BIAS", ("-1", "x"), f"{AT_LEAST_0}, or none for WEIGHT_DECAY"),
    ("SOLVER.BIAS_LR_FACTOR", ("-1",), AT_LEAST_0),
    ("SOLVER.BIAS_LR_FACTOR_NORM", ("-1",), f"{AT_LEAST_0}, or none for BIAS_LR_FACTOR"),
    ("SOLVER.GAMMA", ("-1", "0"), ABOVE_0),
    ("SOLVER.STEPS", ("(2, 1)", "(-1,)", "(1, 1)", "('a',)", "(1.5,)", "((1,),)"), "rising, each"),
    ("SOLVER.STEPS", ("5", "x"), "a list, such as (60000, 80000)"),
    ("SOLVER.WARMUP_ITERS", ("-1",), FROM_0),
    ("SOLVER.WARMUP_FACTOR", ("-1", "2"), SHARE),
    ("SOLVER.WARMUP_METHOD", ("cubic",), "one of linear, constant"),
    ("SOLVER.BASE_LR_END", ("-1",), AT_LEAST_0),
    ("SOLVER.NUM_DECAYS", ("0", "-1"), COUNT),
    ("SOLVER.POLY_LR_POWER", ("-1",), AT_LEAST_0),
    ("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", ("-1", "0"), ABOVE_0),
    ("SOLVER.CLIP_GRADIENTS.NORM_TYPE", ("-1",), ABOVE_0),
    ("SOLVER.AMP.ENABLED", ("5", "maybe"), "True or False"),
    ("DATALOADER.NUM_WORKERS", ("1.5",), "a whole number, such as 4"),
    ("DATALOADER.NUM_WORKERS", ("-1", "513", "100000"), f"{FROM_0} and at most 512"),
    ("TEST.DETECTIONS_PER_IMAGE", ("0", "-5"), COUNT),
    ("TEST.PRECISE_BN.NUM_ITER", ("0", "-1"), COUNT),
    ("TEST.AUG.MIN_SIZES", ("()", "(0,)", "(-1,)"), "each a whole number at least 32"),
    ("TEST.AUG.MAX_SIZE", ("0", "-1"), "a whole number at least 32"),
    ("TEST.KEYPOINT_OKS_SIGMAS", ("[-1, 0.1]", "['a']", "[0]"), ABOVE_0),
    ("TEST.EXPECTED_RESULTS", ("[['bbox']]", "[5]"), "each [task, metric, value, tolerance]"),
    ("INPUT.FORMAT", ("XYZ", "", "rgb", "YUV-BT.601"), "one of BGR, RGB, L"),
    ("INPUT.MASK_FORMAT", ("x",), "one of polygon, bitmask"),
    ("INPUT.CROP.TYPE", ("x",), "one of relative, relative_range, absolute, absolute_range"),
    ("INPUT.CROP.SIZE", ("[0, 0]", "[-1, 0.5]", "[0.5]", "['a', 1]"), "2 values, each a number"),
    ("MODEL.PIXEL_MEAN", ("[]", "[1]", "['a', 1, 1]"), "3 values, each a number"),
    ("MODEL.PIXEL_STD", ("[0, 1, 1]", "[-1, 1, 1]", "[1]"), "3 values, each a number above 0"),
    ("MODEL.HRNET.OUT_FEATURES", ("[]", "[5]", "['hr2', 'hr2']"), NAMES),
    ("MODEL.HRFPN.IN_FEATURES", ("[]", "[3]"), NAMES),
    ("MODEL.HRFPN.OUT_CHANNELS", ("0", "-1", "1000000"), CHANNELS),
    ("MODEL.HRFPN.NUM_LEVELS", ("0", "99"), "a whole number at least 1 and at most 8"),
    ("MODEL.PROPOSAL_GENERATOR.MIN_SIZE", ("-1",), AT_LEAST_0),
    ("MODEL.ANCHOR_GENERATOR.SIZES", ("[]", "[[]]", "[[0]]", "[[-12]]", "[['a']]"), SIZES),
    ("MODEL.ANCHOR_GENERATOR.SIZES", ("[12, 24]", "[[12], []]"), SIZES),
    ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", ("[]", "[[0, 1]]", "[[-1]]", "[1, 2]"), ABOVE_0),
    ("MODEL.ANCHOR_GENERATOR.OFFSET", ("-1", "1"), "at least 0 and below 1"),
    ("MODEL.RPN.IN_FEATURES", ("[]", "['p2', 'p2']", "[2]"), NAMES),
    ("MODEL.RPN.IOU_THRESHOLDS", ("[]", "[0.7, 0.3]", "[-1, 2]"), RISING_SHARES),
    ("MODEL.RPN.IOU_LABELS", ("[0]", "[0, 5, 1]"), "each one of -1, 0, 1"),
    ("MODEL.RPN.BATCH_SIZE_PER_IMAGE", ("0", "-1"), COUNT),
    ("MODEL.RPN.POSITIVE_FRACTION", ("-1", "5", "0"), SOME_SHARE),
    ("MODEL.RPN.BBOX_REG_LOSS_TYPE", ("x",), LOSSES),
    ("MODEL.RPN.BBOX_REG_WEIGHTS", ("(0, 0, 0, 0)", "(1, 1)", "(-1, 1, 1, 1)"), WEIGHTS_OF_4),
    ("MODEL.RPN.SMOOTH_L1_BETA", ("-1",), AT_LEAST_0),
    ("MODEL.RPN.LOSS_WEIGHT", ("-1",), AT_LEAST_0),
    ("MODEL.RPN.PRE_NMS_TOPK_TRAIN", ("0", "-1"), COUNT),
    ("MODEL.RPN.POST_NMS_TOPK_TRAIN", ("0",), COUNT),
    ("MODEL.RPN.PRE_NMS_TOPK_TEST", ("-1",), COUNT),
    ("MODEL.RPN.POST_NMS_TOPK_TEST", ("0",), COUNT),
    ("MODEL.RPN.NMS_THRESH", ("-1", "2"), SHARE),
    ("MODEL.RPN.CONV_DIMS", ("[0]", "[-2]"), f"{CHANNELS}, or -1 for as many as the pyramid has"),
    ("MODEL.ROI_HEADS.NUM_CLASSES", ("0", "-1"), COUNT),
    ("MODEL.ROI_HEADS.IN_FEATURES", ("[]",), NAMES),
    ("MODEL.ROI_HEADS.IOU_THRESHOLDS", ("[2]", "['a']"), RISING_SHARES),
    ("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", ("0", "-1"), COUNT),
    ("MODEL.ROI_HEADS.POSITIVE_FRACTION", ("5", "-1"), SOME_SHARE),
    ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", ("-1", "2"), SHARE),
    ("MODEL.ROI_HEADS.NMS_THRESH_TEST", ("-1", "2"), SHARE),
    ("MODEL.ROI_HEADS.LOW_QUALITY_MATCHES", ("some",), "one of never, always, with_masks"),
    ("MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE", ("x",), LOSSES),
    ("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", ("(1, 1)", "('a', 1, 1, 1)"), WEIGHTS_OF_4),
    ("MODEL.ROI_BOX_HEAD.NUM_FC", ("-1", "1000"), f"{FROM_0} and at most 64"),
    ("MODEL.ROI_BOX_HEAD.FC_DIM", ("0", "-1"), CHANNELS),
    ("MODEL.ROI_BOX_HEAD.NUM_CONV", ("-1",), FROM_0),
    ("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", ("0", "-1"), COUNT),
    ("MODEL.ROI_BOX_HEAD.POOLER_TYPE", ("x",), "one of ROIAlignV2, ROIAlign, ROIPool"),
    ("MODEL.ROI_MASK_HEAD.NUM_CONV", ("-1",), FROM_0),
    ("MODEL.ROI_MASK_HEAD.CONV_DIM", ("0",), CHANNELS),
    ("MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", ("[0]", "['a']"), CHANNELS),
    ("MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE", ("-1",), FROM_0),
    ("MODEL.ROI_BOX_CASCADE_HEAD.IOUS", ("()", "(2,)"), SHARE),
    ("MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS", ("()", "((1, 1),)"), WEIGHTS_OF_4),
    ("MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS", ("[-1]", "['a']"), AT_LEAST_0),
    ("MODEL.SEM_SEG_HEAD.IGNORE_VALUE", ("-1", "256"), f"{FROM_0} and at most 255"),
    ("MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS", ("[-1]", "['a']"), AT_LEAST_0),
    ("MODEL.FCOS.PRIOR_PROB", ("0", "1"), "a number above 0 and below 1"),
    ("MODEL.FCOS.NUM_CONVS", ("-1",), FROM_0),
    ("MODEL.FCOS.IN_FEATURES", ("[]",), NAMES),
    ("MODEL.FCOS.CENTER_SAMPLING_RADIUS", ("-1",), AT_LEAST_0),
    ("MODEL.FCOS.BOX_LOSS", ("diou",), "giou, giou_weighted, iou_log, iou_log_smooth"),
    ("MODEL.FCOS.NORMALIZER", ("ema",), "moving_average, batch, images"),
    ("MODEL.FCOS.TOPK_CANDIDATES_TEST", ("0",), COUNT),
    ("MODEL.RETINANET.PRIOR_PROB", ("2",), "a number above 0 and below 1"),
    ("MODEL.RETINANET.FOCAL_LOSS_ALPHA", ("-2",), f"{SHARE}, or -1 for none"),
    ("MODEL.RETINANET.FOCAL_LOSS_GAMMA", ("-1",), AT_LEAST_0),
    ("MODEL.WEIGHTS", ("5", "a\0b"), "text"),
    ("SEED", ("[" * 5000 + "]" * 5000,), "a whole number, such as -1"),
    ("SOLVER.MAX_ITER", ("-" * 100_000 + "1",), "nested too deep"),
)
OVERRIDES = {
    f"{key} {value[:20]!r}": (key, value, allowed)
    for key, values, allowed in KEYS
    for value in values
}
# Values of a file, as YAML has numbers that are none: content, key and value, what is allowed.
FILES = (
    ("SOLVER: {BASE_LR: .nan}", "SOLVER.BASE_LR nan", "a finite number"),
    ("SOLVER: {WEIGHT_DECAY: .inf}", "SOLVER.WEIGHT_DECAY inf", "a finite number"),
    ("SOLVER: {GAMMA: .nan}", "SOLVER.GAMMA nan", ABOVE_0),
    ("MODEL: {PIXEL_MEAN: [.nan, 1, 1]}", "MODEL.PIXEL_MEAN [nan, 1, 1]",
     "3 values, each a number"),
    ("MODEL: {PIXEL_STD: [1, .inf, 1]}", "MODEL.PIXEL_STD inf", "a finite number"),
    ("MODEL: {ANCHOR_GENERATOR: {OFFSET: .nan}}", "MODEL.ANCHOR_GENERATOR.OFFSET nan",
     "a number at least 0 and below 1"),
    ("MODEL: {RPN: {NMS_THRESH: .nan}}", "MODEL.RPN.NMS_THRESH nan", SHARE),
    ("MODEL: {RPN: {BOUNDARY_THRESH: .inf}}", "MODEL.RPN.BOUNDARY_THRESH inf",
     "a whole number, such as -1"),
    ("INPUT: {PIXEL_RANGE: [0, .inf]}", "INPUT.PIXEL_RANGE inf", "a finite number"),
    ("INPUT: {AUGMENT: {HUE: .nan}}", "INPUT.AUGMENT.HUE nan", "a finite number"),
    ("TEST: {KEYPOINT_OKS_SIGMAS: [.nan]}", "TEST.KEYPOINT_OKS_SIGMAS [nan]",
     "a list, each a number above 0"),
    ("DATALOADER: {REPEAT_THRESHOLD: .nan}", "DATALOADER.REPEAT_THRESHOLD nan", "a finite number"),
)  # fmt: skip
# What only the model shows: a config, overrides, and what is said.
MODELS = (
    (FASTER, "MODEL.HRNET.VARIANT", "w33", "unknown HRNet variant 'w33'; known: w18_small_v1"),
    (FASTER, "MODEL.HRNET.NORM", "x", "unknown norm 'x'"),
    (FASTER, "MODEL.HRNET.ACTIVATION_CHECKPOINTING", "x", "known: none, balanced, smallest"),
    (FASTER, "MODEL.HRFPN.POOLING", "x", "unknown HRFPN pooling 'x'; known: avg, max"),
    (FASTER, "MODEL.HRFPN.MIN_LEVEL", "9", "min_level 9: 2 or 3"),
    (FASTER, "MODEL.HRFPN.IN_FEATURES", "['hr9']", "must be some of ['hr2', 'hr3', 'hr4', 'hr5']"),
    (FASTER, "MODEL.ANCHOR_GENERATOR.SIZES", "[[12], [24]]",
     "MODEL.ANCHOR_GENERATOR.SIZES has 2 lists for the 5 levels of MODEL.RPN.IN_FEATURES"),
    (FASTER, "MODEL.ANCHOR_GENERATOR.SIZES", "[[12, 13], [24], [36], [48], [64]]",
     "Each level must have the same number of anchors"),
    (RETINANET, "MODEL.ANCHOR_GENERATOR.SIZES", "[[12], [24]]",
     "has 2 lists for the 5 levels of MODEL.RETINANET.IN_FEATURES"),
    (DEEPLAB, "MODEL.INS_EMBED_HEAD.IN_FEATURES", "['hr2','hr5']", "has 3 values for the 2 levels"),
    (DEEPLAB, "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS", "[8]", "has 1 values for the 4 levels of MOD"),
    (FASTER, "MODEL.RPN.IOU_THRESHOLDS", "[0.5]", "IOU_LABELS [0, -1, 1] has 3 values for the 1"),
    (FASTER, "MODEL.ROI_HEADS.IOU_LABELS", "[0, 1, 1]", "has 3 values for the 1 of MODEL.ROI_HEA"),
    (FASTER, "MODEL.ROI_BOX_HEAD.NUM_FC", "0", "MODEL.ROI_BOX_HEAD.NUM_FC 0 with NUM_CONV 0"),
    (FASTER, "MODEL.META_ARCHITECTURE", "x", "MODEL.META_ARCHITECTURE 'x' is not in the registry"),
    (FASTER, "MODEL.BACKBONE.NAME", "x", "MODEL.BACKBONE.NAME 'x' is not in the registry BACKBONE"),
    (FASTER, "MODEL.ROI_HEADS.NAME", "x", "MODEL.ROI_HEADS.NAME 'x' is not in the registry"),
    (FASTER, "MODEL.RPN.HEAD_NAME", "x", "MODEL.RPN.HEAD_NAME 'x' is not in the registry"),
    (FASTER, "MODEL.ROI_BOX_HEAD.NAME", "x", "MODEL.ROI_BOX_HEAD.NAME 'x' is not in the registry"),
    (FASTER, "MODEL.ROI_HEADS.IN_FEATURES", "['p9']",
     "MODEL.ROI_HEADS.IN_FEATURES 'p9': the backbone makes no level of that name"),
    (FCOS, "MODEL.FCOS.IN_FEATURES", "['p9']", "MODEL.FCOS.IN_FEATURES 'p9': the backbone makes"),
    (FCOS, "MODEL.FCOS.NORM", "x", "MODEL.FCOS.NORM 'x' is no norm"),
    (CASCADE, "MODEL.ROI_BOX_CASCADE_HEAD.IOUS", "(0.5,)", "1 IOUS, one for each stage, and 3"),
    (HTC, "MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS", "[1]", "one for each of the 3 stages"),
)  # fmt: skip
LAZY = "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py"
# Overrides of a LazyConfig, and what is said.
LAZY_VALUES = (
    ("optimizer.lr=nan", "optimizer.lr=nan: must be a number of at least 0"),
    ("optimizer.lr=x", "optimizer.lr is 'x'; it must be of type float"),
    ("train.max_iter=1000000000000", "must be at least 1 iteration, and below 2147483648"),
    ("train.max_iter=[1]", "train.max_iter is [1]; it must be of type int"),
    ("train.seed=x", "train.seed is 'x'; it must be of type int"),
    ("train=3", "train is 3, not a group of keys"),
    ("train.max_iterr=3", "there is no config key train.max_iterr; did you mean train.max_iter"),
    ("SEED 1", "a LazyConfig takes KEY=VALUE"),
    ("train.max_iter={", "command line: "),
    ("train.seed=${nothing}", "nothing"),
    ("dataloader.train.total_batch_size=True", "it must be of type int"),
    *(
        (f"train.clip_gradient_norm={norm}", "must be a norm above 0, or 0 for no clipping")
        for norm in ("-1.0", "nan")
    ),
    ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1: must be a number at least 0, or"),
    ("optimizer.weight_decay=nan", "optimizer.weight_decay=nan: must be a number at least 0, or"),
    ("optimizer.weight_decay=inf", "optimizer.weight_decay=inf: must be finite, and a number"),
    ("optimizer.momentum=1", "optimizer.momentum=1: must be a number at least 0 and below 1"),
    ("optimizer.momentum=-0.1", "must be a number at least 0 and below 1"),
    ("optimizer.params.weight_decay_norm=-1", "optimizer.params.weight_decay_norm=-1: must be"),
    ("lr_multiplier.warmup_factor=2", f"lr_multiplier.warmup_factor=2: must be {SHARE}"),
    ("lr_multiplier.warmup_factor=x", f"lr_multiplier.warmup_factor='x': must be {SHARE}"),
    ("model.pixel_std=[1,0,1]", f"model.pixel_std=[1, 0, 1]: must be {A_LIST}, each {ABOVE_0}"),
    ("model.roi_heads.batch_size_per_image=0", f"batch_size_per_image=0: must be {COUNT}"),
    (
        "model.proposal_generator.pre_nms_topk=[0,0]",
        f"pre_nms_topk=[0, 0]: must be 2 values, each {COUNT}",
    ),
    ("dataloader.test.num_workers=-1", f"num_workers=-1: must be {FROM_0} and at most 512"),
    ("dataloader.train.num_workers=513", f"num_workers=513: must be {FROM_0} and at most 512"),
    (
        "model.roi_heads.box_predictor.test_score_thresh=a",
        f"test_score_thresh='a': must be {SHARE}",
    ),
    (
        "model.proposal_generator.anchor_generator.sizes=[[0]]",
        "sizes=[[0]]: must be a list, or a l",
    ),
    ("model.proposal_generator.anchor_generator.sizes=[-8]", "each a number above 0 and at most"),
    ("dataloader.train.mapper.augmentations=null", "augmentations=None: must be a list, each L(T."),
    ("dataloader.train.mapper.augmentations=[x]", "augmentations=['x']: must be a list, each L(T."),
    (
        "dataloader.train.mapper.augmentations.0.short_edge_length=-5",
        "short_edge_length=-5: must b",
    ),
)


# Overrides of a LazyConfig that only the model shows, and what is said.
LAZY_MODELS = (
    ("model.backbone.bottom_up.variant=w33", "unknown HRNet variant 'w33'"),
    ("+model.backbone.out_channels=-1", "negative dimension -1"),
    ("+model.backbone.num_levels=0", "num_levels 0: at least 1"),
    ("+model.backbone.in_features=[hr9]", "['hr9']: some of ['hr2', 'hr3', 'hr4', 'hr5']"),
    ("+model.backbone.norm=x", "unknown norm 'x'"),
    ("model.roi_heads.num_classes=x", "fast_rcnn.FastRCNNOutputLayers: can only concatenate str"),
    ("model.roi_heads.box_head.fc_dims=[0.5]", "box_head.FastRCNNConvFCHead: empty(): argument"),
    ("model.proposal_generator.anchor_generator.sizes=[[12],[24]]", "sizes of length 2"),
    ("model.proposal_generator.anchor_generator.sizes=[]", "sizes in anchor generator"),
    ("+model.backbone.colour=red", "HRFPN: HRFPN.__init__() got an unexpected keyword argument"),
    ("model.backbone._target_=no.such", "Error loading 'no.such'"),
)
TABLE = (*OVERRIDES, *FILES, *MODELS, *LAZY_VALUES, *LAZY_MODELS)


@pytest.fixture(autouse=True, scope="module")
def read_once():
    """Each of many small tests would read the same shipped config."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "read_yaml", cache(load.read_yaml))
        yield


@pytest.mark.parametrize("name", OVERRIDES)
def test_an_override_that_cannot_be_is_one_error(name):
    key, value, allowed = OVERRIDES[name]
    message = refusal(load_run, FASTER, [key, value])
    assert message.startswith(f"command line: {key} ") and allowed in message


@pytest.mark.parametrize(("content", "given", "allowed"), FILES)
def test_a_number_that_is_none_in_a_file(content, given, allowed, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(content)
    assert refusal(load_config, path) == f"{path}: {given}: must be {allowed}"


@pytest.mark.parametrize("case", MODELS, ids=lambda case: f"{case[1]} {case[2]}")
def test_what_only_the_model_shows(case):
    config, key, value, said = case
    cfg = load_config(config_folder() / config, TINY)
    cfg.merge_from_list([key, value])
    message = refusal(build_detector, cfg)
    assert message.startswith("the model of this config cannot be built: ") and said in message


@pytest.mark.parametrize(("override", "said"), LAZY_VALUES)
def test_an_override_of_a_lazy_config(override, said):
    assert said in refusal(lambda: check_numbers(Job(load_run(LAZY, [override]))))


@pytest.mark.parametrize(("override", "said"), LAZY_MODELS)
def test_what_only_the_model_of_a_lazy_config_shows(override, said, capfd):
    cfg = load_run(LAZY, [override]).cfg
    message = refusal(build_detector, cfg)
    assert message.startswith("the model of this config cannot be built: ") and said in message
    assert capfd.readouterr().err == ""  # nothing beside the error


def test_every_kind_of_rule_has_been_tried():
    rules = {f"{group}{name}": rule for group, of in RULES.items() for name, rule in of.items()}
    tried = {rules[key].words for key, _, _ in KEYS if key in rules}
    untried = {key for key, rule in rules.items() if rule.words not in tried}
    assert untried == {"MODEL.ANCHOR_GENERATOR.ANGLES"}  # of rotated boxes, which none has

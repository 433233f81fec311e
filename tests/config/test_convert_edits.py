"""`hrnet-det convert-config`: what users write over a config, and configs of version 2."""

import json

import pytest
from helpers import mmdet_config
from helpers.mmdet_edits import OWN_DATA, VERSION_2, edited

from hrnet_det.config.load import load_run
from hrnet_det.config.yaml import load_config
from hrnet_det.config.yaml_files import flat
from hrnet_det.convert_config import convert_config
from hrnet_det.errors import InputError

needs_mmdet = pytest.mark.skipif(
    not mmdet_config.HRNETS, reason="mmdetection's configs are not installed"
)
EPOCH = 7330  # iterations, of COCO's 117,266 images with objects in batches of 16


def loaded(converted, folder):
    """All values of the config that was written."""
    path = folder / "converted.yaml"
    path.write_text(converted.text)
    return flat(load_config(path))


def lacking(converted):
    """(key, what to do) of what has no counterpart."""
    return [(item.node.name, item.advice) for item in converted.lacking]


# --- version 2 ---


def version_2(folder, text="", name="mine.py", of=VERSION_2):
    path = folder / name
    path.write_text(of + text)
    return path


def test_a_config_of_version_2_is_as_one_of_version_3(tmp_path):
    """But for mmcv's warm-up, which reaches the full rate an iteration later than mmengine's."""
    converted = convert_config(version_2(tmp_path))
    assert converted.lacking == [] and converted.base == (
        "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml",
        "mmdet",
        "mmdet",
    )
    stated = {key: chosen.value for key, chosen in converted.stated.items()}
    assert stated == {
        "MODEL.WEIGHTS": "timm://hrnet_w18.ms_in1k",
        "DATALOADER.NUM_WORKERS": 2,
        "SOLVER.WARMUP_ITERS": 500,
        "SOLVER.CHECKPOINT_PERIOD": EPOCH,
    }
    values = loaded(converted, tmp_path)
    assert (values["SOLVER.MAX_ITER"], values["SOLVER.STEPS"]) == (12 * EPOCH, (58640, 80630))
    if mmdet_config.HRNETS:
        path = mmdet_config.CONFIGS / "hrnet" / "faster-rcnn_hrnetv2p-w18-1x_coco.py"
        expected = mmdet_config.expected(path) | {"SOLVER.WARMUP_ITERS": 500}
        matches = expected.pop("low quality")
        assert values["MODEL.ROI_HEADS.LOW_QUALITY_MATCHES"] == "with_masks" and not matches
        assert mmdet_config.differing(values, expected) == {}


def test_values_of_version_2_are_told_with_their_own_names_and_lines(tmp_path):
    edit = "data['train']['pipeline'].insert(3, dict(type='Albu', transforms=[]))\n"
    path = version_2(tmp_path, edit)
    (item,) = convert_config(path).lacking
    line = VERSION_2.count("\n") + 1
    assert str(item) == (
        f"data.train.pipeline.3 = {{'transforms': [], 'type': 'Albu'}} ({path}:{line}): there is "
        "no such step here: leave it out, or write an augmentation of your own in Python"
    )


VERSION_2_EDITS = {
    "optimizer['lr'] = 0.0025\n": {
        "SOLVER.BASE_LR": 0.0025,
        "SOLVER.IMS_PER_BATCH": 2,  # one GPU: 0.02 is for 16
        "SOLVER.MAX_ITER": 12 * 58633,
    },
    "data.update(samples_per_gpu=4, workers_per_gpu=8)\n": {
        "SOLVER.IMS_PER_BATCH": 16,
        "DATALOADER.NUM_WORKERS": 8,
    },
    "optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))\n": {
        "SOLVER.CLIP_GRADIENTS.ENABLED": True,
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "full_model",
        "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 35.0,
    },
    "optimizer.update(lr=0.01, paramwise_cfg=dict(bias_lr_mult=2., bias_decay_mult=0.))\n": {
        "SOLVER.BIAS_LR_FACTOR": 2.0,
        "SOLVER.WEIGHT_DECAY_BIAS": 0.0,
        "SOLVER.IMS_PER_BATCH": 8,
    },
    "fp16 = dict(loss_scale=512.)\n": {"SOLVER.AMP.ENABLED": True},
    "del runner\ntotal_epochs = 24\nlr_config['step'] = [16, 22]\n": {
        "SOLVER.MAX_ITER": 24 * EPOCH,
        "SOLVER.STEPS": (16 * EPOCH, 22 * EPOCH),
    },
    "lr_config.update(warmup='constant', warmup_ratio=1.0 / 3)\n": {
        "SOLVER.WARMUP_METHOD": "constant",
        "SOLVER.WARMUP_FACTOR": 1 / 3,
        "SOLVER.WARMUP_ITERS": 500,
    },
    "lr_config = dict(policy='CosineAnnealing', min_lr=1e-5)\n": {
        "SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR",
        "SOLVER.BASE_LR_END": 1e-5,
        "SOLVER.WARMUP_ITERS": 0,
    },
    "train_pipeline[2].update(img_scale=[(1333, 640), (1333, 800)], multiscale_mode='range')\n": {
        "INPUT.MIN_SIZE_TRAIN": (640, 800),
        "INPUT.MIN_SIZE_TRAIN_SAMPLING": "range",
    },
    "train_pipeline[2].update(img_scale=[(1600, 1000), (1333, 800)], multiscale_mode='value')\n": {
        "INPUT.SCALES_TRAIN": [[1000, 1600], [800, 1333]],
    },
    "train_pipeline[3]['flip_ratio'] = 0.0\n": {"INPUT.RANDOM_FLIP": "none"},
    "img_norm_cfg.update(mean=[103.53, 116.28, 123.675], to_rgb=False)\n"
    "train_pipeline[4] = dict(type='Normalize', **img_norm_cfg)\n"
    "test_pipeline[1]['transforms'][2] = train_pipeline[4]\n": {
        "INPUT.FORMAT": "BGR",
        "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
    },
    "data['train'] = dict(type='RepeatDataset', times=3, dataset=data['train'])\n": {
        "SOLVER.MAX_ITER": 12 * 21988,  # 3 x 117,266 images in batches of 16
    },
    "seed = 7\nwork_dir = 'output/mine'\nload_from = 'there.pth'\n": {
        "SEED": 7,
        "OUTPUT_DIR": "output/mine",
        "MODEL.WEIGHTS": "there.pth",
    },
}


@pytest.mark.parametrize(("edit", "expected"), VERSION_2_EDITS.items(), ids=range(14))
def test_an_edit_of_version_2(edit, expected, tmp_path):
    converted = convert_config(version_2(tmp_path, edit))
    values = loaded(converted, tmp_path)
    assert mmdet_config.differing(values, expected) == {}
    assert converted.lacking == []


def test_mmdetection_1_is_told(tmp_path):
    path = version_2(tmp_path, "model['bbox_roi_extractor'] = dict(type='SingleRoIExtractor')\n")
    with pytest.raises(InputError, match=r"mmdetection 1, .* hrnet_object_detection"):
        convert_config(path)


# --- own data ---


def test_own_data_whose_images_are_not_known_trains_by_epochs(tmp_path):
    of = VERSION_2.replace("data/coco/", "mine/").replace("instances_train2017", "train")
    converted = convert_config(version_2(tmp_path, of=of))
    values = loaded(converted, tmp_path)
    assert values["DATASETS.CUSTOM.TRAIN_JSON"] == "mine/annotations/train.json"
    assert values["DATASETS.CUSTOM.TRAIN_IMAGES"] == "mine/train2017/"
    assert values["DATASETS.CUSTOM.TEST_JSON"] == "mine/annotations/instances_val2017.json"
    assert values["SOLVER.EPOCHS"] == 12 and "SOLVER.MAX_ITER" not in converted.stated
    assert converted.base.recipe == ""  # which would say how long to train too
    assert {"SOLVER.EPOCHS", "MODEL.CONVENTIONS"} <= load_run(tmp_path / "converted.yaml").stated
    known = convert_config(version_2(tmp_path, of=of), images=1000, gpus=2)
    assert known.values["SOLVER.MAX_ITER"].value == 12 * 250
    assert known.values["SOLVER.STEPS"].value == [8 * 250, 11 * 250]
    assert known.values["SOLVER.IMS_PER_BATCH"].value == 4


def test_images_with_objects_are_counted_where_the_json_is_there(tmp_path):
    (tmp_path / "annotations").mkdir()
    content = {
        "images": [{"id": n} for n in range(40)],
        "annotations": [{"image_id": n // 2} for n in range(60)],  # of 30 images
        "categories": [{"id": 3, "name": "kite"}, {"id": 1, "name": "balloon"}],
    }
    (tmp_path / "annotations" / "train.json").write_text(json.dumps(content))
    of = VERSION_2.replace("data/coco/", f"{tmp_path}/").replace("instances_train2017", "train")
    classes = "data['train']['classes'] = ('balloon', 'kite')\n"
    right = "model['roi_head']['bbox_head']['num_classes'] = 2\n"
    converted = convert_config(version_2(tmp_path, classes + right, of=of), gpus=1)
    assert converted.lacking == []
    assert converted.values["SOLVER.MAX_ITER"].value == 12 * 15
    assert converted.values["MODEL.ROI_HEADS.NUM_CLASSES"].value == 2
    thrice = "data['train'] = dict(type='RepeatDataset', times=3, dataset=data['train'])\n"
    converted = convert_config(version_2(tmp_path, classes + right + thrice, of=of), gpus=1)
    assert converted.values["SOLVER.MAX_ITER"].value == 12 * 45
    content["images"][3] |= {"width": 31, "height": 400}  # mmdetection's min_size is 32
    for n in range(4, 9):
        content["images"][n] |= {"width": 32, "height": 32}
    content["images"][35] |= {"width": 2, "height": 2}
    (tmp_path / "annotations" / "train.json").write_text(json.dumps(content))
    converted = convert_config(version_2(tmp_path, classes + right + thrice, of=of), gpus=1)
    assert converted.values["SOLVER.MAX_ITER"].value == 12 * 44  # 3 x 29 images, 2 in a batch
    part = "data['train']['classes'] = ('kite', )\n"
    converted = convert_config(version_2(tmp_path, right + part, of=of), gpus=1)
    assert [key for key, _ in lacking(converted)] == [
        "model.roi_head.bbox_head.num_classes",
        "data.train.classes",
    ]
    assert "has 2 categories, all of which are learned here" in lacking(converted)[1][1]


@needs_mmdet
def test_own_data_over_a_published_config(tmp_path):
    converted = convert_config(edited(tmp_path, OWN_DATA))
    assert converted.lacking == []
    values = loaded(converted, tmp_path)
    assert values["DATASETS.CUSTOM.TRAIN_JSON"] == "data/balloon/train.json"
    assert values["DATASETS.CUSTOM.TEST_IMAGES"] == "data/balloon/val/"
    assert values["MODEL.ROI_HEADS.NUM_CLASSES"] == 2
    assert values["SOLVER.EPOCHS"] == 12
    assert converted.remarks == [
        "Classes are the categories of data/balloon/train.json: it should have these 2 alone.",
        "A batch of 16: 4 GPUs x 4 images, taken by its learning rate, where 0.02 is for 16 "
        "images, as the config does not say how many GPUs; --gpus N does.",
    ]
    one = loaded(convert_config(edited(tmp_path, OWN_DATA), gpus=1), tmp_path)
    assert one["SOLVER.IMS_PER_BATCH"] == 4


# --- version 3 ---

PIPELINE = """\
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{{{_base_.backend_args}}}}),
    dict(type='LoadAnnotations', with_bbox=True),
    {step},
    dict(type='PackDetInputs')
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
"""
FLIP = "dict(type='RandomFlip', prob=0.5)"
JITTER = (
    "dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True), "
    f"dict(type='RandomCrop', crop_size=(1024, 1024)), {FLIP}"
)
HEAD = "model = dict(roi_head=dict(bbox_head=dict({})))\n"
EDITS = {
    "train_dataloader = dict(batch_size=1)\noptim_wrapper = dict(optimizer=dict(lr=0.0025))\n": {
        "SOLVER.IMS_PER_BATCH": 2,
        "SOLVER.BASE_LR": 0.0025,
    },
    "auto_scale_lr = dict(enable=True)\ntrain_dataloader = dict(batch_size=4)\n": {
        "SOLVER.IMS_PER_BATCH": 16,
        "SOLVER.BASE_LR": 0.02,
    },
    "optim_wrapper = dict(accumulative_counts=4)\n": {
        "SOLVER.IMS_PER_BATCH": 64,
        "SOLVER.GRADIENT_ACCUMULATION_STEPS": 4,
        "SOLVER.MAX_ITER": 12 * EPOCH // 4,
        "SOLVER.STEPS": (8 * EPOCH // 4, 20158),
    },
    "optim_wrapper = dict(type='AmpOptimWrapper', clip_grad=dict(max_norm=5))\n": {
        "SOLVER.AMP.ENABLED": True,
        "SOLVER.CLIP_GRADIENTS.ENABLED": True,
        "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 5.0,
    },
    # torch's own decay, where the config has none
    "optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4))\n": {
        "SOLVER.OPTIMIZER": "ADAMW",
        "SOLVER.WEIGHT_DECAY": 0.01,
        "SOLVER.WEIGHT_DECAY_NORM": 0.01,
    },
    "optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=1e-4))\n": {
        "SOLVER.MOMENTUM": 0.0,
        "SOLVER.WEIGHT_DECAY": 0.0,
        "SOLVER.WEIGHT_DECAY_NORM": 0.0,
    },
    "optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, "
    "weight_decay=0.05), paramwise_cfg=dict(norm_decay_mult=0.))\n": {
        "SOLVER.OPTIMIZER": "ADAMW",
        "SOLVER.BASE_LR": 1e-4,
        "SOLVER.WEIGHT_DECAY": 0.05,
        "SOLVER.WEIGHT_DECAY_NORM": 0.0,
    },
    "max_epochs = 36\ntrain_cfg = dict(max_epochs=max_epochs, val_interval=3)\nparam_scheduler = "
    "[dict(type='MultiStepLR', end=max_epochs, milestones=[27, 33], gamma=0.2)]\n": {
        "SOLVER.MAX_ITER": 36 * EPOCH,
        "SOLVER.STEPS": (27 * EPOCH, 33 * EPOCH),
        "SOLVER.GAMMA": 0.2,
        "SOLVER.WARMUP_ITERS": 0,
        "TEST.EVAL_PERIOD": 3 * EPOCH,
    },
    "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=90000, "
    "val_interval=5000)\nparam_scheduler = [dict(type='MultiStepLR', by_epoch=False, "
    "milestones=[60000, 80000])]\ndefault_hooks = dict(checkpoint=dict(by_epoch=False, "
    "interval=10000, max_keep_ckpts=3))\n": {
        "SOLVER.MAX_ITER": 90000,
        "SOLVER.STEPS": (60000, 80000),
        "TEST.EVAL_PERIOD": 5000,
        "SOLVER.CHECKPOINT_PERIOD": 10000,
        "SOLVER.CHECKPOINTS_KEPT": 3,
    },
    PIPELINE.format(
        step="dict(type='RandomResize', scale=[(1333, 480), (1333, 960)], keep_ratio=True)"
    ): {
        "INPUT.MIN_SIZE_TRAIN": (480, 960),
        "INPUT.MIN_SIZE_TRAIN_SAMPLING": "range",
        "INPUT.RANDOM_FLIP": "none",
    },
    PIPELINE.format(
        step="dict(type='RandomChoiceResize', keep_ratio=True, "
        f"scales=[(1333, 200 * n) for n in (3, 4, 5)]), {FLIP}"
    ): {
        "INPUT.MIN_SIZE_TRAIN": (600, 800, 1000),
        "INPUT.MIN_SIZE_TRAIN_SAMPLING": "choice",
        "INPUT.RANDOM_FLIP": "horizontal",
    },
    PIPELINE.format(step=JITTER): {
        "INPUT.AUGMENT.SCALE_JITTER": [0.1, 2.0],
        "INPUT.AUGMENT.SCALE_JITTER_SIZE": [1024, 1024],
    },
    PIPELINE.format(
        step="dict(type='RandomCrop', crop_size=(600, 400)), "
        f"dict(type='Resize', scale=(1000, 600), keep_ratio=True), {FLIP}"
    ): {
        "INPUT.CROP.ENABLED": True,
        "INPUT.CROP.TYPE": "absolute",
        "INPUT.CROP.SIZE": [400, 600],  # height, width
        "INPUT.MIN_SIZE_TRAIN": (600,),
        "INPUT.MAX_SIZE_TRAIN": 1000,
    },
    "model = dict(backbone=dict(norm_cfg=dict(type='SyncBN', requires_grad=True), norm_eval=False, "
    "with_cp=True), neck=dict(pooling_type='MAX', out_channels=128), "
    "rpn_head=dict(feat_channels=256))\n": {
        "MODEL.HRNET.NORM": "SyncBN",
        "MODEL.HRNET.NORM_EVAL": False,
        "MODEL.HRNET.ACTIVATION_CHECKPOINTING": "balanced",
        "MODEL.HRFPN.POOLING": "max",
        "MODEL.HRFPN.OUT_CHANNELS": 128,
        "MODEL.RPN.CONV_DIMS": [256],
    },
    "model = dict(rpn_head=dict(anchor_generator=dict(scales=[4, 8], ratios=[1.0])))\n": {
        "MODEL.ANCHOR_GENERATOR.SIZES": [[4 * s, 8 * s] for s in (4, 8, 16, 32, 64)],
        "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[1.0]],
    },
    HEAD.format("type='Shared4Conv1FCBBoxHead', norm_cfg=dict(type='GN', num_groups=32)"): {
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
        "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
        "MODEL.ROI_BOX_HEAD.NORM": "GN",
    },
    HEAD.format(
        "reg_decoded_bbox=True, loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=10.0)"
    ): {
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": "giou",
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT": 10.0,
    },
    "model = dict(test_cfg=dict(rcnn=dict(score_thr=0.3, nms=dict(iou_threshold=0.6), "
    "max_per_img=300)), train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=True))))\n": {
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.3,
        "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.6,
        "MODEL.ROI_HEADS.LOW_QUALITY_MATCHES": "always",
        "TEST.DETECTIONS_PER_IMAGE": 300,
    },
    "model = dict(test_cfg=dict(rcnn=dict(nms=dict(type='soft_nms', min_score=0.001))))\n": {
        "MODEL.ROI_HEADS.SOFT_NMS": True,
    },
    "train_dataloader = dict(batch_sampler=None, dataset=dict(filter_cfg=dict("
    "filter_empty_gt=False)))\nenv_cfg = dict(cudnn_benchmark=True)\n": {
        "DATALOADER.ASPECT_RATIO_GROUPING": False,
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS": False,
        "CUDNN_BENCHMARK": True,
    },
    "custom_hooks = [dict(type='EMAHook', momentum=0.001), dict(type='EarlyStoppingHook', "
    "monitor='coco/bbox_mAP', patience=4)]\nrandomness = dict(seed=3)\n": {
        "SOLVER.EMA_DECAY": 0.999,
        "SOLVER.PATIENCE": 4,
        "SEED": 3,
    },
    "train_dataloader = dict(dataset=dict(_delete_=True, type='ClassBalancedDataset', "
    "oversample_thr=1e-3, dataset=_base_.train_dataloader.dataset))\n": {
        "DATALOADER.SAMPLER_TRAIN": "RepeatFactorTrainingSampler",
        "DATALOADER.REPEAT_THRESHOLD": 0.001,
    },
    "model = dict(backbone=dict(init_cfg=None))\nwork_dir = './output/x'\n": {
        "MODEL.WEIGHTS": "",
        "OUTPUT_DIR": "./output/x",
    },
}


@needs_mmdet
@pytest.mark.parametrize(("edit", "expected"), EDITS.items(), ids=range(len(EDITS)))
def test_an_edit_of_version_3(edit, expected, tmp_path):
    converted = convert_config(edited(tmp_path, edit))
    values = loaded(converted, tmp_path)
    assert mmdet_config.differing(values, expected) == {}
    assert converted.lacking == []


ONE_STAGE = """\
model = dict(type='RetinaNet', bbox_head=dict(
    _delete_=True, type='RetinaHead', num_classes=80, in_channels=256, stacked_convs=4,
    feat_channels=256, loss_bbox=dict(type='SmoothL1Loss', beta=0.11),
    loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=1.5, alpha=0.3),
    anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=2,
                          ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]),
    bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.5, 0.5, 0.5, 0.5])),
    train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.6, neg_iou_thr=0.3)))
"""
PROPOSALS = "model = dict(type='RPN', roi_head=None, train_cfg=dict(rcnn=None), " + (
    "test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=300), rcnn=None))\n"
)


@needs_mmdet
def test_detectors_that_have_no_conventions_here(tmp_path):
    base = "fcos_hrnetv2p-w32-gn-head_4xb4-1x_coco"
    converted = convert_config(edited(tmp_path, ONE_STAGE, base=base))
    values = loaded(converted, tmp_path)
    assert converted.base == ("COCO-Detection/retinanet_hrnetv2p_w32_1x.yaml", "", "")
    assert converted.lacking == []
    assert converted.remarks[-1].startswith("RetinaNet trains and computes by Detectron2's rules")
    expected = {
        "MODEL.ANCHOR_GENERATOR.SIZES": [
            [4 * stride, 4 * stride * 2**0.5] for stride in (8, 16, 32, 64, 128)
        ],
        "MODEL.RETINANET.IOU_THRESHOLDS": [0.3, 0.6],
        "MODEL.RETINANET.BBOX_REG_WEIGHTS": [2.0] * 4,
        "MODEL.RETINANET.SMOOTH_L1_LOSS_BETA": 0.11,
        "MODEL.RETINANET.FOCAL_LOSS_GAMMA": 1.5,
        "MODEL.RETINANET.FOCAL_LOSS_ALPHA": 0.3,
        "MODEL.RETINANET.SCORE_THRESH_TEST": 0.05,
        "MODEL.RETINANET.NMS_THRESH_TEST": 0.5,
        "SOLVER.BASE_LR": 0.01,
        "MODEL.CONVENTIONS": "detectron2",
    }
    assert mmdet_config.differing(values, expected) == {}
    converted = convert_config(edited(tmp_path, PROPOSALS))
    values = loaded(converted, tmp_path)
    assert converted.base.name == "COCO-Detection/rpn_hrnetv2p_w18_1x.yaml"
    assert values["MODEL.RPN.PRE_NMS_TOPK_TEST"] == 500
    assert values["MODEL.RPN.POST_NMS_TOPK_TEST"] == 300
    assert lacking(converted) == [
        (
            "model.train_cfg.rpn.assigner.min_pos_iou",
            "low-quality matches count from an IoU of 0 on here",
        )
    ]


@needs_mmdet
@pytest.mark.parametrize(
    ("options", "biases", "without"),
    [
        ("conv_bias=True", True, 0),
        ("conv_bias='auto'", False, 0),
        ("conv_bias=False", False, 0),
        ("conv_bias=False, norm_cfg=None", False, 1),
    ],
)
def test_biases_of_the_towers_of_an_fcos(options, biases, without, tmp_path):
    base = "fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco"
    edit = f"model = dict(bbox_head=dict({options}))\n"
    converted = convert_config(edited(tmp_path, edit, base=base))
    assert loaded(converted, tmp_path)["MODEL.FCOS.CONV_BIAS"] is biases
    said = [("model.bbox_head.conv_bias", "convolutions without a norm have biases here")]
    assert lacking(converted) == said[:without]


WITHOUT = {  # edits that have no counterpart: key, what is said, key of ours that stays
    "model = dict(test_cfg=dict(rcnn=dict(nms=dict(type='soft_nms', min_score=0.05))))\n": {
        "model.test_cfg.rcnn.nms.min_score": "here it is 0.001",
    },
    "model = dict(test_cfg=dict(rcnn=dict(nms=dict(type='nms_match'))))\n": {
        "model.test_cfg.rcnn.nms.type": "here it is 'nms' or 'soft_nms'",
    },
    "model = dict(backbone=dict(frozen_stages=1))\n": {
        "model.backbone.frozen_stages": "there is no such key here",
    },
    "custom_hooks = [dict(type='MyHook')]\ncustom_imports = dict(imports=['mine'])\n": {
        "custom_hooks.0": "there is no such hook here",
        "custom_imports": "modules are not imported by a config here",
    },
    PIPELINE.format(
        step="dict(type='Resize', scale=(640, 640), keep_ratio=False), "
        f"dict(type='PhotoMetricDistortion'), {FLIP}"
    ): {
        "train_dataloader.dataset.pipeline.2": "images keep their proportions here",
        "train_dataloader.dataset.pipeline.3": "INPUT.AUGMENT.BRIGHTNESS 0.125",
    },
    PIPELINE.format(step=f"dict(type='RandomChoiceResize', scales=[(9, 9), (9, 8)]), {FLIP}"): {
        "train_dataloader.dataset.pipeline.2": "images keep their proportions here",
    },
    "param_scheduler = dict(_delete_=True, type='OneCycleLR', eta_max=0.1, total_steps=100)\n": {
        "param_scheduler": "schedulers here: LinearLR, ConstantLR, MultiStepLR",
    },
    "optim_wrapper = dict(optimizer=dict(_delete_=True, type='Lion', lr=1e-4), "
    "paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))\n": {
        "optim_wrapper.optimizer.type": "SGD and AdamW are here",
        "optim_wrapper.paramwise_cfg": "there is no such key here",
    },
    "train_dataloader = dict(dataset=dict(_delete_=True, type='VOCDataset', "
    "ann_file='VOC2007/ImageSets/Main/trainval.txt', pipeline=_base_.train_pipeline))\n": {
        "train_dataloader.dataset.type": "a json in COCO's format is needed",
    },
    "test_dataloader = dict(dataset=dict(ann_file='annotations/test.json'))\n": {
        "test_dataloader.dataset.ann_file": "the validation set is evaluated on here",
    },
    HEAD.format("num_classes=3"): {
        "model.roi_head.bbox_head.num_classes": "the json has 80 categories",
    },
    "val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP')\n": {
        "val_evaluator.type": "COCO's AP is what is computed here",
    },
    "resume = True\n": {"resume": "--resume of the command"},
    "model = dict(train_cfg=dict(rpn=dict(assigner=dict(min_pos_iou=0.1), sampler=dict("
    "_delete_=True, type='OHEMSampler', num=256, pos_fraction=0.5))))\n": {
        "model.train_cfg.rpn.assigner.min_pos_iou": "low-quality matches count from an IoU of 0.3",
        "model.train_cfg.rpn.sampler.type": "here it is 'RandomSampler'",
    },
}


@needs_mmdet
@pytest.mark.parametrize(("edit", "expected"), WITHOUT.items(), ids=range(len(WITHOUT)))
def test_what_has_no_counterpart_is_told(edit, expected, tmp_path):
    path = edited(tmp_path, edit)
    converted = convert_config(path)
    found = dict(lacking(converted))
    assert set(found) == set(expected)
    assert all(expected[key] in found[key] for key in expected)
    lines = [f"#   {item}" for item in converted.lacking]
    assert lines == [x for x in converted.text.splitlines() if x.startswith("#   ")]
    assert all(f"({path}:" in line or "test.json" in line for line in lines[:1])
    loaded(converted, tmp_path)


REFUSED = {
    "model = dict(type='DINO')\n": r"model.type is 'DINO': no such detector is here",
    "model = dict(neck=dict(type='FPN'))\n": r"model.neck.type is 'FPN': a FasterRCNN with it",
    "model = dict(roi_head=dict(type='DoubleHeadRoIHead'))\n": "model.roi_head.type",
    "model = dict(backbone=dict(extra=dict(stage4=dict(num_channels=(18, 36, 72, 145)))))\n": (
        "no published HRNet has these stages"
    ),
    "model = dict(neck=dict(in_channels=[32, 64, 128, 256]))\n": (
        r"model.neck.in_channels is \[32, 64, 128, 256\]: the branches of this HRNet have"
    ),
    "model = dict(rpn_head=dict(anchor_generator=dict(strides=[8, 16, 32, 64, 128])))\n": (
        "the pyramid's levels have strides"
    ),
    "optim_wrapper = dict(optimizer=dict(lr='fast'))\n": (
        r"optim_wrapper.optimizer.lr cannot be converted"
    ),
    "train_dataloader = dict(num_workers=-1)\n": (
        r"train_dataloader.num_workers cannot be converted: .*DATALOADER.NUM_WORKERS -1: must be"
    ),
    "del _base_.model['neck']\n": "model.neck.type is not there",
}


@needs_mmdet
@pytest.mark.parametrize(("edit", "message"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_is_none_of_ours_is_refused(edit, message, tmp_path):
    with pytest.raises(InputError, match=rf"\.py:\d+: .*{message}"):
        convert_config(edited(tmp_path, edit))

"""What users write over a config of mmdetection's, and a whole one in the layout of version 2."""

from __future__ import annotations

from helpers.mmdet_config import CONFIGS


def edited(folder, text, base="faster-rcnn_hrnetv2p-w18-1x_coco", name="mine.py"):
    """A file with a published config as `_base_`, and its own lines, from line 2 on."""
    path = folder / name
    path.write_text(f"_base_ = {str(CONFIGS / 'hrnet' / f'{base}.py')!r}\n{text}")
    return path


OWN_DATA = """\
data_root = 'data/balloon/'
metainfo = dict(classes=('balloon', 'kite'))
model = dict(roi_head=dict(bbox_head=dict(num_classes=2)))
train_dataloader = dict(
    batch_size=4,
    dataset=dict(data_root=data_root, metainfo=metainfo, ann_file='train.json',
                 data_prefix=dict(img='train/')))
val_dataloader = dict(
    dataset=dict(data_root=data_root, metainfo=metainfo, ann_file='val.json',
                 data_prefix=dict(img='val/')))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'val.json')
test_evaluator = val_evaluator
"""

# Faster R-CNN as version 2 has it: one file without `_base_`, with loops where it repeats itself.
VERSION_2 = """\
widths = [18 * 2**i for i in range(4)]
norm_cfg = dict(type='BN', requires_grad=True)
stages = {f'stage{n}': dict(num_modules=m, num_branches=n, block='BASIC', num_blocks=(4, ) * n,
                            num_channels=tuple(widths[:n]))
          for n, m in zip((2, 3, 4), (1, 4, 3))}
coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.])
iou = dict(type='MaxIoUAssigner', ignore_iof_thr=-1)
draws = dict(type='RandomSampler', neg_pos_ub=-1)
nms = dict(type='nms', iou_threshold=0.7)
model = dict(
    type='FasterRCNN',
    pretrained='open-mmlab://msra/hrnetv2_w18',
    backbone=dict(
        type='HRNet',
        norm_cfg=norm_cfg,
        norm_eval=True,
        extra=dict(stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(4, ),
                               num_channels=(64, )), **stages)),
    neck=dict(type='HRFPN', in_channels=widths, out_channels=256),
    rpn_head=dict(
        type='RPNHead', in_channels=256, feat_channels=256,
        anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0],
                              strides=[2**k for k in range(2, 7)]),
        bbox_coder=dict(coder, target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', out_channels=256, featmap_strides=[4, 8, 16, 32],
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=256, fc_out_channels=1024, roi_feat_size=7,
            num_classes=80, reg_class_agnostic=False,
            bbox_coder=dict(coder, target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0))))
train_cfg = dict(
    rpn=dict(assigner=dict(iou, pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
             sampler=dict(draws, num=256, pos_fraction=0.5, add_gt_as_proposals=False),
             allowed_border=-1, pos_weight=-1, debug=False),
    rpn_proposal=dict(nms_across_levels=False, nms_pre=2000, nms_post=1000, max_num=1000,
                      nms_thr=0.7, min_bbox_size=0),
    rcnn=dict(assigner=dict(iou, pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5,
                            match_low_quality=False),
              sampler=dict(draws, num=512, pos_fraction=0.25, add_gt_as_proposals=True),
              pos_weight=-1, debug=False))
test_cfg = dict(
    rpn=dict(nms_pre=1000, max_per_img=1000, nms=nms, min_bbox_size=0),
    rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_thr=0.5), max_per_img=100))
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(1333, 800), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img']),
    ])
]
root = 'data/coco/'


def_ = dict(type='CocoDataset')
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=2,
    train=dict(def_, ann_file=root + 'annotations/instances_train2017.json',
               img_prefix=root + 'train2017/', pipeline=train_pipeline),
    val=dict(def_, ann_file=root + 'annotations/instances_val2017.json',
             img_prefix=root + 'val2017/', pipeline=test_pipeline),
    test=dict(def_, ann_file=root + 'annotations/instances_val2017.json',
              img_prefix=root + 'val2017/', pipeline=test_pipeline))
evaluation = dict(interval=1, metric='bbox')
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
runner = dict(type='EpochBasedRunner', max_epochs=12)
checkpoint_config = dict(interval=1)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
""".replace("def_", "of_coco")

# python train_net.py --config-file COCO-Detection/faster_rcnn_hrnetv2p_w32_1x.py --num-gpus 8 train.init_checkpoint=timm://hrnet_w32.ms_in1k
# Faster R-CNN, HRNetV2p-W32, 1x, for 8 GPUs, 2 images each.
# Published box AP on COCO val2017: 39.6 (arXiv:1908.07919), 39.5 (HRNet-Object-Detection),
#   40.2 (mmdetection), 39.6 (HRNet-MaskRCNN-Benchmark)
# As published: SOLVER.RECIPE of the YAML config; without it Detectron2's rules, which are not the
#   training of any number above.
from ..common.data.coco_boxes import dataloader
from ..common.models.faster_rcnn import model
from ..common.optim import optimizer
from ..common.schedule import schedule_1x as lr_multiplier
from ..common.train import train

model.backbone.bottom_up.variant = "w32"

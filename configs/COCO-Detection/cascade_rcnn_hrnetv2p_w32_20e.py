# python train_net.py --config-file COCO-Detection/cascade_rcnn_hrnetv2p_w32_20e.py --num-gpus 8 train.init_checkpoint=timm://hrnet_w32.ms_in1k
# Cascade R-CNN, HRNetV2p-W32, 20e, for 8 GPUs, 2 images each.
# Published box AP on COCO val2017: 43.7 (arXiv:1908.07919), 43.7 (HRNet-Object-Detection),
#   43.3 (mmdetection)
# As published: SOLVER.RECIPE of the YAML config; without it Detectron2's rules, which are not the
#   training of any number above.
from ..common.data.coco_boxes import dataloader
from ..common.models.cascade_rcnn import model
from ..common.optim import optimizer
from ..common.schedule import schedule_20e as lr_multiplier
from ..common.train import train

model.backbone.bottom_up.variant = "w32"
train.max_iter = 146580

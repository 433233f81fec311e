# python train_net.py --config-file COCO-Detection/cascade_rcnn_hrnetv2p_w32_20e.py --num-gpus 8 train.init_checkpoint=hrnet_w32.pth
# Cascade R-CNN, HRNetV2p-W32, 20e, for 8 GPUs, 2 images each.
from ..common.data.coco_boxes import dataloader
from ..common.models.cascade_rcnn import model
from ..common.optim import optimizer
from ..common.schedule import schedule_20e as lr_multiplier
from ..common.train import train

model.backbone.bottom_up.variant = "w32"
train.max_iter = 146580

# python train_net.py --config-file COCO-Detection/faster_rcnn_hrnetv1_w32_1x.py --num-gpus 8 train.init_checkpoint=timm://hrnet_w32.ms_in1k
# Faster R-CNN on the finest branch alone, HRNetV1-W32, 1x, for 8 GPUs, 2 images each.
# Not published.
from ..common.data.coco_boxes import dataloader
from ..common.models.faster_rcnn_hrnetv1 import model
from ..common.optim import optimizer
from ..common.schedule import schedule_1x as lr_multiplier
from ..common.train import train

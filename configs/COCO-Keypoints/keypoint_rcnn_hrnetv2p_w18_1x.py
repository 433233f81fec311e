# python train_net.py --config-file COCO-Keypoints/keypoint_rcnn_hrnetv2p_w18_1x.py --num-gpus 8 train.init_checkpoint=timm://hrnet_w18.ms_in1k
# Keypoint R-CNN, HRNetV2p-W18, 1x, for 8 GPUs, 2 images each.
# Not published.
from ..common.data.coco_keypoint import dataloader
from ..common.models.keypoint_rcnn import model
from ..common.optim import optimizer
from ..common.schedule import schedule_1x as lr_multiplier
from ..common.train import train

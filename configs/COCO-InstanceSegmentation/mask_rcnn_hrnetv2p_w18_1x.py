# python train_net.py --config-file COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w18_1x.py --num-gpus 8 train.init_checkpoint=hrnet_w18.pth
# Mask R-CNN, HRNetV2p-W18, 1x, for 8 GPUs, 2 images each.
from ..common.data.coco import dataloader
from ..common.models.mask_rcnn import model
from ..common.optim import optimizer
from ..common.schedule import schedule_1x as lr_multiplier
from ..common.train import train

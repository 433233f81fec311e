# python train_net.py --config-file COCO-Detection/rpn_hrnetv2p_w18_1x.py --num-gpus 8 train.init_checkpoint=timm://hrnet_w18.ms_in1k
# RPN alone, HRNetV2p-W18, 1x, for 8 GPUs, 2 images each.
# Not published.
from ..common.data.coco_boxes import dataloader
from ..common.models.rpn import model
from ..common.optim import optimizer
from ..common.schedule import schedule_1x as lr_multiplier
from ..common.train import train

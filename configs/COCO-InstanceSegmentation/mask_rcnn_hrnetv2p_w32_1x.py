# python train_net.py --config-file COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w32_1x.py --num-gpus 8 train.init_checkpoint=timm://hrnet_w32.ms_in1k
# Mask R-CNN, HRNetV2p-W32, 1x, for 8 GPUs, 2 images each.
# Published box/mask AP on COCO val2017: 40.9/36.7 (arXiv:1908.07919),
#   40.7/36.8 (HRNet-Object-Detection), 41.2/37.1 (mmdetection)
# As published: SOLVER.RECIPE of the YAML config; without it Detectron2's rules, which are not the
#   training of any number above.
from ..common.data.coco import dataloader
from ..common.models.mask_rcnn import model
from ..common.optim import optimizer
from ..common.schedule import schedule_1x as lr_multiplier
from ..common.train import train

model.backbone.bottom_up.variant = "w32"

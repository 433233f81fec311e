# python train_net.py --config-file COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w18_1x.py --num-gpus 8 train.init_checkpoint=timm://hrnet_w18.ms_in1k
# Mask R-CNN, HRNetV2p-W18, 1x, for 8 GPUs, 2 images each.
# Published box/mask AP on COCO val2017: 37.1/33.8 (arXiv:1908.07919),
#   37.3/34.2 (HRNet-Object-Detection), 37.7/34.2 (mmdetection)
# As published: SOLVER.RECIPE of the YAML config; without it Detectron2's rules, which are not the
#   training of any number above.
from ..common.data.coco import dataloader
from ..common.models.mask_rcnn import model
from ..common.optim import optimizer
from ..common.schedule import schedule_1x as lr_multiplier
from ..common.train import train

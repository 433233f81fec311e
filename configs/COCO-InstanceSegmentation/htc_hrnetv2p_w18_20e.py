# python train_net.py --config-file COCO-InstanceSegmentation/htc_hrnetv2p_w18_20e.py --num-gpus 8 train.init_checkpoint=timm://hrnet_w18.ms_in1k
# Hybrid Task Cascade, HRNetV2p-W18, 20e, for 8 GPUs, 2 images each.
# Published box/mask AP on COCO val2017: 43.1/37.9 (arXiv:1908.07919),
#   43.1/37.9 (HRNet-Object-Detection), 42.8/37.9 (mmdetection)
# As published: SOLVER.RECIPE of the YAML config; without it Detectron2's rules, which are not the
#   training of any number above.
from ..common.data.coco_stuff import dataloader
from ..common.models.htc import model
from ..common.optim import optimizer
from ..common.schedule import schedule_20e as lr_multiplier
from ..common.train import train

train.max_iter = 146580

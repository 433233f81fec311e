# python train_net.py --config-file COCO-Detection/fcos_hrnetv2p_w18_1x.py --num-gpus 8 train.init_checkpoint=timm://hrnet_w18.ms_in1k
# FCOS, HRNetV2p-W18, 1x, for 8 GPUs, 2 images each.
# Published box AP on COCO val2017: 35.2 (arXiv:1908.07919), 35.2 (HRNet-Object-Detection),
#   35.3 (mmdetection)
# As published: SOLVER.RECIPE of the YAML config; without it Detectron2's rules, which are not the
#   training of any number above.
from ..common.data.coco_boxes import dataloader
from ..common.models.fcos import model
from ..common.optim import optimizer
from ..common.schedule import schedule_fcos_1x as lr_multiplier
from ..common.train import train

optimizer.lr = 0.01
optimizer.params.update(bias_lr_factor=2.0, weight_decay_bias=0.0)

# python train_net.py --config-file Cityscapes/semantic_hrnetv2_w48.py --num-gpus 4 train.init_checkpoint=timm://hrnet_w48.ms_in1k
# Semantic segmentation, HRNetV2-W48, 484 epochs, for 4 GPUs, 3 images each.
# Published mIoU on Cityscapes val: 81.1 (arXiv:1908.07919)
from ..common.data.cityscapes import dataloader
from ..common.models.semantic import model
from ..common.optim import optimizer
from ..common.schedule import schedule_poly as lr_multiplier
from ..common.train import train

train.update(max_iter=120000, eval_period=5000, clip_gradient_norm=0)
optimizer.update(lr=0.01, weight_decay=5e-4)
optimizer.params.weight_decay_norm = 5e-4

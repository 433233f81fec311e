"""SGD as published: weight decay on all parameters."""

import torch
from detectron2.config import LazyCall as L
from detectron2.solver.build import get_default_optimizer_params

optimizer = L(torch.optim.SGD)(
    params=L(get_default_optimizer_params)(base_lr="${..lr}", weight_decay_norm=1e-4),
    lr=0.02,
    momentum=0.9,
    weight_decay=1e-4,
)

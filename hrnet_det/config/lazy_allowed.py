"""What the values of LazyConfigs may be: those arguments that the classes do not check themselves.

Only what calls a class or function of hrnet_det, Detectron2, fvcore or torch is checked: one of the
user's own may take other values under the same name.
"""

from __future__ import annotations

import math

from detectron2.data import transforms as T
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrnet_det.config.allowed import AMOUNT, COUNT, MOST_SIDE, SHARE, WORKERS
from hrnet_det.config.lazy import keys_of
from hrnet_det.config.rules import Rule, either, number, one_of, several
from hrnet_det.errors import InputError, shown

PACKAGES = ("hrnet_det.", "detectron2.", "fvcore.", "torch.")
DECAY = either(None, AMOUNT, "None")
ABOVE_0 = number(0, ends="(]")
TWO_COUNTS = several(COUNT, 2, 2)  # of training and of evaluation


def _or_lists_of(rule: Rule) -> Rule:
    """A list of values that are right by a rule, or of lists of them."""
    lists = several(rule, 0)
    return Rule(
        lambda value: (
            isinstance(value, list) and all(rule.is_right(v) or lists.is_right(v) for v in value)
        ),
        f"a list, or a list of lists, each {rule.words}",
    )


def _or_list_of(rule: Rule) -> Rule:
    several_of = several(rule)
    return Rule(
        lambda value: rule.is_right(value) or several_of.is_right(value),
        f"{rule.words}, or a list of such",
    )


AUGMENTATIONS = Rule(
    lambda value: (
        isinstance(value, list)
        and all(isinstance(step, (dict, T.Augmentation, T.Transform)) for step in value)
    ),
    "a list, each L(T.RandomFlip)() or T.RandomFlip(), not the class alone, or [] for none",
)
# By the part, what an argument of a call in it may be.
RULES: dict[str, dict[str, Rule]] = {
    "optimizer": {
        "weight_decay": DECAY,
        "weight_decay_norm": DECAY,
        "weight_decay_bias": DECAY,
        "bias_lr_factor": DECAY,
        "momentum": number(0, 1, ends="[)"),
    },
    "lr_multiplier": {"warmup_factor": SHARE, "warmup_method": one_of("linear", "constant")},
    "dataloader": {
        "num_workers": WORKERS,
        "augmentations": AUGMENTATIONS,
        "short_edge_length": _or_list_of(number(0, MOST_SIDE)),
        "max_size": number(1),
    },
    "model": {
        "pixel_std": several(ABOVE_0),
        "pixel_mean": several(number(-math.inf)),
        "batch_size_per_image": COUNT,
        "positive_fraction": number(0, 1, ends="(]"),
        "pre_nms_topk": TWO_COUNTS,
        "post_nms_topk": TWO_COUNTS,
        "nms_thresh": SHARE,
        "test_score_thresh": SHARE,
        "test_nms_thresh": SHARE,
        "test_topk_per_image": COUNT,
        "test_topk_candidates": COUNT,
        "max_detections_per_image": COUNT,
        "sizes": _or_lists_of(number(0, MOST_SIDE, ends="(]")),
        "aspect_ratios": _or_lists_of(ABOVE_0),
    },
}


def check_lazy_values(cfg: DictConfig) -> None:
    """Raises: InputError that names key, value and what is allowed."""
    for part, rules in RULES.items():
        for key in keys_of(cfg[part], f"{part}."):
            group, _, name = key.rpartition(".")
            if name in rules and _is_known(OmegaConf.select(cfg, group)):
                _check(cfg, key, rules[name])


def _check(cfg: DictConfig, key: str, rule: Rule) -> None:
    try:
        value = OmegaConf.select(cfg, key)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        return  # a reference to what is not there, which is told when it is read
    if not rule.is_right(value):
        raise InputError(f"{key}={shown(value)}: must be {rule.words}")
    if not _is_finite(value):
        raise InputError(f"{key}={shown(value)}: must be finite, and {rule.words}")


def _is_finite(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _is_known(node: object) -> bool:
    """Whether a node calls what is not of the user's own."""
    target = node.get("_target_") if OmegaConf.is_dict(node) else None
    name = target if isinstance(target, str) else getattr(target, "__module__", None)
    return f"{name}.".startswith(PACKAGES)

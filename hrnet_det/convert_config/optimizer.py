"""The rows of the optimiser: learning rate, decay, clipping, AMP."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import Chosen, Conversion, Row, always, rows_of
from hrnet_det.convert_config.nodes import plain

OPTIMIZER = "optim_wrapper.optimizer"


@rows_of(f"{OPTIMIZER}.lr auto_scale_lr.enable", "SOLVER.BASE_LR")
def _rate(conversion: Conversion) -> None:
    node = conversion.take(f"{OPTIMIZER}.lr")
    scaled = conversion.take("auto_scale_lr.enable")
    base = conversion.take("auto_scale_lr.base_batch_size")
    if node is None:
        return
    rate, why = float(node.value), ""
    if scaled is not None and scaled.value and base is not None:
        batch = conversion.values["SOLVER.IMS_PER_BATCH"].value
        rate = float(f"{rate * batch / base.value:.12g}")
        why = f"auto_scale_lr: {node.value} is for {base.value} images"
    conversion.set("SOLVER.BASE_LR", rate, node, why=why)


@rows_of(
    f"{OPTIMIZER}.type {OPTIMIZER}.momentum {OPTIMIZER}.nesterov",
    "SOLVER.OPTIMIZER SOLVER.MOMENTUM SOLVER.NESTEROV",
)
def _optimizer(conversion: Conversion) -> None:
    kind = conversion.take(f"{OPTIMIZER}.type")
    if kind is None:
        return
    if kind.value not in ("SGD", "AdamW"):
        conversion.lack(kind, "SGD and AdamW are here: SOLVER.OPTIMIZER")
        return
    conversion.set("SOLVER.OPTIMIZER", kind.value.upper(), kind)
    if kind.value == "SGD":
        momentum = conversion.take(f"{OPTIMIZER}.momentum")
        conversion.set("SOLVER.MOMENTUM", 0.0 if momentum is None else momentum.value, momentum)
        nesterov = conversion.take(f"{OPTIMIZER}.nesterov")
        conversion.set("SOLVER.NESTEROV", bool(nesterov and nesterov.value), nesterov)


PARAMETERS = "optim_wrapper.paramwise_cfg"


@rows_of(
    f"{OPTIMIZER}.weight_decay {PARAMETERS}.norm_decay_mult {PARAMETERS}.bias_decay_mult "
    f"{PARAMETERS}.bias_lr_mult",
    "SOLVER.WEIGHT_DECAY SOLVER.WEIGHT_DECAY_NORM SOLVER.WEIGHT_DECAY_BIAS SOLVER.BIAS_LR_FACTOR "
    "SOLVER.BIAS_LR_FACTOR_NORM",
    "decays are values here, factors there",
)
def _decay(conversion: Conversion) -> None:
    node = conversion.take(f"{OPTIMIZER}.weight_decay")
    adam = conversion.values.get("SOLVER.OPTIMIZER", Chosen("", ())).value == "ADAMW"
    decay = (0.01 if adam else 0.0) if node is None else float(node.value)  # torch's defaults
    conversion.set("SOLVER.WEIGHT_DECAY", decay, node)
    norms, biases, rates = (
        conversion.take(f"{PARAMETERS}.{name}")
        for name in ("norm_decay_mult", "bias_decay_mult", "bias_lr_mult")
    )
    of_norms = decay * (1.0 if norms is None else norms.value)
    conversion.set("SOLVER.WEIGHT_DECAY_NORM", of_norms, norms)
    if biases is not None:
        conversion.set("SOLVER.WEIGHT_DECAY_BIAS", decay * biases.value, biases)
    factor = 1.0 if rates is None else float(rates.value)
    conversion.set("SOLVER.BIAS_LR_FACTOR", factor, rates)
    if factor != 1:
        conversion.set("SOLVER.BIAS_LR_FACTOR_NORM", 1.0, rates, why="norms are left out")


@rows_of(
    "optim_wrapper.clip_grad.max_norm optim_wrapper.clip_grad.norm_type",
    "SOLVER.CLIP_GRADIENTS.ENABLED SOLVER.CLIP_GRADIENTS.CLIP_TYPE "
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE SOLVER.CLIP_GRADIENTS.NORM_TYPE",
    "of the whole gradient: `full_model`",
)
def _clipping(conversion: Conversion) -> None:
    node = conversion.take("optim_wrapper.clip_grad")
    options = plain(node) if node is not None else None
    group = "SOLVER.CLIP_GRADIENTS"
    conversion.set(f"{group}.ENABLED", bool(options), node, why="" if options else "no clip_grad")
    if not options:
        return
    if "max_norm" in options:
        conversion.set(f"{group}.CLIP_TYPE", "full_model", node)
        conversion.set(f"{group}.CLIP_VALUE", float(options["max_norm"]), node.find("max_norm"))
        conversion.set(f"{group}.NORM_TYPE", float(options.get("norm_type", 2)), node)
    else:
        conversion.set(f"{group}.CLIP_TYPE", "value", node)
        conversion.set(f"{group}.CLIP_VALUE", float(options.get("clip_value", 1.0)), node)


@rows_of("optim_wrapper.type", "SOLVER.AMP.ENABLED", "`AmpOptimWrapper`")
def _amp(conversion: Conversion) -> None:
    node = conversion.take("optim_wrapper.type")
    kind = "OptimWrapper" if node is None else node.value
    if kind not in ("OptimWrapper", "AmpOptimWrapper"):
        conversion.lack(node, "plain steps and AMP are here: SOLVER.AMP.ENABLED")
        return
    conversion.set("SOLVER.AMP.ENABLED", kind == "AmpOptimWrapper", node)
    for name in ("loss_scale", "dtype"):  # the scale is found while it trains
        conversion.take(f"optim_wrapper.{name}")


ROWS: list[Row] = [
    _optimizer,
    _rate,
    _decay,
    _clipping,
    _amp,
    always("optim_wrapper.paramwise_cfg.bypass_duplicate", False, True),
]

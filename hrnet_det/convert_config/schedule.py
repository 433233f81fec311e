"""The rows of a training's length, its learning rates over time, and its periods."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import Conversion, Row, rows_of
from hrnet_det.convert_config.nodes import Node, children, plain
from hrnet_det.convert_config.optimizer import OPTIMIZER
from hrnet_det.convert_config.pace import Pace, pace_of
from hrnet_det.convert_config.splits import split_of

EPOCHS = "train_cfg.max_epochs"
DROPS = (8 / 12, 11 / 12)  # what SOLVER.EPOCHS sets SOLVER.STEPS to, of a training


@rows_of(
    f"{EPOCHS} train_cfg.max_iters",
    "SOLVER.MAX_ITER SOLVER.EPOCHS",
    "iterations, of 7,330 an epoch of COCO; own data whose images are not known: epochs",
)
def _length(conversion: Conversion) -> None:
    pace = pace_of(conversion)
    epochs, iterations = conversion.take(EPOCHS), conversion.take("train_cfg.max_iters")
    conversion.use(*(conversion.find(f"train_cfg.{n}") for n in ("type", "by_epoch", "_scope_")))
    if iterations is not None and iterations.value:
        conversion.set("SOLVER.MAX_ITER", pace.steps(iterations.value, by_epoch=False), iterations)
    elif epochs is not None:
        total = pace.steps(epochs.value, by_epoch=True)
        if total is not None:
            why = f"epochs of {_plainly(pace.epoch)} iterations"
            conversion.set("SOLVER.MAX_ITER", total, epochs, why=why)
        else:
            train = split_of(conversion, "train_dataloader")
            times = train.times if train is not None else 1
            why = "iterations follow from the data; --images N states them"
            conversion.set("SOLVER.EPOCHS", epochs.value * times, epochs, why=why)


def _plainly(number: float) -> str:
    return f"{number:,.10g}"


# --- param_scheduler, one of its schedulers after the other ---


def _is_by_epoch(scheduler: Node) -> bool:
    node = scheduler.find("by_epoch")
    return node is None or bool(node.value)


def _warm_up(conversion: Conversion, scheduler: Node, pace: Pace) -> None:
    """LinearLR and ConstantLR from the start on; version 2's lr_config has been made one."""
    options = plain(scheduler)
    linear = options["type"] == "LinearLR"
    default = 1 / 3
    factor = options.get("start_factor" if linear else "factor", default)
    if options.get("begin", 0) != 0 or options.get("end_factor", 1.0) != 1.0:
        conversion.lack(scheduler, "a warm-up starts with training, and ends at the full rate here")
        return
    by_epoch = _is_by_epoch(scheduler) and not options.get("convert_to_iter_based")
    ends = options.get("end", options.get("total_iters"))
    if by_epoch or ends is None:
        conversion.lack(scheduler, "a warm-up is by iterations here: SOLVER.WARMUP_ITERS")
        return
    whole = _is_by_epoch(scheduler)
    last = pace.steps(ends, by_epoch=whole)
    if last is None:
        conversion.lack(scheduler, "give --images: the warm-up is in epochs")
        return
    # The last of mmengine's so many steps has the full rate already.
    count = last if options.get("_version_") == 2 else last - 1
    node = scheduler.find("end") or scheduler
    conversion.set("SOLVER.WARMUP_ITERS", max(0, count), node)
    conversion.set("SOLVER.WARMUP_METHOD", "linear" if linear else "constant", scheduler)
    conversion.set(
        "SOLVER.WARMUP_FACTOR", float(factor), scheduler.find("start_factor") or scheduler
    )


def _drops(conversion: Conversion, scheduler: Node, pace: Pace) -> None:
    """MultiStepLR and StepLR."""
    options, by_epoch = plain(scheduler), _is_by_epoch(scheduler)
    if options["type"] == "StepLR":
        end = conversion.value(EPOCHS if by_epoch else "train_cfg.max_iters", 0)
        size = options["step_size"]
        marks = list(range(size, end, size))
    else:
        marks = list(options["milestones"])
    conversion.set("SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", scheduler.find("type"))
    conversion.set("SOLVER.GAMMA", float(options.get("gamma", 0.1)), scheduler.find("gamma"))
    steps = [pace.steps(mark, by_epoch=by_epoch) for mark in marks]
    node = scheduler.find("milestones") or scheduler
    conversion.use(scheduler)
    if None not in steps:
        conversion.set("SOLVER.STEPS", steps, node)
        return
    total = conversion.value(EPOCHS)
    if total and [round(mark / total, 6) for mark in marks] != [round(d, 6) for d in DROPS]:
        conversion.lack(
            node, "drops follow SOLVER.EPOCHS, after 8 and 11 twelfths: --images N states them"
        )


def _cosine(conversion: Conversion, scheduler: Node, pace: Pace) -> None:
    options = plain(scheduler)
    conversion.set("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", scheduler)
    rate = conversion.value(f"{OPTIMIZER}.lr", 0.0)
    least = options.get("eta_min", options.get("eta_min_ratio", 0.0) * rate)
    conversion.set("SOLVER.BASE_LR_END", float(least or 0.0), scheduler.find("eta_min"))
    begin, end = options.get("begin", 0), options.get("end", options.get("T_max"))
    total = conversion.value(EPOCHS, conversion.value("train_cfg.max_iters"))
    if begin or (end is not None and end != total):
        conversion.lack(
            scheduler.find("begin") or scheduler, "the cosine is of the whole training here"
        )


def _polynomial(conversion: Conversion, scheduler: Node, pace: Pace) -> None:
    options = plain(scheduler)
    conversion.set("SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR", scheduler)
    conversion.set("SOLVER.POLY_LR_POWER", float(options.get("power", 1)), scheduler.find("power"))
    if options.get("eta_min"):
        conversion.lack(scheduler.find("eta_min"), "the rate falls to 0 here")


SCHEDULERS = {
    "LinearLR": _warm_up,
    "ConstantLR": _warm_up,
    "MultiStepLR": _drops,
    "StepLR": _drops,
    "CosineAnnealingLR": _cosine,
    "PolyLR": _polynomial,
}


@rows_of(
    "param_scheduler LinearLR.start_factor ConstantLR.factor MultiStepLR.milestones "
    "MultiStepLR.gamma",
    "SOLVER.WARMUP_METHOD SOLVER.WARMUP_FACTOR SOLVER.WARMUP_ITERS SOLVER.STEPS SOLVER.GAMMA "
    "SOLVER.LR_SCHEDULER_NAME",
    "`end=500` reaches the full rate at iteration 499",
)
def _schedule(conversion: Conversion) -> None:
    node, pace = conversion.find("param_scheduler"), pace_of(conversion)
    schedulers = [] if node is None else [node] if isinstance(node.value, dict) else children(node)
    warm = False
    for scheduler in schedulers:
        kind = str(plain(scheduler).get("type"))
        if kind not in SCHEDULERS:
            conversion.lack(scheduler, f"schedulers here: {', '.join(SCHEDULERS)}")
            continue
        warm |= kind in ("LinearLR", "ConstantLR")
        SCHEDULERS[kind](conversion, scheduler, pace)
    if not warm:
        conversion.set("SOLVER.WARMUP_ITERS", 0, why="no warm-up")


def _period(name: str, key: str) -> Row:
    """A period in epochs, or in iterations of a training that is counted so."""

    @rows_of(name, key, "in iterations")
    def row(conversion: Conversion) -> None:
        node = conversion.take(name)
        if node is None:
            return
        above = conversion.find(name.rpartition(".")[0])
        flag = above.find("by_epoch") if above is not None else None
        conversion.use(flag)
        by_epoch = conversion.find("train_cfg.max_iters") is None and (flag is None or flag.value)
        period = pace_of(conversion).steps(node.value, by_epoch=by_epoch)
        if period is not None and node.value > 0:
            conversion.set(key, period, node)

    return row


ROWS: list[Row] = [
    _length,
    _schedule,
    _period("train_cfg.val_interval", "TEST.EVAL_PERIOD"),
    _period("default_hooks.checkpoint.interval", "SOLVER.CHECKPOINT_PERIOD"),
]

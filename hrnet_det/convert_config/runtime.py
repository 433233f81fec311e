"""The rows of how a run goes: weights, folders, hooks, seeds; and what is not needed here."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import Conversion, Row, rows_of, same, unneeded
from hrnet_det.convert_config.nodes import children, plain

HOOKS = "default_hooks"


@rows_of("load_from", "MODEL.WEIGHTS", "a whole detector, in place of the backbone's weights")
def _load_from(conversion: Conversion) -> None:
    node = conversion.take("load_from")
    if node is not None and node.value:
        conversion.set("MODEL.WEIGHTS", str(node.value), node)


@rows_of("work_dir", "OUTPUT_DIR")
def _folder(conversion: Conversion) -> None:
    node = conversion.take("work_dir")
    if node is not None and node.value:
        conversion.set("OUTPUT_DIR", str(node.value), node)


@rows_of("resume")
def _resume(conversion: Conversion) -> None:
    node = conversion.take("resume")
    if node is not None and node.value:
        conversion.lack(node, "--resume of the command, with OUTPUT_DIR, goes on")


@rows_of("randomness.seed", "SEED")
def _seed(conversion: Conversion) -> None:
    node = conversion.take("randomness.seed")
    conversion.use(conversion.find("randomness.diff_rank_seed"))
    if node is not None and node.value is not None:
        conversion.set("SEED", node.value, node)


def _kept(count: object) -> int:
    return max(0, int(count))


def _custom_hook(conversion: Conversion, options: dict, hook: object) -> None:
    kind = options.get("type")
    if kind == "EMAHook":
        momentum = options.get("momentum", 0.0002)
        conversion.set("SOLVER.EMA_DECAY", 1 - momentum, hook)
    elif kind == "EarlyStoppingHook":
        conversion.set("SOLVER.PATIENCE", options.get("patience", 5), hook)
    elif kind in ("NumClassCheckHook", "CheckInvalidLossHook"):  # checked here by itself
        conversion.use(hook)
    else:
        conversion.lack(hook, "there is no such hook here: leave it out, or train from Python")


@rows_of(
    "custom_hooks EMAHook.momentum EarlyStoppingHook.patience",
    "SOLVER.EMA_DECAY SOLVER.PATIENCE",
    "EMA_DECAY is 1 - momentum",
)
def _hooks(conversion: Conversion) -> None:
    node = conversion.find("custom_hooks")
    for hook in list(children(node)) if node is not None else []:
        _custom_hook(conversion, plain(hook), hook)
    early = conversion.find(f"{HOOKS}.early_stopping")
    if early is not None:
        _custom_hook(conversion, plain(early), early)


@rows_of("custom_imports")
def _imports(conversion: Conversion) -> None:
    node = conversion.find("custom_imports")
    if node is not None and node.value:
        conversion.lack(node, "modules are not imported by a config here: train from Python")


# What mmengine's Runner reads. Other names at the top of a config are variables for its own use.
SECTIONS = (
    *("model", "optim_wrapper", "param_scheduler", "auto_scale_lr", "load_from", "resume"),
    *("train_dataloader", "val_dataloader", "test_dataloader", "val_evaluator", "test_evaluator"),
    *("train_cfg", "val_cfg", "test_cfg", "default_hooks", "custom_hooks", "custom_imports"),
    *("env_cfg", "work_dir", "randomness", "tta_model", "tta_pipeline", "data", "lr_config"),
    *("optimizer_config", "momentum_config"),
)
ROWS: list[Row] = [
    _load_from,
    _folder,
    _resume,
    _seed,
    same(f"{HOOKS}.checkpoint.max_keep_ckpts", "SOLVER.CHECKPOINTS_KEPT", _kept),
    same("env_cfg.cudnn_benchmark", "CUDNN_BENCHMARK", bool),
    _hooks,
    _imports,
    *unneeded(
        *(f"{HOOKS}.{name}" for name in ("timer", "logger", "param_scheduler", "sampler_seed")),
        f"{HOOKS}.visualization",
        *(f"{HOOKS}.checkpoint.{name}" for name in ("type", "save_best", "rule", "by_epoch")),
        f"{HOOKS}.checkpoint.save_last",
        f"{HOOKS}.checkpoint.interval",
        "train_cfg.val_begin",
        "train_cfg.dynamic_intervals",
        "val_cfg",
        "test_cfg",
        "tta_model",
        "tta_pipeline",
        "env_cfg.mp_cfg",
        "env_cfg.dist_cfg",
        "auto_scale_lr.base_batch_size",
        "auto_scale_lr.enable",
    ),
]

"""A config of mmdetection 2 in the layout of version 3, each value with its own line and name."""

from __future__ import annotations

from hrnet_det.convert_config.layout import Layout, put_data
from hrnet_det.convert_config.nodes import Node, children, from_plain, plain
from hrnet_det.errors import InputError

SECTIONS = ("data", "optimizer", "lr_config", "runner", "total_epochs", "optimizer_config")
# (version 2, version 3), for the table in the documentation too.
RENAMED = (
    ("data.samples_per_gpu", "train_dataloader.batch_size"),
    ("data.workers_per_gpu", "train_dataloader.num_workers"),
    ("data.train.img_prefix", "train_dataloader.dataset.data_prefix.img"),
    ("data.train.seg_prefix", "train_dataloader.dataset.data_prefix.seg"),
    ("data.train.classes", "train_dataloader.dataset.metainfo.classes"),
    ("data.val", "val_dataloader.dataset"),
    ("data.test", "test_dataloader.dataset"),
    ("Resize.img_scale", "Resize.scale, RandomChoiceResize.scales"),
    ("RandomFlip.flip_ratio", "RandomFlip.prob"),
    ("img_norm_cfg, Normalize", "model.data_preprocessor.mean, std, bgr_to_rgb"),
    ("Pad.size_divisor", "model.data_preprocessor.pad_size_divisor"),
    ("model.pretrained", "model.backbone.init_cfg.checkpoint"),
    ("optimizer", "optim_wrapper.optimizer"),
    ("optimizer.paramwise_cfg", "optim_wrapper.paramwise_cfg"),
    ("optimizer_config.grad_clip", "optim_wrapper.clip_grad"),
    ("optimizer_config.cumulative_iters", "optim_wrapper.accumulative_counts"),
    ("fp16", "optim_wrapper.type=AmpOptimWrapper"),
    ("lr_config.warmup, warmup_ratio, warmup_iters", "param_scheduler: LinearLR, ConstantLR"),
    ("lr_config.step", "param_scheduler: MultiStepLR.milestones"),
    ("runner.max_epochs, total_epochs", "train_cfg.max_epochs"),
    ("evaluation.interval", "train_cfg.val_interval"),
    ("checkpoint_config", "default_hooks.checkpoint"),
    ("seed", "randomness.seed"),
    ("resume_from", "resume"),
)


def version_of(root: Node) -> int:
    """2 or 3. Raises: InputError for mmdetection 1, whose detectors are others."""
    model = root.find("model")
    if model is not None:
        old = model.find("bbox_roi_extractor") or model.find("rpn_head.anchor_scales")
        if old is not None:
            raise InputError(
                f"{old.place}: {old.name} is of mmdetection 1, whose configs are not converted: "
                "take the shipped config of that detector with MODEL.CONVENTIONS "
                "hrnet_object_detection, which are its rules"
            )
    return 2 if any(root.find(name) is not None for name in SECTIONS) else 3


def as_version3(root: Node) -> Node:
    """The same values where version 3 has them. What has no place there stays where it is."""
    layout = Layout(root)
    layout.put("model", layout.pop("model"))
    _model(layout)
    put_data(layout)
    _optimizer(layout)
    _schedule(layout)
    for old, new in (
        ("evaluation", "train_cfg.val_interval"),
        ("checkpoint_config", "default_hooks.checkpoint"),
        ("seed", "randomness.seed"),
        ("resume_from", "resume"),
        ("cudnn_benchmark", "env_cfg.cudnn_benchmark"),
    ):
        node = layout.pop(old)
        if old == "evaluation" and node is not None:
            node = node.find("interval") or from_plain(1, node.place)
        layout.put(new, node)
    layout.root.value.update({k: v for k, v in layout.old.items() if k not in layout.root.value})
    return layout.root


def _model(layout: Layout) -> None:
    """ImageNet weights by `pretrained`, and train_cfg and test_cfg beside the model."""
    model = layout.root.find("model")
    if model is None or not isinstance(model.value, dict):
        return
    for owner in (model, model.find("backbone")):
        pretrained = owner.value.pop("pretrained", None) if owner is not None else None
        if pretrained is not None and pretrained.value:
            layout.put("model.backbone.init_cfg.checkpoint", pretrained)
    for name in ("train_cfg", "test_cfg"):
        beside = layout.pop(name)
        if beside is not None and model.find(name) is None:
            layout.put(f"model.{name}", beside)
    for inner in _all(model):
        if isinstance(inner.value, dict):
            _old_names(inner)
    _moved(model)


# Names of the first releases of version 2, and what replaced them.
OLD_NAMES = (
    ("iou_thr", "iou_threshold"),
    ("max_num", "max_per_img"),
    ("out_size", "output_size"),
    ("sample_num", "sampling_ratio"),
)


def _old_names(options: Node) -> None:
    """Give old names their new ones; where both are there, the new one counts."""
    values = options.value
    for old, new in OLD_NAMES:
        if old in values:
            values.setdefault(new, values.pop(old))
    if (threshold := values.pop("nms_thr", None)) is not None:
        inner = Node({"iou_threshold": threshold}, threshold.place, threshold.name)
        values.setdefault("nms", inner)
    ignored = values.pop("ignore_label", None)
    if ignored is not None:  # of HTC's semantic head
        loss = {"ignore_index": ignored, "loss_weight": values.pop("loss_weight", None)}
        loss = {key: node for key, node in loss.items() if node is not None}
        values.setdefault("loss_seg", Node(loss, ignored.place, options.name))


def _moved(model: Node) -> None:
    """The weights of a cascade's stages, which were a part of train_cfg."""
    rules, heads = model.find("train_cfg"), model.find("roi_head")
    if rules is not None and isinstance(rules.value, dict) and heads is not None:
        weights = rules.value.pop("stage_loss_weights", None)
        if weights is not None:
            heads.value.setdefault("stage_loss_weights", weights)


def _all(node: Node) -> list[Node]:
    return [node, *(inner for part in children(node) for inner in _all(part))]


def _optimizer(layout: Layout) -> None:
    optimizer, config, half = map(layout.pop, ("optimizer", "optimizer_config", "fp16"))
    if optimizer is not None:
        values = dict(optimizer.value)
        layout.put("optim_wrapper.paramwise_cfg", values.pop("paramwise_cfg", None))
        optimizer = Node(values, optimizer.place, optimizer.name)
        layout.put("optim_wrapper.optimizer", optimizer)
    if config is not None and isinstance(config.value, dict):
        layout.put("optim_wrapper.clip_grad", config.find("grad_clip"))
        layout.put("optim_wrapper.accumulative_counts", config.find("cumulative_iters"))
        read = ("grad_clip", "cumulative_iters", "type", "loss_scale", "distributed")
        rest = {key: node for key, node in config.value.items() if key not in read}
        layout.put("optimizer_config", Node(rest, config.place, config.name) if rest else None)
    if half is not None and half.value is not None:
        layout.put("optim_wrapper.type", Node("AmpOptimWrapper", half.place, half.name))


def _schedule(layout: Layout) -> None:
    runner, total = layout.pop("runner"), layout.pop("total_epochs")
    for name in ("max_epochs", "max_iters"):
        layout.put(f"train_cfg.{name}", runner.find(name) if runner is not None else None)
    if layout.root.find("train_cfg.max_epochs") is None:
        layout.put("train_cfg.max_epochs", total)
    policy = layout.pop("lr_config")
    if policy is None:
        return
    schedulers = [s for s in (_warm_up(policy), _policy(policy, layout)) if s is not None]
    layout.put("param_scheduler", Node(schedulers, policy.place, policy.name))


def _scheduler(policy: Node, kind: str, **options: Node | object) -> Node:
    made = {
        name: value if isinstance(value, Node) else Node(value, policy.place, policy.name)
        for name, value in options.items()
        if value is not None
    }
    return Node({"type": Node(kind, policy.place, policy.name), **made}, policy.place, policy.name)


def _warm_up(policy: Node) -> Node | None:
    kind = policy.find("warmup")
    if kind is None or kind.value is None:
        return None
    known = {"linear": ("LinearLR", "start_factor"), "constant": ("ConstantLR", "factor")}
    if kind.value not in known:
        return Node({"type": kind}, kind.place, kind.name)
    name, factor = known[kind.value]
    options = {factor: policy.find("warmup_ratio") or 0.1, "end": policy.find("warmup_iters") or 0}
    by_epoch = policy.find("warmup_by_epoch") or False
    return _scheduler(policy, name, by_epoch=by_epoch, _version_=2, **options)


def _policy(policy: Node, layout: Layout) -> Node:
    kind, by_epoch = policy.find("policy"), policy.find("by_epoch")
    name = str(kind.value).lower() if kind is not None else ""
    if name == "step":
        step = policy.find("step")
        both = {"gamma": policy.find("gamma"), "by_epoch": by_epoch}
        if step is not None and isinstance(step.value, int):
            return _scheduler(policy, "StepLR", step_size=step, **both)
        return _scheduler(policy, "MultiStepLR", milestones=step, **both)
    if name == "cosineannealing":
        ratio, least = policy.find("min_lr_ratio"), policy.find("min_lr")
        return _scheduler(policy, "CosineAnnealingLR", eta_min=least, eta_min_ratio=ratio)
    if name == "poly":
        least = policy.find("min_lr")
        least = least if least is not None and plain(least) else None
        return _scheduler(policy, "PolyLR", power=policy.find("power"), eta_min=least)
    return Node({"type": kind or policy}, policy.place, policy.name)

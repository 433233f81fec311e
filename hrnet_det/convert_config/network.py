"""The rows of backbone, pyramid and pixels."""

from __future__ import annotations

import re

from hrnet_det.convert_config.conversion import Conversion, Row, always, rows_of, same, unneeded
from hrnet_det.convert_config.nodes import plain
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS, VARIANTS, HRNetVariant

NORMS = {"BN": "BN", "BN2d": "BN", "SyncBN": "SyncBN", "GN": "GN", "LN": "LN"}
EXTRA = "model.backbone.extra"


def variant_of(conversion: Conversion) -> str:
    """The variant whose widths, blocks and modules `extra` has.

    Raises: InputError if it is none of ours.
    """
    node = conversion.find(EXTRA)
    if node is None:
        backbone = conversion.find("model.backbone")
        raise conversion.refuse(backbone, "its extra is not there, which says how wide it is")
    stages = [node.find(f"stage{number}") for number in (1, 2, 3, 4)]
    if None in stages or any(not isinstance(stage.value, dict) for stage in stages):
        raise conversion.refuse(node, "HRNets of four stages are here: stage1 to stage4")
    conversion.use(node)
    first, *others = ({k: plain(v) for k, v in stage.value.items()} for stage in stages)
    shape = HRNetVariant(
        widths=tuple(others[-1].get("num_channels", ())),
        stage1_blocks=first["num_blocks"][0],
        stage1_width=first["num_channels"][0],
        blocks=others[0]["num_blocks"][0],
        modules=tuple(stage["num_modules"] for stage in others),
    )
    same_blocks = {n for stage in others for n in stage["num_blocks"]} == {shape.blocks}
    widths = [tuple(stage["num_channels"]) for stage in others]
    same_widths = widths == [shape.widths[:count] for count in (2, 3, 4)]
    for name, known in VARIANTS.items():
        if known == shape and same_blocks and same_widths:
            return name
    raise conversion.refuse(
        node, f"no published HRNet has these stages; known are {', '.join(VARIANTS)}"
    )


@rows_of(f"{EXTRA}.stage*.num_channels", "MODEL.HRNET.VARIANT")
def _variant(conversion: Conversion) -> None:
    try:
        name = variant_of(conversion)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise conversion.refuse(conversion.find(EXTRA), f"is no HRNet ({error!r})") from error
    conversion.set("MODEL.HRNET.VARIANT", name, conversion.find(f"{EXTRA}.stage4.num_channels"))


@rows_of("model.backbone.norm_cfg", "MODEL.HRNET.NORM")
def _norm(conversion: Conversion) -> None:
    node = conversion.take("model.backbone.norm_cfg")
    options = {"type": "BN", **(plain(node) if node is not None else {})}
    name = NORMS.get(options["type"])
    if name is None or not set(options) <= {"type", "requires_grad", "num_groups"}:
        conversion.lack(node, f"norms here are {', '.join(NORMS.values())} without options")
        return
    if not options.get("requires_grad", True):
        if name != "BN":
            conversion.lack(node, "only batch norms are frozen here: FrozenBN")
        name = "FrozenBN"
    conversion.set("MODEL.HRNET.NORM", name, node)


@rows_of(
    "model.backbone.init_cfg",
    "MODEL.WEIGHTS",
    "`open-mmlab://msra/hrnetv2_w32` becomes `timm://hrnet_w32.ms_in1k`, of the same authors",
)
def _weights(conversion: Conversion) -> None:
    node = conversion.take("model.backbone.init_cfg")
    address = node.find("checkpoint") if node is not None else None
    name = str(plain(address)) if address is not None else ""
    if found := re.search(r"msra/hrnetv2_(w\d+)$", name):
        variant = next((v for v in VARIANTS if v == found[1]), "")
        name = IMAGENET_WEIGHTS.get(variant, name)
        why = "ImageNet weights of the same authors"
    else:
        why = "" if name else "random weights"
    conversion.set("MODEL.WEIGHTS", name, address, why=why)
    if node is not None and node.find("prefix") is not None:
        conversion.lack(node.find("prefix"), "names of tensors are recognised without it")


def _checkpointing(with_cp: object) -> str:
    return "balanced" if with_cp else "none"


BACKBONE: list[Row] = [
    _variant,
    _norm,
    same("model.backbone.norm_eval", "MODEL.HRNET.NORM_EVAL", bool, default=True),
    same("model.backbone.with_cp", "MODEL.HRNET.ACTIVATION_CHECKPOINTING", _checkpointing, False),
    _weights,
    always("model.backbone.in_channels", 3),
    always("model.backbone.multiscale_output", True),
    always("model.backbone.zero_init_residual", False),
    always("model.backbone.conv_cfg", None),
]


def levels(conversion: Conversion) -> list[int]:
    """The pyramid's levels, such as [2, 3, 4, 5, 6]: level k has a stride of 2^k pixels."""
    stride = conversion.find("model.neck.stride")
    count = conversion.find("model.neck.num_outs")
    first = 2 if stride is None or stride.value == 1 else 3
    return list(range(first, first + (5 if count is None else count.value)))


@rows_of("model.neck.stride model.neck.num_outs", "MODEL.HRFPN.MIN_LEVEL MODEL.HRFPN.NUM_LEVELS")
def _levels(conversion: Conversion) -> None:
    stride = conversion.take("model.neck.stride")
    if stride is not None and stride.value not in (1, 2):
        conversion.lack(stride, "the pyramid starts at a stride of 4 (1) or 8 pixels (2)")
    first, *others = levels(conversion)
    conversion.set("MODEL.HRFPN.MIN_LEVEL", first, stride)
    conversion.set(
        "MODEL.HRFPN.NUM_LEVELS", 1 + len(others), conversion.find("model.neck.num_outs")
    )


def _pooling(kind: object) -> str:
    return "max" if kind == "MAX" else "avg"  # whatever else it is, mmdetection averages


@rows_of("model.neck.in_channels")
def _neck_inputs(conversion: Conversion) -> None:
    node = conversion.take("model.neck.in_channels")
    widths = VARIANTS[conversion.values["MODEL.HRNET.VARIANT"].value].widths
    if node is None or tuple(plain(node)) != widths:
        node = node or conversion.find("model.neck")
        raise conversion.refuse(node, f"the branches of this HRNet have {list(widths)} channels")


NECK: list[Row] = [
    _neck_inputs,
    same("model.neck.out_channels", "MODEL.HRFPN.OUT_CHANNELS"),
    _levels,
    same("model.neck.pooling_type", "MODEL.HRFPN.POOLING", _pooling, "AVG"),
    always("model.neck.conv_cfg", None),
    # mmdetection keeps the first and never uses it; the second trades time for memory.
    *unneeded("model.neck.norm_cfg", "model.neck.with_cp", "model.neck.init_cfg"),
]
PREPROCESSOR = "model.data_preprocessor"


@rows_of(f"{PREPROCESSOR}.mean {PREPROCESSOR}.std", "MODEL.PIXEL_MEAN MODEL.PIXEL_STD")
def _statistics(conversion: Conversion) -> None:
    for name, key in (("mean", "MODEL.PIXEL_MEAN"), ("std", "MODEL.PIXEL_STD")):
        node = conversion.take(f"{PREPROCESSOR}.{name}")
        default = [0.0] * 3 if name == "mean" else [1.0] * 3  # as they come
        value = default if node is None or node.value is None else list(plain(node))
        conversion.set(key, [float(number) for number in value], node)


@rows_of(f"{PREPROCESSOR}.bgr_to_rgb", "INPUT.FORMAT", "images are read as BGR there")
def _channels(conversion: Conversion) -> None:
    turned = [conversion.take(f"{PREPROCESSOR}.{name}") for name in ("bgr_to_rgb", "rgb_to_bgr")]
    is_rgb = any(node is not None and node.value for node in turned)
    conversion.set("INPUT.FORMAT", "RGB" if is_rgb else "BGR", *turned)


PIXELS: list[Row] = [
    _statistics,
    _channels,
    always(f"{PREPROCESSOR}.type", "DetDataPreprocessor"),
    always(f"{PREPROCESSOR}.pad_size_divisor", 32, advice="images are padded to 32 pixels here"),
    *unneeded(
        *(f"{PREPROCESSOR}.{name}" for name in ("pad_mask", "mask_pad_value", "pad_seg")),
        *(f"{PREPROCESSOR}.{name}" for name in ("seg_pad_value", "pad_value", "boxtype2tensor")),
        f"{PREPROCESSOR}.non_blocking",
    ),
]

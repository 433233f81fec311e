"""Files of Panoptic-DeepLab on HRNet: of its authors' first code, and of theirs for Detectron2."""

from hrnet_det.checkpoint.formats.base import BODY, Format, Names, Rules, has

_OLD_DECODER, _OLD_HEAD = "decoder.{}_decoder.", "decoder.{}_head.classifier."
# Our head, and the layers in it, by theirs.
_HEADS = {
    "semantic": ("sem_seg_head", {"semantic": ("head", "predictor")}),
    "instance": (
        "ins_embed_head",
        {
            "center": ("center_head", "center_predictor"),
            "offset": ("offset_head", "offset_predictor"),
        },
    ),
}


def _separable(theirs: str, ours: str) -> Rules:
    """A depthwise and a 1x1 convolution, each with its norm."""
    return (
        (f"{theirs}.0.0.weight", f"{ours}.depthwise.weight"),
        (f"{theirs}.0.1.{{name}}", f"{ours}.depthwise.norm.{{name}}"),
        (f"{theirs}.1.weight", f"{ours}.pointwise.weight"),
        (f"{theirs}.2.{{name}}", f"{ours}.pointwise.norm.{{name}}"),
    )


def _normed(theirs: str, ours: str) -> Rules:
    """A convolution and its norm."""
    return (
        (f"{theirs}.0.weight", f"{ours}.weight"),
        (f"{theirs}.1.{{name}}", f"{ours}.norm.{{name}}"),
    )


def _of_head(kind: str) -> Rules:
    ours, layers = _HEADS[kind]
    theirs, decoder = _OLD_DECODER.format(kind), f"{ours}.decoder."
    pooling = f"{decoder}hr5.project_conv."
    rules: Rules = ((f"{theirs}aspp.convs.4.aspp_pooling.1.weight", f"{pooling}convs.4.1.weight"),)
    for n in range(4):
        rules += _normed(f"{theirs}aspp.convs.{n}", f"{pooling}convs.{n}")
    rules += _normed(f"{theirs}aspp.project", f"{pooling}project")
    for n, branch in enumerate(("hr4", "hr3", "hr2")):  # from the coarsest on
        rules += _normed(f"{theirs}project.{n}", f"{decoder}{branch}.project_conv")
        rules += _separable(f"{theirs}fuse.{n}.0", f"{decoder}{branch}.fuse_conv")
    for name, (head, predictor) in layers.items():
        classifier = _OLD_HEAD.format(kind) + name
        rules += _separable(f"{classifier}.0.0", f"{ours}.{head}")
        rules += ((f"{classifier}.1.{{p}}", f"{ours}.{predictor}.{{p}}"),)
    return rules


_BACKBONE: Rules = (("backbone.{body}", BODY + "{body}"),)


def _is_first(names: Names) -> bool:
    return has(names, "decoder.semantic_decoder.")


def _is_detectron2s(names: Names) -> bool:
    return has(names, "ins_embed_head.") and has(names, "backbone.stage2.")


PANOPTIC_DEEPLAB = Format(
    name="panoptic_deeplab",
    title="Panoptic-DeepLab",
    recognises=_is_first,
    rules=(*_BACKBONE, *_of_head("semantic"), *_of_head("instance")),
    conventions="detectron2",
    overrides=("MODEL.HRNET.UPSAMPLING", "bilinear", "MODEL.PANOPTIC_DEEPLAB.HEADS", "original"),
)
PANOPTIC_DEEPLAB_D2 = Format(
    name="panoptic_deeplab_detectron2",
    title="Panoptic-DeepLab for Detectron2",
    recognises=_is_detectron2s,
    rules=(
        *_BACKBONE,
        *(
            (f"{head}.decoder.res{n}.{{name}}", f"{head}.decoder.hr{n}.{{name}}")
            for head in ("sem_seg_head", "ins_embed_head")
            for n in range(2, 6)
        ),
        *((f"{head}.{{name}}", f"{head}.{{name}}") for head in ("sem_seg_head", "ins_embed_head")),
    ),
    conventions="detectron2",
    overrides=("MODEL.HRNET.UPSAMPLING", "bilinear"),
)

"""mmdetection 3.3.0's own detectors with random weights: a reference for our outputs.

Nothing here imports hrnet_det or Detectron2. mmdetection is optional (`unavailable` says what is
missing). It needs no compiler: mmcv-lite lacks only the compiled operators, of which inference uses
two, and torchvision gives those.

    pip install --no-deps mmdet==3.3.0 mmcv-lite==2.1.0 mmengine==0.10.7
    pip install addict opencv-python-headless rich scipy shapely six terminaltables yapf
"""

import importlib.machinery
import sys
import types
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import ops

_CONFIGS = {
    "faster_rcnn": "faster-rcnn_hrnetv2p-w18-1x_coco",
    "mask_rcnn": "mask-rcnn_hrnetv2p-w18-1x_coco",
    "cascade_rcnn": "cascade-rcnn_hrnetv2p-w18-20e_coco",
    "cascade_mask_rcnn": "cascade-mask-rcnn_hrnetv2p-w18_20e_coco",
    "htc": "htc_hrnetv2p-w18_20e_coco",
    "fcos": "fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco",
}
KINDS = tuple(_CONFIGS)

# Of each layer's output, by the end of its name: the mean over channels, by how much channels
# differ from it, and the standard deviation over positions. Layers that are not named: _HIDDEN.
_OUTPUTS = {
    "rpn_cls": (-2.0, 0.5, 1.2),
    "fc_cls": (0.0, 0.5, 1.7),
    "rpn_reg": (0.0, 0.1, 1.0),  # this one and the next times _DELTAS
    "fc_reg": (0.0, 0.1, 1.0),
    "conv_logits": (0.0, 0.5, 2.0),
    "conv_cls": (-5.0, 0.7, 1.3),  # sigmoids: few of the 80 at a point exceed the threshold 0.05
    "conv_reg": (3.4, 0.3, 0.5),  # exponents: sides lie about 30 pixels from the point
    "conv_centerness": (0.0, 0.5, 1.0),
}
_HIDDEN = (0.0, 0.3, 1.0)
_BACKGROUND = 3.0  # added to the logit of the class "background"
# Deviations of dx, dy, dw, dh in the box coder's units; mmdetection clamps dw and dh at +-4.135.
_DELTAS = (0.15, 0.15, 1.2, 1.2)
FC = 64  # channels of the box heads' hidden layers, which have 1024, and took most of the time
_GRAINS = (1, 4, 16, 64)  # pixels; one calibration image each
_CALIBRATION_SIDE = 192  # pixels
_CALIBRATION_PROPOSALS, _CALIBRATION_MASKS = 100, 8  # per image


class Trace(NamedTuple):
    """What a detector computes on one image, step by step; float32 on the CPU unless said.

    Attributes:
        pixels: (1, 3, Hp, Wp) normalised, in the detector's channel order, zeros added at the right
            and the bottom up to multiples of 32.
        features: pyramid maps, finest first, each (1, 256, Hp / stride, Wp / stride).
        proposals: (R, 4) x1, y1, x2, y2 in pixels of the resized image, best first; None for
            FCOS.
        objectness: (R,) probabilities, of the proposals; None for FCOS.
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the original image, best first.
        scores: (N,) in 0..1.
        labels: (N,) int64, classes counted from 0.
        masks: (N, H0, W0) bool, pixels of the original image; None without a mask head.
    """

    pixels: Tensor
    features: tuple[Tensor, ...]
    proposals: Tensor | None
    objectness: Tensor | None
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what today's PyTorch and Python warn of in mmdetection's code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def unavailable() -> str | None:
    """Why the reference cannot run here, in one line; None where it can."""
    try:
        _import()
    except (ImportError, AssertionError, AttributeError) as error:  # missing, or of other versions
        return f"mmdetection does not import: {type(error).__name__}: {error}".replace("\n", " ")
    return None


@_quiet()
def build(kind: str, *, seed: int = 0, classes: int = 80, detections: int = 100) -> nn.Module:
    """mmdetection's HRNetV2p-W18 detector from its own config, in eval mode, with random weights.

    The same arguments give the same weights. A forward pass over noise sets the norms' statistics
    and scales every other layer, so that activations keep unit scale and outputs spread: classes
    win in turn, proposals come from every level, some sizes are clamped, masks have both signs. No
    bias is zero.

    Args:
        kind: one of KINDS.
        seed: of the weights.
        classes: number of object classes, without the background.
        detections: at most so many objects in an image.
    Raises: ValueError if the kind is unknown (the message lists those there are).
    """
    if kind not in _CONFIGS:
        raise ValueError(f"unknown kind {kind!r}: choose one of {', '.join(KINDS)}")
    mmdet = _import()
    from mmdet.registry import MODELS
    from mmengine.config import Config

    folder = Path(mmdet.__file__).parent / ".mim" / "configs" / "hrnet"
    config = Config.fromfile(folder / f"{_CONFIGS[kind]}.py").model
    config.backbone.init_cfg = None  # no download
    for head in _heads(config):
        head.num_classes = classes
        if "fc_out_channels" in head:  # FCOS's head has none
            head.fc_out_channels = FC
    getattr(config.test_cfg, "rcnn", config.test_cfg).max_per_img = detections
    with torch.random.fork_rng(devices=[]):  # its initial weights, which are replaced
        model = MODELS.build(config).eval()
    generator = torch.Generator().manual_seed(seed)
    _randomise(model, generator)
    _calibrate(model, generator)
    return model.eval()


@_quiet()
@torch.no_grad()
def run(model: nn.Module, image: np.ndarray, original_size: tuple[int, int]) -> Trace:
    """Detect with mmdetection's own preprocessor, network and post-processing.

    Args:
        model: from `build`.
        image: (H, W, 3) uint8, RGB, resized already.
        original_size: height and width in pixels that boxes and masks are returned in.
    """
    inputs = _preprocess(model, [image], original_size)
    pixels, samples = inputs["inputs"], inputs["data_samples"]
    features = model.extract_feat(pixels)
    proposals = objectness = None
    if hasattr(model, "rpn_head"):
        proposed = model.rpn_head.predict(features, samples, rescale=False)
        proposals, objectness = proposed[0].bboxes.clone(), proposed[0].scores.clone()
        with _all_mask_heads(model.roi_head):
            (found,) = model.roi_head.predict(features, proposed, samples, rescale=True)
    else:
        (found,) = model.bbox_head.predict(features, samples, rescale=True)
    return Trace(
        pixels,
        features,
        proposals,
        objectness,
        found.bboxes,
        found.scores,
        found.labels,
        found.masks if "masks" in found else None,
    )


@contextmanager
def _all_mask_heads(roi_head: nn.Module) -> Iterator[None]:
    """While it lasts, a Hybrid Task Cascade averages its three mask heads.

    So did mmdetection 1 and 2, which the published detectors were trained and measured with, and
    so does the paper; 3.3.0 takes the last head alone.
    """
    if not hasattr(roi_head, "semantic_head"):
        yield
        return
    forward, logits = roi_head._mask_forward, []

    def of_all(*inputs: object, **options: object) -> dict:
        logits.clear()
        forward(*inputs, **options)
        return {"mask_preds": list(logits)}

    hooks = [
        head.register_forward_hook(lambda _, __, output: logits.append(output[0]))
        for head in roi_head.mask_head
    ]
    roi_head._mask_forward = of_all
    yield
    del roi_head._mask_forward
    for hook in hooks:
        hook.remove()


def state_dict(model: nn.Module) -> dict:
    """What mmdetection saves: {"meta": plain values, "state_dict": tensors on the CPU by name}.

    Class names stand under "classes", as 3.3.0 writes them, and "CLASSES", as earlier ones did.
    """
    mmdet = _import()
    import mmengine
    from mmdet.datasets import CocoDataset

    count = next(iter(_heads(model))).num_classes
    names = tuple(CocoDataset.METAINFO["classes"])
    if count != len(names):
        names = tuple(f"class_{i}" for i in range(count))
    meta = {
        "epoch": 12,
        "iter": 87960,
        "mmdet_version": mmdet.__version__,
        "mmengine_version": mmengine.__version__,
        "dataset_meta": {"classes": names, "CLASSES": names},
    }
    tensors = ((name, value.detach().cpu().clone()) for name, value in model.state_dict().items())
    return {"meta": meta, "state_dict": OrderedDict(tensors)}


# ---- mmdetection without compiled operators


@_quiet()
def _import() -> types.ModuleType:
    """mmdet with its models registered, and with stand-ins for mmcv's operators if need be."""
    import mmcv

    try:
        import mmcv._ext  # noqa: F401
    except ModuleNotFoundError:
        sys.modules["mmcv._ext"] = _Operators("mmcv._ext")
    import mmdet
    import mmdet.models
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")  # where names in the configs are looked up
    return mmdet


class _Operators(types.ModuleType):
    """mmcv._ext: non-maximum suppression and RoIAlign; every other operator raises when called."""

    def __init__(self, name: str):
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.nms = _nms
        self.roi_align_forward = _roi_align_forward

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("__"):  # mmcv asks whether operators exist; Python asks for these
            raise AttributeError(name)
        return partial(_missing, name)


def _missing(name: str, *_: object, **__: object) -> None:
    """In the place of an operator that the reference does not need."""
    raise NotImplementedError(
        f"mmcv's operator {name} is not among those that stand in for mmcv._ext"
    )


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes kept, best first; a box is as wide as x2 - x1 + offset."""
    if offset:
        _missing("nms with offset 1")
    return ops.nms(boxes, scores, iou_threshold)


def _roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills `output`, (R, C, aligned_height, aligned_width)."""
    if pool_mode != 1:
        _missing("roi_align_forward with maximum pooling")
    size = (aligned_height, aligned_width)
    # Both take a ratio of zero or less for "as many samples as the bin has pixels".
    output.copy_(ops.roi_align(features, rois, size, spatial_scale, sampling_ratio, aligned))


# ---- images


def _preprocess(
    model: nn.Module, images: Sequence[np.ndarray], original_size: tuple[int, int]
) -> dict:
    """Images of one size through the model's preprocessor, with what Resize notes of them."""
    from mmdet.structures import DetDataSample

    tensors, samples = [], []
    for image in images:
        size = image.shape[:2]
        meta = {
            "img_shape": size,
            "ori_shape": tuple(original_size),
            "scale_factor": (size[1] / original_size[1], size[0] / original_size[0]),  # x, y
        }
        samples.append(DetDataSample(metainfo=meta))
        bgr = image[:, :, ::-1]  # mmdetection reads images with OpenCV
        tensors.append(torch.from_numpy(np.ascontiguousarray(bgr.transpose(2, 0, 1))))
    return model.data_preprocessor({"inputs": tensors, "data_samples": samples}, training=False)


def _noise(generator: torch.Generator) -> list[np.ndarray]:
    """One RGB image per grain: noise that is smooth below that many pixels."""
    side, images = _CALIBRATION_SIDE, []
    for grain in _GRAINS:
        cells = torch.rand((1, 3, side // grain, side // grain), generator=generator)
        smooth = F.interpolate(cells, size=(side, side), mode="bicubic").clamp(0, 1)
        images.append((smooth[0] * 255).byte().permute(1, 2, 0).numpy())
    return images


# ---- weights


def _heads(parent: object) -> Iterator:
    """The heads that know the number of classes, of a detector or of a detector's config."""
    roi_head = parent.roi_head if hasattr(parent, "roi_head") else parent
    for name in ("bbox_head", "mask_head"):
        head = getattr(roi_head, name, None)
        yield from head if isinstance(head, (list, nn.ModuleList)) else [head] if head else []


@torch.no_grad()
def _randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Draws every parameter; the scales of layers outside the backbone are set in `_calibrate`."""
    for name, layer in model.named_modules():
        for key, parameter in layer.named_parameters(recurse=False):
            if isinstance(layer, (nn.BatchNorm2d, nn.GroupNorm)):
                # A block's last norm is weak, or the sums over blocks and fusions would grow.
                low, high = (0.2, 0.7) if name.endswith(("bn2", "bn3")) else (0.6, 1.4)
                values = torch.rand(parameter.shape, generator=generator) * (high - low) + low
                if key == "bias":
                    values = torch.randn(parameter.shape, generator=generator) * 0.3
            elif key == "scale":  # FCOS: of a level's exponents
                values = torch.rand(parameter.shape, generator=generator) * 0.4 + 0.75
            else:
                values = torch.randn(parameter.shape, generator=generator)
                values /= parameter[0].numel() ** 0.5
            parameter.copy_(values)


@torch.no_grad()
def _calibrate(model: nn.Module, generator: torch.Generator) -> None:
    """Sets norm statistics and layer scales in one forward pass, from the first layer on."""
    norms = [layer for layer in model.backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    inputs = _preprocess(model, _noise(generator), (_CALIBRATION_SIDE, _CALIBRATION_SIDE))
    pixels, samples = inputs["inputs"], inputs["data_samples"]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # the running statistics become this batch's
    with _spreading(model, generator):
        features = model.extract_feat(pixels)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum
        if hasattr(model, "rpn_head"):
            proposed = model.rpn_head.predict(features, samples, rescale=False)
            few = [proposals[:_CALIBRATION_PROPOSALS] for proposals in proposed]
            metas, head = [sample.metainfo for sample in samples], model.roi_head
            semantic = head.semantic_head(features)[1] if hasattr(head, "semantic_head") else None
            more = {} if semantic is None else {"semantic_feat": semantic}
            found = head.predict_bbox(features, metas, few, head.test_cfg, **more)
            if head.with_mask:
                few = [f[:_CALIBRATION_MASKS] for f in found]
                more = {} if semantic is None else {"semantic_heat": semantic}
                head.predict_mask(features, batch_img_metas=metas, results_list=few, **more)
        else:
            model.bbox_head.predict(features, samples, rescale=False)


@contextmanager
def _spreading(model: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """While it lasts, the first call of each layer outside the backbone scales the layer."""
    waiting = {}
    for name, layer in model.named_modules():
        kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
        if isinstance(layer, kinds) and not name.startswith("backbone."):
            goal = _goal(model, name, layer, generator)
            hook = partial(_spread, goal, lambda name=name: waiting.pop(name).remove())
            waiting[name] = layer.register_forward_hook(hook)
    yield
    if waiting:
        raise RuntimeError(f"the calibration did not reach {', '.join(waiting)}")


def _goal(
    model: nn.Module, name: str, layer: nn.Module, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (channels,) each, that the layer's output shall have."""
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    path, _, leaf = name.rpartition(".")
    centre, jitter, deviation = _OUTPUTS.get(leaf, _HIDDEN)
    means = centre + jitter * torch.randn(channels, generator=generator)
    deviations = deviation * (0.75 + 0.5 * torch.rand(channels, generator=generator))
    if leaf in ("rpn_reg", "fc_reg"):
        head = model.get_submodule(path)
        unit = (torch.tensor(_DELTAS) / torch.tensor(head.bbox_coder.stds)).repeat(channels // 4)
        return means * unit, deviations * unit
    if path.startswith("neck.fpn_convs."):  # more objects on coarse levels, which have few points
        deviations *= 0.8 + 0.3 * int(path.split(".")[2])
    if leaf == "fc_cls":
        means[-1] += _BACKGROUND
    return means, deviations


def _spread(
    goal: tuple[Tensor, Tensor],
    done: Callable[[], None],
    layer: nn.Module,
    _: tuple[Tensor],
    output: Tensor,
) -> Tensor:
    """A forward hook: gives the layer the scale and bias for its goal, and returns that output."""
    done()
    channels_last = output.movedim(1, -1).flatten(0, -2)
    deviations, means = torch.std_mean(channels_last, dim=0)
    scale = goal[1] / deviations.clamp_min(1e-6)
    out = 1 if isinstance(layer, nn.ConvTranspose2d) else 0  # the weight's dimension
    shape = [-1 if i == out else 1 for i in range(layer.weight.dim())]
    layer.weight *= scale.reshape(shape)
    shape = [1, -1] + [1] * (output.dim() - 2)
    if layer.bias is None:  # a norm follows
        return output * scale.reshape(shape)
    layer.bias.copy_(goal[0] + (layer.bias - means) * scale)
    return (output - means.reshape(shape)) * scale.reshape(shape) + goal[0].reshape(shape)

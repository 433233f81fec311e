"""Panoptic-DeepLab's first code, restated: the tensors of its heads, and what they compute.

Source: github.com/bowenc0221/panoptic-deeplab, segmentation/model/decoder and meta_arch.
"""

import torch
import torch.nn.functional as F

KEYS = {"semantic": ("semantic",), "instance": ("center", "offset")}


def norm_shapes(name, channels):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def separable_shapes(name, channels, outputs):
    return {
        f"{name}.0.0.weight": (channels, 1, 5, 5),
        **norm_shapes(f"{name}.0.1", channels),
        f"{name}.1.weight": (outputs, channels, 1, 1),
        **norm_shapes(f"{name}.2", outputs),
    }


def head_shapes(kind, widths, *, aspp, decoder, head, projected, outputs):
    """Shapes of a head's tensors by their names.

    widths: of the branches, finest first; projected: of those at strides 16, 8 and 4.
    """
    name = f"decoder.{kind}_decoder"
    found = {f"{name}.aspp.convs.4.aspp_pooling.1.weight": (aspp, widths[3], 1, 1)}
    for n in range(4):
        side = 3 if n else 1
        found[f"{name}.aspp.convs.{n}.0.weight"] = (aspp, widths[3], side, side)
        found |= norm_shapes(f"{name}.aspp.convs.{n}.1", aspp)
    found[f"{name}.aspp.project.0.weight"] = (aspp, 5 * aspp, 1, 1)
    found |= norm_shapes(f"{name}.aspp.project.1", aspp)
    before = aspp
    for n in range(3):
        found[f"{name}.project.{n}.0.weight"] = (projected[n], widths[2 - n], 1, 1)
        found |= norm_shapes(f"{name}.project.{n}.1", projected[n])
        found |= separable_shapes(f"{name}.fuse.{n}.0", before + projected[n], decoder)
        before = decoder
    for key, count in zip(KEYS[kind], outputs, strict=True):
        last = f"decoder.{kind}_head.classifier.{key}"
        found |= separable_shapes(f"{last}.0.0", decoder, head)
        found |= {f"{last}.1.weight": (count, head, 1, 1), f"{last}.1.bias": (count,)}
    return found


def random_tensors(shapes, seed=0):
    """Such that maps keep their scale, and norms do something."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        part = name.rsplit(".", 1)[-1]
        noise = torch.randn(shape, generator=generator)
        if part == "num_batches_tracked":
            tensors[name] = torch.tensor(0)
        elif len(shape) == 4:
            tensors[name] = noise * (2 / noise[0].numel()) ** 0.5
        else:
            tensors[name] = noise.abs() + 0.5 if part in ("weight", "running_var") else 0.3 * noise
    return tensors


class Source:
    """The network's heads with tensors of those names, in evaluation."""

    def __init__(self, tensors, rates=(3, 6, 9)):
        self.tensors, self.rates = tensors, rates

    def __call__(self, features, size):
        """Logits, heat and offsets of an image's size from its four branches, finest first."""
        maps = {}
        for kind, keys in KEYS.items():
            y = self.decoded(kind, features)
            for key in keys:
                last = f"decoder.{kind}_head.classifier.{key}"
                z = self.separable(f"{last}.0.0", y)
                weight, bias = self.tensors[f"{last}.1.weight"], self.tensors[f"{last}.1.bias"]
                maps[key] = F.conv2d(z, weight, bias)
        rows = maps["offset"].shape[2]
        full = {
            key: F.interpolate(x, size=size, mode="bilinear", align_corners=True)
            for key, x in maps.items()
        }
        full["offset"] = full["offset"] * ((size[0] - 1) // (rows - 1))
        return full

    def decoded(self, kind, features):
        name = f"decoder.{kind}_decoder"
        x, size = features[3], features[3].shape[-2:]
        parts = [self.block(f"{name}.aspp.convs.0", x)]
        for n, rate in enumerate(self.rates, start=1):
            parts.append(self.block(f"{name}.aspp.convs.{n}", x, padding=rate, dilation=rate))
        mean = x.mean(dim=(2, 3), keepdim=True)
        mean = F.conv2d(mean, self.tensors[f"{name}.aspp.convs.4.aspp_pooling.1.weight"]).relu()
        y = self.block(f"{name}.aspp.project", torch.cat([*parts, mean.expand(-1, -1, *size)], 1))
        for n in range(3):
            low = self.block(f"{name}.project.{n}", features[2 - n])
            y = F.interpolate(y, size=low.shape[-2:], mode="bilinear", align_corners=True)
            y = self.separable(f"{name}.fuse.{n}.0", torch.cat([y, low], 1))
        return y

    def block(self, name, x, **options):
        x = F.conv2d(x, self.tensors[f"{name}.0.weight"], **options)
        return self.normed(f"{name}.1", x).relu()

    def separable(self, name, x):
        x = F.conv2d(x, self.tensors[f"{name}.0.0.weight"], padding=2, groups=x.shape[1])
        x = self.normed(f"{name}.0.1", x).relu()
        x = F.conv2d(x, self.tensors[f"{name}.1.weight"])
        return self.normed(f"{name}.2", x).relu()

    def normed(self, name, x):
        mean, variance, weight, bias = (
            self.tensors[f"{name}.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

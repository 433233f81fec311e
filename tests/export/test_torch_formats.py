"""TorchScript's and torch.export's files against the detector in PyTorch."""

import errno
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data.transforms import ResizeShortestEdge
from helpers.light import light_config, light_detector, light_graph
from torch import nn

from hrnet_det.errors import InputError
from hrnet_det.export import archive, torch_export_file, torchscript_file
from hrnet_det.export.export import quiet
from hrnet_det.modeling.backbone.hrfpn import HRFPN
from hrnet_det.modeling.backbone.hrnet import HRNet
from hrnet_det.modeling.backbone.variants import HRNetVariant
from hrnet_det.modeling.inference.borrowed import SCORE, borrowed

KINDS = ("faster", "mask", "cascade mask", "keypoint", "retinanet", "fcos")
SIZES = ((96, 128), (75, 200), (160, 64))
MODULES = {"torchscript": torchscript_file, "torch_export": torch_export_file}
SUFFIXES = {"torchscript": ".torchscript", "torch_export": ".pt2"}
FIELDS = {"masks": "pred_masks", "keypoints": "pred_keypoints"}


def write(kind, path, format, metadata=None, score=None, **options):
    module = MODULES[format]
    with borrowed(light_detector(kind), {} if score is None else dict.fromkeys(SCORE, score)):
        graph = light_graph(kind, format=format, **options)
        with quiet():
            module.write(graph, path, graph.options, metadata or {})
    return module.open_file(path)


def image(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, *(side // 16 + 1 for side in size), generator=generator) * 255
    fine = torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0]
    return fine.permute(1, 2, 0).round().to(torch.uint8).numpy()


def row_of(kind, given):
    """An image as it is, in the order of channels that the detector takes."""
    given = given[..., ::-1] if light_config(kind).INPUT.FORMAT == "BGR" else given
    height, width = given.shape[:2]
    channels = torch.from_numpy(given.copy()).permute(2, 0, 1).float()
    return {"image": channels, "height": height, "width": width}


def found_by(kind, given, score=None, *, resized=False):
    """The outputs of a file, by Detectron2's own interface; resized: the image is so already."""
    model, rules = light_detector(kind), light_config(kind).INPUT
    row = row_of(kind, given)
    if not resized:
        resizing = ResizeShortestEdge(rules.MIN_SIZE_TEST, rules.MAX_SIZE_TEST)
        smaller = resizing.get_transform(given).apply_image(given)
        row["image"] = row_of(kind, smaller)["image"]
    with torch.no_grad(), borrowed(model, {} if score is None else dict.fromkeys(SCORE, score)):
        objects = model([row])[0]["instances"]
    found = {"boxes": objects.pred_boxes.tensor, "scores": objects.scores}
    found["classes"] = objects.pred_classes
    found |= {name: objects.get(field) for name, field in FIELDS.items() if objects.has(field)}
    return {name: values.numpy() for name, values in found.items()}


def assert_found(found, expected):
    assert list(found) == list(expected)
    assert {name: x.shape for name, x in found.items()} == {
        name: x.shape for name, x in expected.items()
    }
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1e-3)
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    if "masks" in expected:
        assert (found["masks"] != expected["masks"]).sum() <= 1e-3 * expected["masks"].size
    if "keypoints" in expected:
        np.testing.assert_allclose(found["keypoints"], expected["keypoints"], atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_torchscript_finds_what_the_detector_finds(kind, tmp_path):
    engine = write(kind, tmp_path / "file.torchscript", "torchscript")
    for size in SIZES:
        given = image(size)
        expected = found_by(kind, given)
        assert len(expected["boxes"]) > 0
        assert_found(engine({"image": given}), expected)


def assert_finds_some_and_none(kind, format, path):
    """A file of a score that objects of one of the images have, and none of another one."""
    images = [image(size, seed) for seed, size in enumerate(SIZES)]
    images.sort(key=lambda given: found_by(kind, given)["scores"].max())
    least, *_, most = (found_by(kind, given)["scores"].max() for given in images)
    score = float(least + most) / 2
    engine = write(kind, path, format, score=score)
    counts = []
    for given in images:
        found = engine({"image": given})
        assert_found(found, found_by(kind, given, score))
        counts.append(len(found["boxes"]))
    assert counts[0] == 0 < counts[-1]


def test_torchscript_finds_some_and_none(tmp_path):
    assert_finds_some_and_none("mask", "torchscript", tmp_path / "file.torchscript")


def test_torch_export_finds_some_and_none_in_images_of_any_size(tmp_path):
    assert_finds_some_and_none("cascade mask", "torch_export", tmp_path / "file.pt2")


@pytest.mark.parametrize("kind", ["keypoint", "retinanet", "fcos"])
def test_torch_export_of_images_of_one_size_that_are_resized(kind, tmp_path):
    options = {"processing": "outside", "size": (96, 128)}
    engine = write(kind, tmp_path / "file.pt2", "torch_export", **options)
    given = image((96, 128))
    found = engine({"images": row_of(kind, given)["image"][None].numpy()})
    expected = found_by(kind, given, resized=True)
    assert found.pop("image").tolist() == [0] * len(expected["boxes"])
    assert len(expected["boxes"]) > 0
    assert_found(found, expected)
    with pytest.raises(InputError, match=r"does not take images of the shape \[1, 3, 64, 96\]"):
        engine({"images": np.zeros((1, 3, 64, 96), np.float32)})


IMPORTS = """
import sys
sys.modules.update(dict.fromkeys(("detectron2", "hrnet_det", "fvcore")))  # cannot be imported
import json, numpy, torch, torchvision
folder = sys.argv[1]
images = torch.from_numpy(numpy.load(f"{folder}/images.npy"))
extra = {"hrnet_det.json": ""}
script = torch.jit.load(f"{folder}/file.torchscript", _extra_files=extra)
exported = torch.export.load(f"{folder}/file.pt2")
for name, module in (("torchscript", script), ("torch_export", exported.module())):
    numpy.savez(f"{folder}/{name}.npz", **{k: x.numpy() for k, x in module(images).items()})
print(json.loads(extra["hrnet_det.json"])["title"])
"""


def test_backbones_run_without_this_package(tmp_path):
    torch.manual_seed(0)
    variant = HRNetVariant(widths=(4, 8), stage1_blocks=1, stage1_width=4, blocks=1, modules=(1,))
    bottom_up = HRNet(variant=variant)
    backbone = HRFPN(bottom_up=bottom_up, in_features=("hr2", "hr3"), out_channels=8, num_levels=3)
    backbone.eval().requires_grad_(False)
    detector = light_detector("faster")
    mean, std = detector.pixel_mean, detector.pixel_std
    for format, module in MODULES.items():
        graph = light_graph("faster", format=format, part="backbone")
        graph.model = nn.Module()
        graph.model.backbone, graph.model.pixel_mean, graph.model.pixel_std = backbone, mean, std
        with quiet():
            path = tmp_path / f"file{SUFFIXES[format]}"
            module.write(graph, path, graph.options, {"title": "HRNet"})
    images = torch.rand(3, 3, 96, 64) * 255
    np.save(tmp_path / "images.npy", images.numpy())
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "HRNet\n"), done.stderr
    with torch.no_grad():
        expected = backbone((images - mean) / std)
    for format in MODULES:
        found = np.load(tmp_path / f"{format}.npz")
        assert list(found) == ["p2", "p3", "p4"]
        for name, level in expected.items():
            np.testing.assert_allclose(found[name], level.numpy(), atol=1e-5)


@pytest.mark.parametrize("format", MODULES)
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(format):
    """torch's own writer calls abort()."""
    if format == "torchscript":
        made = torch.jit.script(nn.Linear(2, 2))
        write = partial(torch.jit.save, made)
    else:
        made = torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),))
        write = partial(torch.export.save, made)
    with pytest.raises(OSError) as error:
        archive.save(Path("/dev/full"), write)
    assert error.value.errno == errno.ENOSPC

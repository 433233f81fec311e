"""The arguments of `hrnet-det export`."""

import argparse
import re

from hrnet_det.arguments.words import allow_pickle, count

# As hrnet_det.export has them, which the command's help does not import.
FORMATS = ("onnx", "openvino", "torchscript", "torch_export", "tensorrt-onnx")
PRECISIONS = ("float32", "float16", "bfloat16", "int8")


def size(word: str) -> tuple[int, int]:
    """Height and width in pixels."""
    if not (found := re.fullmatch(r"(\d{1,9})x(\d{1,9})", word)):
        raise argparse.ArgumentTypeError(f"{word!r}: give height and width in pixels: 800x1344")
    return int(found[1]), int(found[2])


def add_export(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a detector as one file that other programs run. The file is run on images of "
        "several sizes and compared with PyTorch; where it does not compute the same, it is not "
        "kept. Exit status: 2 where the format cannot hold the detector, or the file differs."
    )
    parser.add_argument("weights", help="a file, a training's folder or an address")
    parser.add_argument("out", metavar="OUT", help="the file, such as model.onnx")
    parser.add_argument("--format", default="onnx", choices=FORMATS, help="(%(default)s)")
    parser.add_argument(
        "--precision",
        default="float32",
        choices=PRECISIONS,
        help="of its numbers, as far as the format has them; int8 takes images (%(default)s)",
    )
    parser.add_argument(
        "--processing",
        choices=("inside", "outside"),
        help="inside: an image of uint8 in RGB goes in, objects in its pixels come out. outside: "
        "resized images go in, raw boxes and masks come out (inside; of tensorrt-onnx and "
        "backbones outside)",
    )
    parser.add_argument(
        "--part",
        default="detector",
        choices=("detector", "backbone"),
        help="all of it, or the backbone with its pyramid (%(default)s)",
    )
    parser.add_argument(
        "--size", type=size, default=(), metavar="HxW", help="of all images, in pixels (any size)"
    )
    parser.add_argument(
        "--batch", type=count, default=1, metavar="N", help="images at once, with outside"
    )
    parser.add_argument(
        "--images",
        default=(),
        metavar="FOLDER",
        help="to check the file with, and to calibrate int8 (those of the training, if here)",
    )
    parser.add_argument("--score", type=float, help="of an object, at least (the config's)")
    parser.add_argument(
        "--max-detections", type=count, metavar="N", help="of an image (the config's)"
    )
    parser.add_argument("--config-file", help="where the weights do not say what they belong to")
    allow_pickle(parser)

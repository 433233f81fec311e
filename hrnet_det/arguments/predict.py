"""The arguments of `hrnet-det predict`."""

import argparse

from hrnet_det.arguments.words import allow_pickle, count, sides


def add_predict(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Detect the objects of images and videos, draw them, and write them as COCO results. "
        "Exit status: 0; 1 if some images cannot be read, which are named at the end when all "
        "others are done; 2 if none can, or the results cannot be written."
    )
    parser.add_argument(
        "weights",
        help="a file, a training's folder or an address; timm and ImageNet files have no heads",
    )
    parser.add_argument(
        "images",
        nargs="+",
        help="files, folders (with those inside them), patterns in quotes ('images/**/*.jpg'), "
        "https:// addresses of images, videos; - for standard input: an image, or lines of these",
    )
    _add_detecting(parser.add_argument_group("what is detected"))
    _add_tiles(parser.add_argument_group("tiles"))
    _add_writing(parser.add_argument_group("what is written"))
    _add_reading(parser.add_argument_group("how weights and images are read"))


def _add_detecting(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--score",
        type=float,
        default=0.5,
        help="least one (%(default)s); 0 for all that an evaluation of the detector counts",
    )
    group.add_argument(
        "--classes",
        nargs="+",
        default=(),
        metavar="NAME",
        help="names of classes, or their numbers from 0: no others are drawn and written (all)",
    )
    group.add_argument(
        "--size",
        type=sides,
        default=(),
        metavar="SHORTER[,LONGER]",
        help="sides that images are resized to, the longer one at most, in pixels (the config's)",
    )
    group.add_argument(
        "--max-detections", type=count, metavar="N", help="of an image (the config's)"
    )
    group.add_argument(
        "--every",
        type=count,
        default=1,
        metavar="N",
        help="of so many frames of a video one is detected, drawn and written (%(default)s)",
    )
    group.add_argument("--batch", type=count, metavar="N", help="images at once (1; on a GPU 8)")


def _add_tiles(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--tile",
        type=count,
        metavar="PIXELS",
        help="cut images into squares of this side, for small objects in large images",
    )
    group.add_argument(
        "--overlap",
        type=float,
        metavar="SHARE",
        default=0.2,
        help="of neighbouring tiles, a share of the side (%(default)s)",
    )
    group.add_argument(
        "--merge",
        choices=("nms", "sahi"),
        default="nms",
        help="how objects that two tiles have become one: the better one, or SAHI's way, which "
        "takes pip install sahi (%(default)s)",
    )


def _add_writing(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--output", default="output/predictions", metavar="FOLDER", help="(%(default)s)"
    )
    group.add_argument(
        "--crops", action="store_true", help="write each object as an image, crops/CLASS/NAME_1.png"
    )
    group.add_argument(
        "--coco-json",
        metavar="JSON",
        help="of the images: coco_results_bbox.json (_segm, _keypoints) is written with its ids, "
        "which COCO's loadRes takes; for an AP add --score 0",
    )


def _add_reading(group: argparse._ActionsContainer) -> None:
    group.add_argument("--config-file", help="where the weights do not say what they belong to")
    group.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    group.add_argument(
        "--pixel-range",
        nargs=2,
        type=float,
        default=(),
        metavar=("LOW", "HIGH"),
        help="values of images of more than 8 bits that become black and white",
    )
    group.add_argument(
        "--max-pixels", type=count, metavar="N", help="of an image that is read (the config's)"
    )
    allow_pickle(group)

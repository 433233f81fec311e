"""The arguments of `hrnet-det`, whose subcommands `cli` runs."""

import argparse

from hrnet_det import __version__
from hrnet_det.arguments.benchmark import add_benchmark
from hrnet_det.arguments.export import add_export
from hrnet_det.arguments.predict import add_predict
from hrnet_det.arguments.words import allow_pickle, count
from hrnet_det.environment import OFFICIAL_SPEC

DEBUG = "show the traceback of an error"
EPILOG = """\
examples:
  hrnet-det doctor
  hrnet-det install-detectron2
  hrnet-det configs
  hrnet-det train --config-file hrnetv2p_faster_rcnn.yaml SOLVER.IMS_PER_BATCH 4
  hrnet-det checkpoints
  hrnet-det predict faster_rcnn_hrnetv2p_w18_1x_coco_20200130-56651a6d.pth street.jpg
  hrnet-det export output/mine model.onnx
  hrnet-det convert mask_rcnn.pth mask_rcnn.safetensors
  hrnet-det convert-config configs/hrnet/mine.py -o mine.yaml
  hrnet-det benchmark --variant w18 --size 512x512 800x1216
  hrnet-det plan --config-file hrnetv2p_mask_rcnn.yaml --memory 11GB
  hrnet-det check-data mine/
  hrnet-det report output/mine
  hrnet-det replay output/replay/iteration_0000123.pth
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hrnet-det",
        description="HRNetV2p backbones for Detectron2.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hrnet_det {__version__}")
    parser.add_argument("--debug", action="store_true", help=DEBUG)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser(
        "train", help="train or evaluate; options as for train_net.py", add_help=False
    )
    for name, add, text in (
        ("doctor", None, "what is installed here, what is missing, how to get it"),
        ("install-detectron2", _install, "install Detectron2 where it cannot be imported"),
        ("configs", None, "print the names of the shipped configs, one per line"),
        ("checkpoints", _checkpoints, "list the published checkpoints that can be loaded"),
        ("predict", add_predict, "draw the objects of images, and write them as COCO results"),
        ("export", add_export, "write a detector for other programs: ONNX, OpenVINO, TorchScript"),
        ("convert", _convert, "write the tensors of a weights file under another project's names"),
        ("convert-config", _convert_config, "write a config of mmdetection 2 or 3 as one of ours"),
        (
            "benchmark",
            add_benchmark,
            "measure speed and memory, beside timm and in other engines",
        ),
        ("plan", _plan, "how much memory a training takes, and what batch fits"),
        ("check-data", _check_data, "check the images and annotations that a training would use"),
        ("report", _report, "write a page on a run: what it has learnt, what is wrong, what helps"),
        ("replay", _replay, "repeat the batch that a training has diverged with"),
    ):
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.add_argument("--debug", action="store_true", help=DEBUG)  # taken by cli.main
        if add is not None:
            add(added)
    return parser


def _install(parser: argparse.ArgumentParser) -> None:
    parser.description = "Install a pinned Detectron2, unless one can be imported already."
    parser.add_argument(
        "--from",
        dest="spec",
        metavar="SPEC",
        help="install this one instead, whatever is there: anything pip accepts, such as "
        f"{OFFICIAL_SPEC}, a folder or a wheel",
    )


def _checkpoints(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="of the name, data, file or licence, such as htc w32 BDD100K: those that have all",
    )
    parser.add_argument("--json", action="store_true", help="all that is known of them, as JSON")


def _convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="any weights that MODEL.WEIGHTS takes")
    parser.add_argument("destination", help="a new .safetensors or .pth file")
    parser.add_argument(
        "--to",
        default="hrnet_det",
        choices=("hrnet_det", "mmdet", "imagenet"),
        help="whose names: ours, mmdetection's, the classification project's and timm's "
        "(backbone alone) (%(default)s)",
    )
    allow_pickle(parser)


def _convert_config(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a config of mmdetection 2 or 3, of a detector on HRNet, as a config of ours: what "
        "differs from a shipped one, and what has no counterpart here. It is parsed, not run; "
        "mmdetection need not be installed. Exit status: 2 where the detector is none of ours."
    )
    parser.add_argument("config", help="its .py file, beside the _base_ files that it names")
    parser.add_argument("-o", "--output", metavar="FILE", help="a new .yaml file; else it is shown")
    parser.add_argument(
        "--gpus",
        type=count,
        help="that its training has: the batch is of all (as many as its name or rate is for)",
    )
    parser.add_argument(
        "--images",
        type=count,
        help="with objects to train on (COCO's, or those of the json where it is there)",
    )


def _plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", "--config", required=True, help="a file or a shipped one")
    parser.add_argument("--memory", help="what there is, such as 8GB: says the batch that fits")
    parser.add_argument("--size", metavar="HxW", help="of the largest image; by default INPUT's")
    parser.add_argument("--batch", type=count, action="append", help="may be repeated (1, 2, 4, 8)")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="of the config")


def _check_data(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "hrnet-det check-data FOLDER | JSON IMAGES [--test JSON IMAGES] [options]\n"
        "       hrnet-det check-data --config-file CONFIG [--data FOLDER] [options] [KEY VALUE ...]"
    )
    parser.description = (
        "Check all that a training would read: the json, every image (decoded in full), objects "
        "against image size, anchors and limits. Writes report.html, report.json and report.txt. "
        "Exit status: 0 without errors (warnings do not count), 2 with errors in the data, or "
        "where it cannot be checked."
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="FOLDER | JSON IMAGES | KEY VALUE",
        help="a folder as for train --data; or what is trained on; with --config-file, its keys",
    )
    parser.add_argument("--test", nargs=2, metavar=("JSON", "IMAGES"), help="those to test on")
    parser.add_argument(
        "--config-file",
        "--config",
        help="a file or a shipped one, with its datasets; by default custom/faster_rcnn.yaml",
    )
    parser.add_argument("--data", metavar="FOLDER", help="of jsons and images, as for train")
    parser.add_argument("--output", default="output/check-data", help="folder (%(default)s)")
    parser.add_argument("--workers", type=count, help="threads that decode (one for each core)")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="OUTPUT_DIR of a training or evaluation")
    parser.add_argument("--output", metavar="FILE", help="(report.html in RUN)")


def _replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="of OUTPUT_DIR/replay/, as the training's error names it")
    parser.add_argument("--config-file", help="where the file has no config")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")

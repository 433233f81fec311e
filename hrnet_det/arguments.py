"""The arguments of `hrnet-det`, whose subcommands `cli` runs."""

import argparse

from hrnet_det import __version__
from hrnet_det.environment import OFFICIAL_SPEC

EPILOG = """\
examples:
  hrnet-det doctor
  hrnet-det install-detectron2
  hrnet-det configs
  hrnet-det train --config-file hrnetv2p_faster_rcnn.yaml SOLVER.IMS_PER_BATCH 4
  hrnet-det checkpoints
  hrnet-det predict faster_rcnn_hrnetv2p_w18_1x_coco_20200130-56651a6d.pth street.jpg
  hrnet-det convert mask_rcnn.pth mask_rcnn.safetensors
  hrnet-det benchmark --variant w18 --size 512x512 800x1216
  hrnet-det plan --config-file hrnetv2p_mask_rcnn.yaml --memory 11GB
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hrnet-det",
        description="HRNetV2p backbones for Detectron2.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hrnet_det {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("doctor", help="what is installed here, what is missing, how to get it")
    install = commands.add_parser(
        "install-detectron2",
        help="install Detectron2 where it cannot be imported yet",
        description="Install a pinned Detectron2, unless one can be imported already.",
    )
    install.add_argument(
        "--from",
        dest="spec",
        metavar="SPEC",
        help="install this one instead, whatever is there: anything pip accepts, such as "
        f"{OFFICIAL_SPEC}, a folder or a wheel",
    )
    commands.add_parser(
        "train", help="train or evaluate; options as for train_net.py", add_help=False
    )
    commands.add_parser("configs", help="print the names of the shipped configs, one per line")
    commands.add_parser("checkpoints", help="list the published checkpoints that can be loaded")
    predict = commands.add_parser(
        "predict",
        help="detect the objects of images with any weights",
        description="Draw the objects of images, and write them as COCO results.",
    )
    predict.add_argument("weights", help="a file or address: timm and ImageNet files have no heads")
    predict.add_argument("images", nargs="+", help="files, or folders of images")
    predict.add_argument("--output", default="output/predictions", help="folder (%(default)s)")
    predict.add_argument("--score", type=float, default=0.5, help="least one (%(default)s)")
    predict.add_argument("--config-file", help="where the weights do not say what they belong to")
    predict.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    convert = commands.add_parser(
        "convert",
        help="write weights under another project's names",
        description="Write the tensors of a weights file under other names.",
    )
    convert.add_argument("source", help="any weights that MODEL.WEIGHTS takes")
    convert.add_argument("destination", help="a new .safetensors or .pth file")
    convert.add_argument(
        "--to",
        default="hrnet_det",
        choices=("hrnet_det", "mmdet", "imagenet"),
        help="whose names: ours, mmdetection's, the classification project's and timm's "
        "(backbone alone) (%(default)s)",
    )
    _add_measurements(commands)
    for command in (predict, convert):
        command.add_argument(
            "--allow-pickle",
            action="store_true",
            help="permit a file that runs code when it is loaded, if you trust who wrote it",
        )
    return parser


def _add_measurements(commands: argparse._SubParsersAction) -> None:
    benchmark = commands.add_parser(
        "benchmark",
        help="measure speed and memory, beside timm's HRNet",
        description="Time HRNetV2p in its forms, in alternating order in one process, beside the "
        "plain network and timm's with a naive pyramid; write a table, json and a plot.",
    )
    benchmark.add_argument("--variant", nargs="+", default=["w18", "w32"], metavar="W")
    benchmark.add_argument(
        "--part",
        nargs="+",
        default=["pyramid"],
        metavar="PART",
        help="backbone, pyramid (with its backbone), detector (Faster R-CNN) (pyramid)",
    )
    benchmark.add_argument(
        "--mode",
        nargs="+",
        default=["inference"],
        metavar="MODE",
        help="inference, training, 'training with trained norms' (inference)",
    )
    benchmark.add_argument(
        "--size", nargs="+", default=["512x512", "800x1216"], metavar="HxW", help="pixels"
    )
    benchmark.add_argument("--batch", type=int, default=1, help="images at once (%(default)s)")
    benchmark.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    benchmark.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    benchmark.add_argument(
        "--compile", action="store_true", help="torch.compile too, in inference: slow to start"
    )
    benchmark.add_argument("--output", default="output/benchmark", help="folder (%(default)s)")
    plan = commands.add_parser(
        "plan",
        help="how much memory a training takes, and what batch fits",
        description="Predict the memory of training a config, at each level of checkpointing.",
    )
    plan.add_argument("--config-file", "--config", required=True, help="a file or a shipped config")
    plan.add_argument("--memory", help="what there is, such as 8GB: says the batch that fits")
    plan.add_argument("--size", metavar="HxW", help="of the largest image; by default INPUT's")
    plan.add_argument("--batch", type=int, action="append", help="may be repeated (1, 2, 4, 8)")
    plan.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="of the config")

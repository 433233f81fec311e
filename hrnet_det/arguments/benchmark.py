"""The arguments of `hrnet-det benchmark`."""

import argparse

from hrnet_det.arguments.words import count

ENGINES = (
    "what runs the trained network: torch (its optimised form), compile (torch.compile, which "
    "searches for minutes), onnxruntime, openvino (all that are installed, but compile)"
)
PRECISIONS = "float32, bfloat16, int8 (float32 and, where the device computes in it, bfloat16)"


def add_benchmark(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Time HRNetV2p in its forms and engines, in alternating order in one process, beside the "
        "plain network and timm's with a naive pyramid; write tables, json and a plot."
    )
    for option, metavar, default, text in (
        ("--variant", "W", ["w18", "w32"], "widths"),
        ("--part", "PART", ["pyramid"], "backbone, pyramid (with its backbone), detector"),
        ("--mode", "MODE", ["inference"], "inference, training, 'training with trained norms'"),
        ("--size", "HxW", ["512x512", "800x1216"], "pixels; of several, what each costs is fitted"),
    ):
        shown = f"{text} ({' '.join(default)})"
        parser.add_argument(option, nargs="+", default=default, metavar=metavar, help=shown)
    parser.add_argument("--engine", nargs="+", metavar="ENGINE", help=ENGINES)
    parser.add_argument("--precision", nargs="+", metavar="TYPE", help=PRECISIONS)
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="NAME",
        help="resnet50_fpn: Detectron2's own, as it is shipped, beside them",
    )
    parser.add_argument(
        "--layers",
        action="store_true",
        help="each convolution alone, too: what limits the optimised form in float32",
    )
    parser.add_argument("--batch", type=count, default=1, help="images at once (%(default)s)")
    parser.add_argument("--rounds", type=count, default=5, help="(%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--output", default="output/benchmark", help="folder (%(default)s)")

"""The command `hrnet-det`: each subcommand calls one function of the Python API."""

import argparse
import sys
from collections.abc import Callable

from hrnet_det import __version__, doctor, environment, install

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


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the words after `hrnet-det`; None takes the process's own.
    Returns: the exit status.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["train"]:  # not parsed here: all that follows is the trainer's, --help as well
        return _with_detectron2(_train, argv[1:])
    arguments = _parser().parse_args(argv)
    if arguments.command == "doctor":
        return _doctor()
    if arguments.command == "install-detectron2":
        return _install_detectron2(arguments.spec)
    commands = {
        "configs": _configs,
        "checkpoints": _checkpoints,
        "predict": _predict,
        "convert": _convert,
        "benchmark": _benchmark,
        "plan": _plan,
    }
    return _with_detectron2(commands[arguments.command], arguments)


def _parser() -> argparse.ArgumentParser:
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
        f"{environment.OFFICIAL_SPEC}, a folder or a wheel",
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
    benchmark.add_argument(
        "--checkpointing",
        nargs="?",
        const="levels",
        choices=("levels", "parts"),
        help="instead, what each level of activation checkpointing saves and costs, or each part "
        "too: on the CPU, for --part pyramid and --mode training",
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


def _doctor() -> int:
    report, status = doctor.doctor()
    print(report)
    return status


def _install_detectron2(spec: str | None) -> int:
    try:
        print(install.install_detectron2(spec))
    except (RuntimeError, ValueError) as error:
        return _fail(error)
    return 0


def _with_detectron2(run: Callable, arguments: object) -> int:
    """Run a command that needs Detectron2; what the user has to correct is one line."""
    try:
        environment.require_detectron2()
    except ImportError as error:
        return _fail(error)
    from hrnet_det.errors import InputError

    try:
        run(arguments)
    except InputError as error:
        return _fail(error)
    return 0


def _train(argv: list[str]) -> None:
    from hrnet_det.engine import train

    train.main(argv)


def _configs(_: argparse.Namespace) -> None:
    from hrnet_det import model_zoo

    print("\n".join(model_zoo.names()))


def _checkpoints(_: argparse.Namespace) -> None:
    from hrnet_det import model_zoo

    print(model_zoo.checkpoint_table())


def _predict(arguments: argparse.Namespace) -> None:
    from hrnet_det.detector import Detector
    from hrnet_det.predict import predict

    environment.silence_known_warnings()
    detector = Detector.from_pretrained(
        arguments.weights,
        config=arguments.config_file,
        device=arguments.device,
        allow_pickle=arguments.allow_pickle,
    )
    for line in predict(detector, arguments.images, arguments.output, score=arguments.score):
        print(line)
    print(f"drawn and written in {arguments.output}")


def _convert(arguments: argparse.Namespace) -> None:
    from hrnet_det.checkpoint.convert import convert

    print(
        convert(
            arguments.source,
            arguments.destination,
            to=arguments.to,
            allow_pickle=arguments.allow_pickle,
        )
    )


def _benchmark(arguments: argparse.Namespace) -> None:
    from hrnet_det.analysis import Case, benchmark, compare_checkpointing, tables

    environment.silence_known_warnings()
    cases = [
        Case(part, mode, variant, tables.parse_size(size), arguments.batch)
        for part in arguments.part
        for mode in arguments.mode
        for variant in arguments.variant
        for size in arguments.size
    ]
    if arguments.checkpointing:
        for case in cases:
            parts = arguments.checkpointing == "parts"
            rows = compare_checkpointing(case, rounds=arguments.rounds, parts=parts)
            print(f"{tables.title(case)}\n{tables.checkpointing_table(rows)}\n")
        return
    results = benchmark(
        cases, device=arguments.device, rounds=arguments.rounds, compiled=arguments.compile
    )
    print(tables.speed_table(results))
    for path in tables.write(results, arguments.output):
        print(f"written: {path}")


def _plan(arguments: argparse.Namespace) -> None:
    from hrnet_det.analysis import planning, tables
    from hrnet_det.config import settings
    from hrnet_det.config.load import load_run

    run = load_run(arguments.config_file, arguments.overrides)
    size = tables.parse_size(arguments.size) if arguments.size else planning.largest_size(run)
    memory = planning.parse_memory(arguments.memory) if arguments.memory else None
    print(f"{arguments.config_file}, images of {size[0]}x{size[1]} on each GPU (or the CPU)")
    print(
        planning.plan_table(
            planning.plan(run, size),
            memory=memory,
            batches=tuple(arguments.batch or (1, 2, 4, 8)),
            recipe=run[settings.BATCH_SIZE],
        )
    )
    print(
        "Tensors alone: CUDA itself takes some 0.5 to 1 GB more, and images of both orientations "
        "in one batch are padded to a square."
    )


def _fail(error: Exception) -> int:
    """One error, no traceback; status 2 for what the user has to change."""
    print(f"error: {error}", file=sys.stderr)
    return 2 if isinstance(error, ValueError) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The command `hrnet-det`: each subcommand calls one function of the Python API."""

import argparse
import sys

from hrnet_det import __version__, doctor, environment

EPILOG = """\
examples:
  hrnet-det doctor
  hrnet-det install-detectron2
  hrnet-det configs
  hrnet-det train --config-file hrnetv2p_faster_rcnn.yaml SOLVER.IMS_PER_BATCH 4
"""


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the words after `hrnet-det`; None takes the process's own.
    Returns: the exit status.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["train"]:  # not parsed here: all that follows is the trainer's, --help as well
        return _train(argv[1:])
    arguments = _parser().parse_args(argv)
    if arguments.command == "doctor":
        return _doctor()
    if arguments.command == "install-detectron2":
        return _install_detectron2(arguments.spec)
    return _configs()


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
    return parser


def _doctor() -> int:
    report, status = doctor.doctor()
    print(report)
    return status


def _install_detectron2(spec: str | None) -> int:
    try:
        print(environment.install_detectron2(spec))
    except (RuntimeError, ValueError) as error:
        return _fail(error)
    return 0


def _train(argv: list[str]) -> int:
    try:
        environment.require_detectron2()
    except ImportError as error:
        return _fail(error)
    from hrnet_det.engine import train

    train.main(argv)
    return 0


def _configs() -> int:
    try:
        environment.require_detectron2()
    except ImportError as error:
        return _fail(error)
    from hrnet_det import model_zoo

    print("\n".join(model_zoo.names()))
    return 0


def _fail(error: Exception) -> int:
    """One error, no traceback."""
    print(f"hrnet-det: error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

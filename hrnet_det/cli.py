"""The command `hrnet-det`: each subcommand calls one function of the Python API."""

import argparse
import contextlib
import os
import signal
import sys

from hrnet_det import doctor, environment, install
from hrnet_det.arguments import build_parser
from hrnet_det.errors import SetupError, tell
from hrnet_det.outputs import check_folder


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the words after `hrnet-det`; None takes the process's own.
    Returns: the exit status.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    argv = [word for word in words if word != "--debug"]  # wherever it stands
    if argv[:1] == ["train"]:  # not parsed here: all that follows is the trainer's, --help as well
        run, arguments = _train, argv[1:]
    else:
        arguments = build_parser().parse_args(argv)
        run = COMMANDS[arguments.command]
    try:
        if run not in WITHOUT_DETECTRON2:
            _require_detectron2()
        return run(arguments) or 0
    except BrokenPipeError:  # what read the output has ended, as head does
        _forget_output()
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        return tell(error, debug=argv != words)


def _forget_output() -> None:
    """Python would complain at its end of what it cannot write."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _require_detectron2() -> None:
    try:
        environment.require_detectron2()
    except ImportError as error:
        raise SetupError(str(error)) from error


def _doctor(_: argparse.Namespace) -> int:
    report, status = doctor.doctor()
    print(report)
    return status


def _install_detectron2(arguments: argparse.Namespace) -> None:
    print(install.install_detectron2(arguments.spec))


def _train(argv: list[str]) -> None:
    from hrnet_det.engine import train

    train.main(argv)


def _configs(_: argparse.Namespace) -> None:
    from hrnet_det import model_zoo

    print("\n".join(model_zoo.names()))


def _checkpoints(arguments: argparse.Namespace) -> None:
    from hrnet_det import model_zoo

    shown = model_zoo.checkpoint_json if arguments.json else model_zoo.checkpoint_table
    print(shown(arguments.words))


def _predict(arguments: argparse.Namespace) -> int:
    from hrnet_det.config import settings
    from hrnet_det.detector import Detector
    from hrnet_det.predict import check_request
    from hrnet_det.predict.tally import run_plan

    environment.silence_known_warnings()
    plan = check_request(
        arguments.images,
        arguments.output,
        score=arguments.score,
        classes=arguments.classes,
        max_detections=arguments.max_detections,
        crops=arguments.crops,
        coco_json=arguments.coco_json,
        tile=arguments.tile,
        overlap=arguments.overlap,
        merge=arguments.merge,
        every=arguments.every,
    )
    for note in plan.notes:
        print(note)
    detector = Detector.from_pretrained(
        arguments.weights,
        config=arguments.config_file,
        device=arguments.device,
        size=arguments.size,
        pixel_range=arguments.pixel_range,
        max_pixels=arguments.max_pixels,
        allow_pickle=arguments.allow_pickle,
    )
    on_gpu = str(detector.run[settings.DEVICE]).startswith("cuda")
    return run_plan(detector, plan, batch=arguments.batch or (8 if on_gpu else 1))


def _export(arguments: argparse.Namespace) -> None:
    from hrnet_det.detector import Detector
    from hrnet_det.export import ExportOptions

    environment.silence_known_warnings()
    options = {name: vars(arguments)[name] for name in ExportOptions.__dataclass_fields__}
    ExportOptions(**options).check_path(arguments.out)  # before weights are read
    words = {"config": arguments.config_file, "allow_pickle": arguments.allow_pickle}
    detector = Detector.from_pretrained(arguments.weights, device="cpu", to_export=True, **words)
    print(detector.export(arguments.out, **options))


def _convert(arguments: argparse.Namespace) -> None:
    from hrnet_det.checkpoint.convert import convert

    words = (arguments.source, arguments.destination)
    print(convert(*words, to=arguments.to, allow_pickle=arguments.allow_pickle))


def _convert_config(arguments: argparse.Namespace) -> None:
    from hrnet_det.convert_config import convert_config, write_config

    environment.silence_known_warnings()
    options = {"gpus": arguments.gpus, "images": arguments.images}
    if arguments.output is None:
        print(convert_config(arguments.config, **options).text, end="")
    else:
        print(write_config(arguments.config, arguments.output, **options))


def _benchmark(arguments: argparse.Namespace) -> None:
    from hrnet_det.analysis import benchmark, cases_of, tables

    environment.silence_known_warnings()
    _check_output(arguments)
    sizes = [tables.parse_size(size) for size in arguments.size]
    words = (arguments.part, arguments.mode, arguments.variant, sizes)
    trained = "inference" not in arguments.mode
    results = benchmark(
        cases_of(*words, batch=arguments.batch),
        device=arguments.device,
        rounds=arguments.rounds,
        engines=["torch"] if trained and not arguments.engine else arguments.engine,
        precisions=arguments.precision,
        against=arguments.against,
        layers=arguments.layers,
    )
    print(tables.speed_table(results))
    for path in tables.write(results, arguments.output):
        print(f"written: {path}")


def _plan(arguments: argparse.Namespace) -> None:
    from hrnet_det.analysis import planning, tables
    from hrnet_det.config import settings
    from hrnet_det.config.load import load_run

    run = load_run(arguments.config_file, arguments.overrides)
    given = tables.parse_size(arguments.size) if arguments.size else planning.largest_size(run)
    size = planning.padded(given)
    memory = planning.parse_memory(arguments.memory) if arguments.memory else None
    batches, recipe = tuple(arguments.batch or (1, 2, 4, 8)), run[settings.BATCH_SIZE]
    planning.check_batches(batches)
    plans = planning.plan(run, size)
    if size != given:
        print(f"Images of {given[0]}x{given[1]} are padded to multiples of 32.")
    print(f"{arguments.config_file}, images of {size[0]}x{size[1]} on each GPU (or the CPU)")
    print(planning.plan_table(plans, memory=memory, batches=batches, recipe=recipe))
    print(planning.TENSORS_ALONE)


def _check_data(arguments: argparse.Namespace) -> int:
    from hrnet_det import check_data
    from hrnet_det.check_data.sources import load
    from hrnet_det.check_data.text import as_text

    environment.silence_known_warnings()
    _check_output(arguments)
    run = load(
        arguments.config_file,
        arguments.words,
        data=arguments.data,
        test=arguments.test,
        output=arguments.output,
    )
    report = check_data.check(run, workers=arguments.workers, progress=sys.stderr.isatty())
    print(as_text(report))
    for path in check_data.write(report, arguments.output):
        print(f"written: {path}")
    return 2 if report.of("error") else 0


def _check_output(arguments: argparse.Namespace) -> None:
    """Raises: InputError before the work is done whose results could not be written."""
    shown = f"--output {arguments.output}"
    check_folder(arguments.output, shown=shown, advice="give another folder")


def _report(arguments: argparse.Namespace) -> None:
    from hrnet_det.report.page import write_page

    environment.silence_known_warnings()
    print(f"written: {write_page(arguments.run, arguments.output)}")


def _replay(arguments: argparse.Namespace) -> None:
    from hrnet_det.engine.replay import replay

    environment.silence_known_warnings()
    print(replay(arguments.file, config=arguments.config_file, device=arguments.device))


WITHOUT_DETECTRON2 = (_doctor, _install_detectron2)
COMMANDS = {
    "doctor": _doctor,
    "install-detectron2": _install_detectron2,
    "configs": _configs,
    "checkpoints": _checkpoints,
    "predict": _predict,
    "export": _export,
    "convert": _convert,
    "convert-config": _convert_config,
    "benchmark": _benchmark,
    "plan": _plan,
    "check-data": _check_data,
    "report": _report,
    "replay": _replay,
}

if __name__ == "__main__":
    sys.exit(main())

"""From weights to a file that has been run again and compared."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, ModuleType

from torch import nn

from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.export.checking import check
from hrnet_det.export.formats import Engine
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.metadata import metadata_of
from hrnet_det.export.options import ExportOptions, check_form_to_export
from hrnet_det.export.verify import DifferenceError
from hrnet_det.modeling.inference.borrowed import borrowed
from hrnet_det.modeling.kinds import kind_of


@dataclass(frozen=True)
class Exported:
    """A file that has been written.

    Args:
        path: of the file.
        metadata: what it says of itself; "check" under "export" is how it differs from PyTorch.
        size: bytes, of all that was written.
    """

    path: Path
    metadata: dict
    size: int = 0

    def __str__(self) -> str:
        """What was written, and what can be done with it next."""
        made = self.metadata["export"]
        precision, file = made["precision"], shlex.quote(str(self.path))
        lines = [f"written: {self.path} ({self.size / 1e6:.1f} MB, {precision})"]
        if made["format"] == "tensorrt-onnx":
            strong = " --stronglyTyped" * (precision == "float16")
            engine = shlex.quote(str(self.path.with_suffix(".engine")))
            lines += [
                "TensorRT itself has not been run; next, where it is:",
                f"  trtexec --onnx={file} --saveEngine={engine}{strong}",
            ]
        if made["part"] == "detector":
            lines += [
                "next:" if len(lines) == 1 else "and anywhere:",
                f"  hrnet-det predict {file} IMAGES",
                f"  hrnet-det train --config-file CONFIG --eval-only MODEL.WEIGHTS {file}",
                f'  Detector.from_pretrained("{self.path}")  # in Python',
            ]
        return "\n".join(lines)


def export(
    model: nn.Module,
    run: RunConfig,
    class_names: Sequence[str],
    path: str | Path,
    options: ExportOptions,
    *,
    data: Mapping = MappingProxyType({}),
    say: Callable[[str], object] = print,
) -> Exported:
    """Write a detector, run the file, and compare it with the detector.

    Args:
        model: in evaluation mode; it may be optimised.
        data: what its weights say of the images that they were trained on.
        say: told what is decided, and the differences.
    Raises: InputError if the format cannot hold it, what was written does not compute the same, or
        it cannot be written; then no file is left under that name.
    """
    path = options.check_path(path)
    check_form_to_export(run, model.pixel_mean.device)
    options, notes = options.for_run(run)
    work = _Work(model, run, tuple(class_names), options.row.load(), data, say)
    for note in notes:
        say(note)
    say(f"writing {path}: {_described(run, options)}; then it is run and compared")
    with staged(path) as aside:
        try:
            metadata = work.whole(aside, options)
        except DifferenceError as error:
            raise InputError(f"{path} is not written: {error}") from error
        size = sum(file.stat().st_size for file in aside.parent.iterdir())
    return Exported(path, metadata, size)


def _described(run: RunConfig, options: ExportOptions) -> str:
    what = kind_of(run).title
    what = f"the backbone of {what}" if options.part == "backbone" else what
    words = [f"{what} as {options.row.title}", options.precision]
    if options.part == "detector":
        words.append(f"processing {options.processing}")
    words.append("images of " + ("x".join(map(str, options.size)) if options.size else "any size"))
    return ", ".join(words)


@dataclass(frozen=True)
class _Work:
    """What `export` does, for one detector and one format's module."""

    model: nn.Module
    run: RunConfig
    class_names: Sequence[str]
    module: ModuleType
    data: Mapping
    say: Callable[[str], object]

    def whole(self, to: Path, options: ExportOptions) -> dict:
        """Write and check a file. Returns: its metadata."""
        if options.precision != "int8":
            return self.checked(to, options, *self.write(to, options))
        from hrnet_det.export.quantize import quantize

        self.whole(to, replace(options, precision="float32"))  # which int8 is made of
        metadata = self.metadata(options)
        metadata["export"]["int8"] = quantize(self.run, to, options, metadata, self.say)
        return self.checked(to, options, self.module.open_file(to), metadata)

    def metadata(self, options: ExportOptions) -> dict:
        with borrowed(self.model, options.of_model()):
            graph = DetectorGraph(self.model, self.run, options)
            return metadata_of(graph, self.run, self.class_names, self.data, options)

    def write(self, to: Path, options: ExportOptions) -> tuple[Engine, dict]:
        metadata = self.metadata(options)
        with borrowed(self.model, options.of_model()), quiet():
            graph = DetectorGraph(self.model, self.run, options).eval()
            self.module.write(graph, to, options, metadata)
            return self.module.open_file(to), metadata

    def checked(self, to: Path, options: ExportOptions, engine: Engine, metadata: dict) -> dict:
        """Compare a file with PyTorch, and write into it how it differs."""
        found = check(self.model, self.run, options, engine, self.again(to.name), self.say)
        metadata["export"]["check"] = found
        self.module.label(to, metadata)
        return metadata

    def again(self, name: str) -> Callable[[ExportOptions], AbstractContextManager[Engine]]:
        """What writes the detector with other options for a while."""

        @contextlib.contextmanager
        def written(options: ExportOptions) -> Iterator[Engine]:
            with tempfile.TemporaryDirectory() as folder:
                yield self.write(Path(folder, name), options)[0]

        return written


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within, torch says nothing of its tracing: what it may get wrong is found by the check."""
    logger = logging.getLogger("torch.fx._symbolic_trace")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yields a path of the same name in a folder of its own, whose files are then moved beside it.

    Where an error, Ctrl-C or SIGTERM ends it, nothing is left, and what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _terminated():
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield folder / path.name
            written = sorted(folder.iterdir(), key=lambda file: file.name == path.name)
            for file in written:  # the file itself last: what it needs is then there
                os.replace(file, path.parent / file.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Within, SIGTERM raises SystemExit, unless somebody else has a use for it."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

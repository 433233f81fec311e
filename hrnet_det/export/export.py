"""From weights to a file that has been run again and compared."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.export.checking import check
from hrnet_det.export.formats import Engine
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.metadata import metadata_of
from hrnet_det.export.options import ExportOptions, check_form_to_export
from hrnet_det.modeling.inference.borrowed import borrowed


@dataclass(frozen=True)
class Exported:
    """A file that has been written.

    Args:
        path: of the file.
        metadata: what it says of itself; ["export"]["check"]: how it differs from PyTorch.
        size: bytes, of all that was written.
    """

    path: Path
    metadata: dict
    size: int = 0

    def __str__(self) -> str:
        """What was written, and what can be done with it next."""
        made = self.metadata["export"]
        lines = [f"written: {self.path} ({self.size / 1e6:.1f} MB, {made['precision']})"]
        if made["part"] == "detector":
            lines += [
                "next:",
                f"  hrnet-det predict {self.path} IMAGES",
                f"  hrnet-det train --config-file CONFIG --eval-only MODEL.WEIGHTS {self.path}",
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
    data: Mapping = {},
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
    check_form_to_export(run)
    options, notes = options.for_run(run)
    module = options.row.load()
    for note in notes:
        say(note)

    def write(to: Path, options: ExportOptions) -> tuple[Engine, dict]:
        with borrowed(model, options.of_model()):
            graph = DetectorGraph(model, run, options).eval()
            metadata = metadata_of(graph, run, class_names, data, options)
            module.write(graph, to, options, metadata)
        return module.open_file(to), metadata

    @contextlib.contextmanager
    def again(other: ExportOptions) -> Iterator[Engine]:
        with tempfile.TemporaryDirectory() as folder:
            yield write(Path(folder, path.name), other)[0]

    with staged(path) as aside:
        engine, metadata = write(aside, options)
        try:
            metadata["export"]["check"] = check(model, run, options, engine, again, say)
        except InputError as error:
            raise InputError(
                f"{path} is not written, as it does not compute what PyTorch does:{error}"
            ) from error
        module.label(aside, metadata)
    size = sum(file.stat().st_size for file in files_of(path))
    return Exported(path, metadata, size)


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yields a path of the same name in a folder of its own, whose files are then moved beside it.

    Where an error ends it, nothing is left, and what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder / path.name
        written = sorted(folder.iterdir(), key=lambda file: file.name == path.name)
        for file in written:  # the file itself last: what it needs is then there
            os.replace(file, path.parent / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def files_of(path: Path) -> list[Path]:
    """A file and those that belong to it."""
    others = (path.with_suffix(".bin"), path.with_name(path.name + ".data"))
    return [path, *(other for other in others if other.is_file())]

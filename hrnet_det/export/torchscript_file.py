"""TorchScript files, and how torch runs them."""

from __future__ import annotations

import io
import json
import tokenize
import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  whose operators are the files'
from torch import Tensor, nn

from hrnet_det.errors import InputError
from hrnet_det.export.archive import EXTRA, Archive, rewrite, save
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions

REASON = 200  # characters of what torch says
UNREADABLE = (RuntimeError, ValueError, SyntaxError, tokenize.TokenError)  # of a damaged file
# Of the language of these files: what reads or writes a file, and what is run while it is loaded.
_REFUSED = {"save", "from_file", "__setstate__"}
_PACKAGES = {"prim", "torchvision"}  # of operators, ops.PACKAGE.NAME; torch.NAME are torch's own


class Named(nn.Module):
    """A graph that gives its outputs by name, as the file does."""

    def __init__(self, graph: DetectorGraph) -> None:
        super().__init__()
        self.detector = graph

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.detector.outputs, self.detector(image), strict=True))


def write(graph: DetectorGraph, path: Path, options: ExportOptions, metadata: dict) -> None:
    """Write a detector, as a function of one tensor that gives a dictionary of tensors.

    Its metadata is the JSON of the extra file hrnet_det.json. It runs where torch and torchvision
    are, without Detectron2 and this package, and in C++.
    """
    with torch.no_grad():
        traced = torch.jit.trace(Named(graph), (graph.example(),), strict=False, check_trace=False)
    save(path, lambda content: torch.jit.save(traced, content))
    label(path, metadata)


def label(path: Path, metadata: dict) -> None:
    """Give a file other metadata. The lines of the program that it was traced from are left out."""
    rewrite(path, {EXTRA: json.dumps(metadata).encode()}, left_out=_of_tracing)


def _of_tracing(name: str) -> bool:
    return name.endswith(".debug_pkl") or name.startswith("traced_inputs")


class TorchScriptEngine:
    """A file as a function: named arrays in, named arrays out.

    torch.jit.load makes no Python objects, but the program in a file could write to other files,
    some of it (`__setstate__`) already while it is loaded: such a file is refused.

    Raises: InputError of such a file; RuntimeError of one that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"TorchScript of torch {torch.__version__.split('+')[0]}"
        archive = Archive(path)
        check_program(path, archive)
        self.metadata = json.loads(archive[EXTRA]) if EXTRA in archive.names else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # that torch.jit will be gone one day
            self.module = torch.jit.load(str(path), map_location="cpu").eval()

    def __call__(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return called(self.module, arrays)


def called(module: nn.Module, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a module of one input gives.

    Raises: InputError if it cannot compute it.
    """
    ((name, array),) = arrays.items()
    try:
        with torch.inference_mode():
            return {key: x.numpy() for key, x in module(torch.from_numpy(array)).items()}
    except (RuntimeError, AssertionError) as error:  # AssertionError: of torch.export's guards
        reason = (str(error).strip().splitlines() or [""])[-1][:REASON]
        raise InputError(
            f"the file does not take {name} of the shape {list(array.shape)} ({reason}): give "
            "larger ones, or of the size and batch that it was exported for"
        ) from error


open_file = TorchScriptEngine


def check_program(path: Path, archive: Archive) -> None:
    """Raises: InputError if the program in a file does more than compute."""
    for name in archive.names:
        if not name.lower().startswith("code/") or name.endswith(".debug_pkl"):
            continue  # torch finds records by their names in any case
        words = _words(archive[name].decode())
        refused = [word for word in words if word in _REFUSED]
        for word, following in zip(words, [*words[1:], ""], strict=True):
            foreign = word == "ops" and following not in _PACKAGES
            if foreign or (word, following) == ("torch", "classes"):
                refused.append(f"{word}.{following}")
        if refused:
            raise InputError(
                f"{path}: its program uses {refused[0]!r}, by which a TorchScript file can write "
                "to other files; none that hrnet-det export writes does. It is not opened"
            )


def _words(program: str) -> list[str]:
    """The names in a program in their order; it has the syntax of Python."""
    tokens = tokenize.generate_tokens(io.StringIO(program).readline)
    return [token.string for token in tokens if token.type == tokenize.NAME]

"""Weights files as data: read without running what they hold."""

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrnet_det.checkpoint.addresses import SECOND_SET, split_set
from hrnet_det.checkpoint.integrity import check_digest, check_zip
from hrnet_det.checkpoint.signatures import kind_of_file
from hrnet_det.checkpoint.wrappers import (
    FIRST_SET,
    KEYS,
    SECOND_KEY,
    TWO_SETS,
    unwrap,
    without_second,
)
from hrnet_det.errors import InputError

# What torch.load raises for files that are no, or only the beginning of, a file of torch.save.
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    OSError,
    struct.error,
)
# Whose objects may lie beside the tensors: they are left out instead of being made.
_BYSTANDERS = ("mmengine.", "mmcv.", "mmdet.", "numpy.", "builtins.getattr")
METADATA_KEY = "hrnet_det"


@dataclass
class WeightsFile:
    """The tensors of a file, and what lies beside them."""

    path: str
    weights: dict[str, Tensor]  # by the file's own names, without wrappers as `module.`
    rest: dict[str, Any]  # the other entries of a checkpoint: iteration, optimizer, meta, ...
    left_out: list[str]  # kinds of Python objects that were not made
    # Names of tensors that other tools leave beside those of a detector, by the reason to do so.
    leftovers: dict[str, list[str]] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, Any]:
        """What hrnet_det wrote of itself: source format, classes, config."""
        return _dictionary(self.rest, METADATA_KEY)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that the file was trained for; empty if it does not say."""
        meta = _dictionary(self.rest, "meta")
        dataset = _dictionary(meta, "dataset_meta")
        of_mmdetection = (meta.get("CLASSES"), dataset.get("classes"), dataset.get("CLASSES"))
        for names in (self.metadata.get("classes"), *of_mmdetection):
            names = [names] if isinstance(names, str) else names
            is_list = isinstance(names, (list, tuple)) and len(names) > 0
            if is_list and all(isinstance(name, str) for name in names):
                return list(names)
        return []


def _dictionary(content: dict[str, Any], key: str) -> dict[str, Any]:
    """What stands under a key if it is a dictionary, otherwise an empty one."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def read_weights(path: str | Path, *, allow_pickle: bool = False) -> WeightsFile:
    """Read a file's tensors; what it is, is told by its content, not by its name.

    Args:
        path: a file of torch.save, of safetensors, or a pickle of arrays; with SECOND_SET at its
            end, the second set of parameters of a file that has two.
        allow_pickle: make the Python objects that the file holds, whatever they run.
    Raises: InputError if it cannot be read as tensors, or only with the permission to unpickle, or
        if it is not what was written: its checksums are compared; or if there is no second set.
    """
    named, (file_name, second) = str(path), split_set(str(path))
    path, left_out = Path(file_name), []
    if kind := kind_of_file(path):
        raise InputError(
            f"{path} is not a file of weights but {kind}: name a .pth, .pkl or .safetensors file"
        )
    with path.open("rb") as file:
        start = file.read(9)
    is_pickle = start.startswith((b"PK", b"\x80"))  # a zip file of torch.save, or bare
    if start[8:] == b"{" or (path.suffix == ".safetensors" and not is_pickle):
        content = _read_safetensors(path)
    else:
        check_zip(path)
        content, left_out = (_unpickle(path), []) if allow_pickle else _read_torch(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} has no dictionary of tensors, but a {type(content).__name__}")
    given, rest, keys = content, {}, (SECOND_KEY, *KEYS) if second else KEYS
    while key := next((key for key in keys if isinstance(given.get(key), dict)), None):
        rest |= {k: v for k, v in given.items() if k != key}
        second = second and key != SECOND_KEY
        given = given[key]
    weights = {n: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for n, v in given.items()}
    wrong = [n for n, v in weights.items() if not isinstance(n, str) or not torch.is_tensor(v)]
    if not weights:
        raise InputError(f"{path} is a state_dict without a tensor")
    if wrong:
        objects = f"; objects of {some(left_out)} are not made without --allow-pickle"
        raise InputError(
            f"{path} is no state_dict: {len(wrong)} of its {len(weights)} entries are no "
            f"named tensors ({some(map(str, wrong))}){objects if left_out else ''}"
        )
    weights, leftovers = unwrap(weights, second=second)
    if second and FIRST_SET not in leftovers:
        raise InputError(
            f"{named}: the file has one set of parameters, no second one as EMA hooks of "
            f"mmdetection keep it (ema_..., {SECOND_KEY}): leave {SECOND_SET} away"
        )
    if second and (lost := without_second(weights, leftovers[FIRST_SET])):
        raise InputError(
            f"{named}: {len(lost)} of {len(weights)} tensors are not in the second set "
            f"({some(lost)}): the file is damaged; leave {SECOND_SET} away for the first set"
        )
    if beside := list(_dictionary(rest, SECOND_KEY)):
        leftovers[TWO_SETS] = beside
    return WeightsFile(named, weights, rest, left_out, leftovers)


def _read_safetensors(path: Path) -> dict[str, Any]:
    """The content in the form of a torch.save file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            written = (file.metadata() or {}).get(METADATA_KEY)
        own = {} if written is None else {METADATA_KEY: json.loads(written)}
    except SafetensorError as error:
        raise InputError(f"{path} is no whole safetensors file: {error}") from error
    except ValueError as error:
        message = f"{path}: its header's {METADATA_KEY} is not valid JSON: {error}"
        raise InputError(message) from error
    check_digest(path, weights, _dictionary(own, METADATA_KEY))
    return {"model": weights, **own}


def _read_torch(path: Path) -> tuple[Any, list[str]]:
    """The content of a file of torch.save, and the kinds of objects that were left out of it."""
    left_out: dict[str, type] = {}
    while True:
        stand_ins = [(stand_in, kind) for kind, stand_in in left_out.items()]
        try:
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(path, map_location="cpu", weights_only=True), list(left_out)
        except _UNREADABLE as error:
            refused = error
        code = re.search(r"GLOBAL (\S+)", str(refused))
        kind = code[1] if code else ""
        if kind and "." not in kind:  # torch leaves this part out in its message
            kind = f"builtins.{kind}"
        if not kind.startswith(_BYSTANDERS) or kind in left_out:
            break
        left_out[kind] = type("LeftOut", (_LeftOut,), {})
    reason = f"it holds {kind}, which is no tensor" if kind else "damaged, or a pickle of its own"
    raise InputError(
        f"{path} cannot be read as plain tensors: {reason}. Files that run code when they are "
        "unpickled are not loaded. Fetch a damaged file again; of another one save the "
        "state_dict alone, with torch.save as .pth, or as .safetensors. If you trust where it "
        "comes from: MODEL.WEIGHTS_ALLOW_PICKLE True, --allow-pickle, or in Python "
        "allow_pickle=True"
    ) from refused


class _LeftOut:
    """Takes the place of an object beside the weights, and does nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def _unpickle(path: Path) -> Any:
    """The content with all its objects: whoever wrote the file decides what runs here."""
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                content = pickle.load(file, encoding="latin1")
            if not isinstance(content, int):  # the magic number of torch.save before 1.6
                return content
        return torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{path} holds objects that cannot be made here: {error}") from error
    except _UNREADABLE as error:
        raise InputError(f"{path} is damaged, or no file of weights: {error}") from error


def some(names: Iterable[str]) -> str:
    """The first three of many names, for a message."""
    names = list(names)
    shown = names[:3] + (["..."] if len(names) > 3 else [])
    return ", ".join(shown) or "none"

"""What a file of torch.export may hold, before torch reads it.

torch.export.load unpickles what is marked as pickled, evaluates the sizes of tensors as expressions
of Python, calls whatever function of torch a step names, and makes the names of inputs a part of a
program that it runs: a file could be any program. A file with nothing but tensors, operators and
plain names is none.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from hrnet_det.errors import InputError
from hrnet_det.export.archive import EXTRA, Archive

PROGRAM, SAMPLE = "models/model.json", "data/sample_inputs/model.pt"
_CONFIGS = tuple(f"data/{part}s/model_{part}s_config.json" for part in ("weight", "constant"))
_RECORDS = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|archive_format|archive_version|byteorder"
    r"|version|\.data/(version|serialization_id)"
)
_WORD = re.compile(r"[\w.+-]*")
_ALL = re.compile(r".*", re.DOTALL)
_FUNCTION = (
    "Symbol|Integer|Float|Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|IntTrueDiv|FloatTrueDiv|CleanDiv"
    "|CeilToInt|FloorToInt|TruncToInt|RoundToInt|ToFloat|Equality|Unequality|GreaterThan|LessThan"
    "|StrictGreaterThan|StrictLessThan|integer|positive|nonnegative|precision|True"
)
# What strings of a program may be, by the names of their fields; the others are words.
_RULES = {
    "target": re.compile(
        r"torch\.ops\.(aten|torchvision)\.(?!(save|from_file)\.)\w+\.\w+"
        r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pos|eq|ne|ge|gt|le|lt|getitem|and_|or_)"
        r"|torch\.sym_\w+|math\.(ceil|floor|trunc)"
    ),
    "expr_str": re.compile(rf"(\b({_FUNCTION})\b|'[a-z]+\d+'|'[\d.e+-]+'|-?[\d.]+|[(),= ])*"),
    "in_spec": re.compile(r'([\w\[\]{}:," \\]|builtins\.(tuple|list|dict)\b)*'),
    "as_string": _ALL,  # of operators, of which none is left that takes a name of a file
}
_RULES["out_spec"] = _RULES["in_spec"]
# Fields that a file has for objects and programs, which are left empty.
_EMPTY = {"metadata", "guards_code", "custom_obj_values", "treespec_namedtuple_fields"}
_REFUSED = {"as_custom_obj", "as_operator", "as_graph"}


def check(path: Path, archive: Archive) -> None:
    """Raises: InputError if a file could do more than compute."""
    known = {PROGRAM, SAMPLE, EXTRA, *_CONFIGS}
    for name in archive.names:
        if name not in known and not _RECORDS.fullmatch(name):
            _refuse(path, f"a record {name!r}")
    if archive[SAMPLE]:
        _refuse(path, "pickled inputs")
    for name in _CONFIGS:
        for tensor in json.loads(archive[name])["config"].values():
            if tensor["use_pickle"] or tensor["path_name"].split("_")[0] not in (
                "weight",
                "tensor",
            ):
                _refuse(path, "pickled tensors")
    _check_value(path, json.loads(archive[PROGRAM]), "")


def _check_value(path: Path, value: object, field: str) -> None:
    """Look at each string in a nest of lists and dictionaries; field: the name of its place."""
    if field in _REFUSED or (field in _EMPTY and value):
        _refuse(path, f"{field} {str(value)[:60]!r}")
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_value(path, name, "")
            _check_value(path, inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check_value(path, inner, field)
    elif isinstance(value, str) and not _RULES.get(field, _WORD).fullmatch(value):
        _refuse(path, f"{field or 'name'} {value[:60]!r}")


def _refuse(path: Path, what: str) -> None:
    raise InputError(
        f"{path}: it has {what}, by which a file of torch.export can run any program; none that "
        "hrnet-det export writes has. It is not opened"
    )


def plain(program: bytes) -> bytes:
    """A program without the lines of Python that its steps come from."""
    content = json.loads(program)
    for step in content["graph_module"]["graph"]["nodes"]:
        step["metadata"] = {}
    return json.dumps(content, separators=(",", ":")).encode()

"""SECURITY.md: each promise is tested by tests that are there, and the first one for all code."""

import ast
import re
from pathlib import Path

import pytest

import hrnet_det
from hrnet_det.config.load import load_run
from hrnet_det.engine.job import Job
from hrnet_det.engine.preflight import check_pickles
from hrnet_det.errors import InputError

PACKAGE = Path(hrnet_det.__file__).parent
ROOT = PACKAGE.parent
PROMISES = re.findall(
    r"^\| (?!Promise|---)(.+?) \| (.+) \|$", (ROOT / "SECURITY.md").read_text(), re.M
)
# Calls that run what a file says, and where they may be: behind allow_pickle.
LOADERS = {"load", "loads", "Unpickler", "read_pickle", "unsafe_load", "full_load"}


def test_each_promise_is_tested():
    assert len(PROMISES) == 8
    for promise, tests in PROMISES:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert named, promise
        for file, name in named:
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.M), name


def calls():
    """(file, function, what is called, keywords) of each call in the package."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if not isinstance(function, (ast.FunctionDef, ast.Module)):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    options = {k.arg: ast.unparse(k.value) for k in node.keywords}
                    name = file.relative_to(PACKAGE).as_posix()
                    yield name, getattr(function, "name", ""), ast.unparse(node.func), options


def test_nothing_else_unpickles():
    """torch.load is called with weights_only, pickle where the user has permitted it, no other."""
    found = set()
    for file, function, called, options in calls():
        module, _, name = called.rpartition(".")
        if called == "torch.load" and options.get("weights_only") == "True":
            continue
        if name in LOADERS and module in ("torch", "pickle", "np", "numpy", "joblib", "dill"):
            found.add((file, function, called))
        if called in ("eval", "exec"):
            found.add((file, function, called))
        if module == "yaml" and name in LOADERS and "Loader" not in options:
            found.add((file, function, called))
    inside = {row for row in found if row[1]}
    assert inside == {
        ("checkpoint/io.py", "_unpickle", "pickle.load"),
        ("checkpoint/io.py", "_unpickle", "torch.load"),
    }
    assert {(file, called) for file, _, called in found} == {(f, c) for f, _, c in inside}
    unqualified = r"(?m)^\s*from (pickle|dill|joblib|marshal|shelve) import"
    assert not [file for file in PACKAGE.rglob("*.py") if re.search(unqualified, file.read_text())]
    permitted = re.findall(r"\b_unpickle\(path\).*", (PACKAGE / "checkpoint/io.py").read_text())
    assert permitted == ["_unpickle(path), []) if allow_pickle else _read_torch(path)"]


def test_the_loader_of_yaml_makes_no_objects():
    from yaml import SafeLoader

    from hrnet_det.config.yaml_files import _Loader

    assert issubclass(_Loader, SafeLoader)


def test_proposals_are_pickles():
    run = load_run("quickstart/faster_rcnn", ["MODEL.LOAD_PROPOSALS", "True"])
    with pytest.raises(InputError, match=r"MODEL.LOAD_PROPOSALS True: files of proposals are pick"):
        check_pickles(Job(run))
    permitted = load_run(
        "quickstart/faster_rcnn",
        ["MODEL.LOAD_PROPOSALS", "True", "MODEL.WEIGHTS_ALLOW_PICKLE", "True"],
    )
    check_pickles(Job(permitted))
    check_pickles(Job(load_run("quickstart/faster_rcnn", [])))

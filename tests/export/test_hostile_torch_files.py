"""Files of torch that could run other programs are not opened."""

import json
import pickle
import re

import pytest
import torch
from torch import Tensor, nn

from hrnet_det.errors import InputError
from hrnet_det.export import torch_export_file, torchscript_file
from hrnet_det.export.archive import Archive, rewrite
from hrnet_det.export.exported_program import PROGRAM, SAMPLE


class Writer(nn.Module):
    """Writes to a file of its own while it is loaded."""

    @torch.jit.export
    def __getstate__(self):
        return torch.ones(1), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]):
        torch.save(state[0], "written")
        self.training = state[1]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"x": x}


def test_a_torchscript_file_that_writes_files_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.torchscript"
    torch.jit.save(torch.jit.script(Writer()), str(path))
    torch.jit.load(str(path))
    assert (tmp_path / "written").is_file(), "torch refuses it itself"
    (tmp_path / "written").unlink()
    with pytest.raises(InputError, match="its program uses '__setstate__'"):
        torchscript_file.open_file(path)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("a = torch\n    a.save(x, 'written')", "save"),
        ("ops.image.write_file('written', x)", "ops.image"),
        ("y = __torch__.torch.classes.a.B()", "torch.classes"),
    ],
)
def test_other_ways_to_write_files(line, word, tmp_path):
    path = tmp_path / "file.torchscript"
    torch.jit.save(torch.jit.trace(nn.ReLU(), torch.ones(1)), str(path))
    code = f"def f(x):\n    {line}\n    return x\n".encode()
    rewrite(path, {"code/__torch__/other.py": code})
    with pytest.raises(InputError, match=f"its program uses '{word}'"):
        torchscript_file.open_file(path)


def small_program(path):
    """A file of torch.export that is opened, and its program."""
    ones = torch.ones(2, 3)
    dynamic = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(nn.ReLU(), (ones,), dynamic_shapes=(dynamic,))
    torch.export.save(program, str(path))
    torch_export_file.label(path, {"title": "ReLU"})
    assert torch_export_file.open_file(path).metadata == {"title": "ReLU"}
    return json.loads(Archive(path)[PROGRAM])


def set_target(program):
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.system"


def set_size(program):
    values = program["graph_module"]["graph"]["tensor_values"]
    size = next(s for value in values.values() for s in value["sizes"] if "as_expr" in s)
    size["as_expr"]["expr_str"] = "__import__('os').system('true')"


def set_name(program):
    program["graph_module"]["graph"]["inputs"][0]["as_tensor"]["name"] = "x=print(1)"


def set_guards(program):
    program["guards_code"] = ["__import__('os').system('true')"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (set_target, "target 'torch.os.system'"),
        (set_size, 'expr_str "__import__'),
        (set_name, "name 'x=print"),
        (set_guards, "guards_code"),
    ],
)
def test_a_torch_export_file_that_runs_other_programs_is_not_opened(change, what, tmp_path):
    path = tmp_path / "file.pt2"
    program = small_program(path)
    change(program)
    rewrite(path, {PROGRAM: json.dumps(program).encode()})
    with pytest.raises(InputError, match=re.escape(what)):
        torch_export_file.open_file(path)


@pytest.mark.parametrize(
    ("record", "what"),
    [
        (SAMPLE, "pickled inputs"),
        ("data/aotinductor/model/a.so", "a record 'data/aotinductor/model/a.so'"),
        ("data/constants/opaque_obj_0", "a record 'data/constants/opaque_obj_0'"),
    ],
)
def test_nor_one_with_records_of_other_kinds(record, what, tmp_path):
    path = tmp_path / "file.pt2"
    small_program(path)
    rewrite(path, {record: pickle.dumps(print)})
    with pytest.raises(InputError, match=what):
        torch_export_file.open_file(path)


def test_nor_one_whose_weights_are_pickled(tmp_path):
    path = tmp_path / "file.pt2"
    small_program(path)
    tensor = {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}
    config = json.dumps({"config": {"a": tensor}}).encode()
    rewrite(path, {"data/weights/model_weights_config.json": config})
    with pytest.raises(InputError, match="pickled tensors"):
        torch_export_file.open_file(path)

"""How weights files are found and read, and what of them is refused."""

import json
import os
import pickle
import sys
import types
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hrnet_det.checkpoint.addresses import OPEN_MMLAB, find_weights
from hrnet_det.checkpoint.convert import convert
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.errors import InputError, MissingInputError

# --- files ---

WEIGHTS = {"conv1.weight": torch.arange(4.0), "bn1.num_batches_tracked": torch.tensor(7)}


def write(path, content):
    """A file of the format that its name ends in; "old.pth": as torch.save wrote before 1.6."""
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization="old" not in path.name)
    return path


def same(weights, expected=WEIGHTS):
    return list(weights) == list(expected) and all(
        torch.equal(tensor, expected[name]) for name, tensor in weights.items()
    )


def refusal(path, **options):
    with pytest.raises(InputError) as error:
        read_weights(path, **options)
    return str(error.value)


def not_plain(path, reason):
    return (
        f"{path} cannot be read as plain tensors: {reason}. Files that run code when they are "
        "unpickled are not loaded. Fetch a damaged file again; of another one save the "
        "state_dict alone, with torch.save as .pth, or as .safetensors. If you trust where it "
        "comes from: MODEL.WEIGHTS_ALLOW_PICKLE True, --allow-pickle, or in Python "
        "allow_pickle=True"
    )


@pytest.mark.parametrize("name", ["new.pth", "old.pth", "without_suffix"])
@pytest.mark.parametrize(
    "rest", [None, {"epoch": 3}, {"meta": {"CLASSES": ("a", "b")}, "optimizer": {"state": {}}}]
)
@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
@pytest.mark.parametrize("start", ["", "module."])
def test_wrappers(tmp_path, name, rest, wrapper, start):
    weights = {start + n: tensor for n, tensor in WEIGHTS.items()}
    content = weights if rest is None else {**rest, wrapper: weights}
    file = read_weights(write(tmp_path / name, content))
    assert same(file.weights)
    assert file.rest == (rest or {}) and file.metadata == {} and file.left_out == []
    assert file.path == str(tmp_path / name)
    both = read_weights(write(tmp_path / name, {"module.a": torch.ones(1), "b": torch.ones(1)}))
    assert list(both.weights) == ["module.a", "b"]


@pytest.mark.parametrize("name", ["a.safetensors", "without_suffix", "a.pth"])
def test_safetensors_are_told_by_their_content(tmp_path, name):
    metadata = {"hrnet_det": json.dumps({"classes": ["x"], "conventions": "mmdet"})}
    save_file({"module." + n: tensor for n, tensor in WEIGHTS.items()}, tmp_path / name, metadata)
    file = read_weights(tmp_path / name)
    assert sorted(file.weights) == sorted(WEIGHTS)
    assert all(torch.equal(file.weights[n], tensor) for n, tensor in WEIGHTS.items())
    assert file.metadata == {"classes": ["x"], "conventions": "mmdet"} and file.classes == ["x"]


@pytest.mark.parametrize(
    ("rest", "classes"),
    [
        ({}, []),
        ({"meta": {"CLASSES": ("a", "b")}}, ["a", "b"]),
        ({"meta": {"CLASSES": "person"}}, ["person"]),
        ({"meta": {"dataset_meta": {"classes": ["a"]}}}, ["a"]),
        ({"meta": {"dataset_meta": {"CLASSES": ("a",), "palette": None}}}, ["a"]),
        ({"meta": {"CLASSES": None, "dataset_meta": None}}, []),
        ({"meta": None}, []),
        ({"meta": {"CLASSES": ("a",)}, "hrnet_det": {"classes": ["own"]}}, ["own"]),
        ({"meta": "a text", "hrnet_det": "a text"}, []),
        ({"meta": {"CLASSES": np.array(["a", "b"])}}, []),
        ({"meta": {"CLASSES": 3}}, []),
    ],
)
def test_class_names(tmp_path, rest, classes):
    file = read_weights(write(tmp_path / "a.pth", {"state_dict": WEIGHTS, **rest}))
    assert file.classes == classes


HISTORY = """
made = []
class HistoryBuffer:
    def __new__(cls, *_):
        made.append(cls)
        return super().__new__(cls)
    def mean(self): pass
    def __reduce__(self):
        return type(self), (), {"methods": {"mean": HistoryBuffer.mean}} if self.bound else {"a": 1}
"""


@pytest.fixture
def mmengine(monkeypatch):
    """A module of the name that mmengine's training history comes from."""
    name = "mmengine.logging.history_buffer"
    for part in ("mmengine", "mmengine.logging", name):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    exec(HISTORY, sys.modules[name].__dict__)
    return sys.modules[name]


SCALAR = np.float64(3.5)
NUMPY_KINDS = [f"{SCALAR.__reduce__()[0].__module__}.scalar", "numpy.dtype"]


@pytest.mark.parametrize("bound", [False, True])
def test_objects_of_mmengine_are_left_out(tmp_path, mmengine, monkeypatch, bound):
    history = mmengine.HistoryBuffer()
    history.bound = bound  # real ones name their methods, which pickle does with getattr
    path = write(tmp_path / "a.pth", {"message_hub": {"loss": history}, "state_dict": WEIGHTS})
    mmengine.made.clear()
    kind = "mmengine.logging.history_buffer.HistoryBuffer"
    for part in (None, "mmengine.logging.history_buffer"):  # it is there, and it is not
        if part:
            monkeypatch.setitem(sys.modules, part, None)
        file = read_weights(path)
        assert same(file.weights) and kind in file.left_out
        assert mmengine.made == []
    assert refusal(path, allow_pickle=True).startswith(
        f"{path} holds objects that cannot be made here: "
    )


@pytest.mark.parametrize("name", ["new.pth", "old.pth"])
def test_numpy_scalars_are_left_out(tmp_path, name):
    path = write(tmp_path / name, {"state_dict": WEIGHTS, "meta": {"loss": SCALAR, "epoch": 2}})
    file = read_weights(path)
    assert same(file.weights) and file.rest["meta"]["epoch"] == 2
    assert sorted(file.left_out) == NUMPY_KINDS
    assert read_weights(path, allow_pickle=True).rest == {"meta": {"loss": SCALAR, "epoch": 2}}


class Runs:
    """An object whose unpickling makes a file."""

    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return os.system, (f"touch {self.sentinel}",)


@pytest.mark.parametrize("name", ["new.pth", "old.pth", "a.pkl"])
@pytest.mark.parametrize("mixture", [False, True])
def test_code_is_refused_and_not_run_unless_permitted(tmp_path, name, mixture):
    sentinel = tmp_path / "executed"
    beside = {"loss": SCALAR} if mixture else {}
    path = write(tmp_path / name, {**beside, "author": Runs(sentinel), "model": WEIGHTS})
    said = refusal(path)
    assert said.startswith(not_plain(path, "?").partition("?")[0])
    assert said.endswith(not_plain(path, "?").partition("?")[2])
    assert not sentinel.exists()
    assert same(read_weights(path, allow_pickle=True).weights)
    assert sentinel.exists()


@pytest.mark.parametrize(
    ("name", "mixture"),
    [
        ("new.pth", False),
        ("old.pth", False),
        ("new.pth", True),
    ],
)
def test_the_code_that_is_refused_is_named(tmp_path, name, mixture):
    beside = {"loss": SCALAR} if mixture else {}
    path = write(tmp_path / name, {**beside, "author": Runs(tmp_path / "x"), "model": WEIGHTS})
    code = f"{os.system.__module__}.system"
    assert refusal(path) == not_plain(path, f"it holds {code}, which is no tensor")


def test_objects_of_other_projects_are_refused_and_named(tmp_path):
    path = write(tmp_path / "a.pth", {"half": Fraction(1, 2), "model": WEIGHTS})
    assert refusal(path) == not_plain(path, "it holds fractions.Fraction, which is no tensor")
    assert read_weights(path, allow_pickle=True).rest == {"half": Fraction(1, 2)}


def test_detectron2s_pickles_of_arrays_need_permission(tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in WEIGHTS.items()}
    path = write(tmp_path / "a.pkl", {"model": arrays, "__author__": "someone"})
    assert "If you trust where it comes from: MODEL.WEIGHTS_ALLOW_PICKLE True" in refusal(path)
    file = read_weights(path, allow_pickle=True)
    assert same(file.weights) and file.rest == {"__author__": "someone"}


@pytest.mark.parametrize("name", ["new.pth", "a.pkl"])
def test_objects_of_a_class_that_is_gone(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sys.modules[__name__], "Gone", type("Gone", (), {}), raising=False)
    Gone.__module__, Gone.__qualname__ = __name__, "Gone"  # noqa: F821
    path = write(tmp_path / name, {"model": WEIGHTS, "object": Gone()})  # noqa: F821
    monkeypatch.undo()
    assert str(path) in refusal(path, allow_pickle=True)


@pytest.mark.parametrize("allow_pickle", [False, True])
@pytest.mark.parametrize(
    "text",
    ["a\nb", "t", "(.", "S'", "I x\n", "\x80a"],
)
def test_text_in_place_of_weights_is_refused(tmp_path, text, allow_pickle):
    path = tmp_path / "weights.pth"
    path.write_text(text, encoding="latin1")
    said = refusal(path, allow_pickle=allow_pickle)
    if allow_pickle:
        assert said.startswith(f"{path} is damaged, or no file of weights: ")
    else:
        assert said == not_plain(path, "damaged, or a pickle of its own")


@pytest.mark.parametrize("allow_pickle", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["new.pth", "old.pth", "a.safetensors"])
def test_a_truncated_file_is_refused(tmp_path, name, share, allow_pickle):
    path = tmp_path / name
    save_file(WEIGHTS, path) if path.suffix == ".safetensors" else write(path, WEIGHTS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    said = refusal(path, allow_pickle=allow_pickle)
    if path.suffix == ".safetensors":
        assert said.startswith(f"{path} is no whole safetensors file: ")
    elif allow_pickle:
        assert said.startswith(f"{path} is damaged, or no file of weights: ")
    else:
        assert said == not_plain(path, "damaged, or a pickle of its own")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.zeros(1)], "has no dictionary of tensors, but a list"),
        ({}, "is a state_dict without a tensor"),
        (
            {"state_dict": {"conv1.weight": torch.zeros(1), "lr": 0.1, 5: torch.zeros(1)}},
            "is no state_dict: 2 of its 3 entries are no named tensors (lr, 5)",
        ),
        (
            dict.fromkeys("abcd", 1),
            "is no state_dict: 4 of its 4 entries are no named tensors (a, b, c, ...)",
        ),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path, content, said):
    path = write(tmp_path / "a.pth", content)
    assert refusal(path) == f"{path} {said}"


# --- addresses ---


def not_found(address):
    with pytest.raises(InputError) as error:
        find_weights(address)
    return str(error.value)


def test_a_path_is_itself_or_missing(tmp_path):
    path = write(tmp_path / "a.pth", WEIGHTS)
    assert find_weights(str(path)) == str(path)
    missing = tmp_path / "b.pth"
    assert not_found(str(missing)).startswith(f"weights {missing} are not there: give a file, or")
    with pytest.raises(MissingInputError):
        find_weights(str(missing))


def test_a_folder_is_called_one(tmp_path):
    said = f"weights {tmp_path} is a folder"
    assert not_found(str(tmp_path)) == f"{said} without .pth, .pt, .pkl, .safetensors"
    for name in ("last.pth", "model_best.pth", "a.txt", "a.pth"):
        (tmp_path / name).write_text("")
    named = f": name a file in it, such as {tmp_path / 'model_best.pth'}"
    assert not_found(str(tmp_path)) == said + named
    with pytest.raises(InputError, match="is a folder"):
        convert(tmp_path, tmp_path / "out.pth")


@pytest.mark.parametrize("address", ["timm://hrnet_w18", "timm://"])
def test_a_timm_address_needs_a_tag(address):
    assert not_found(address) == (
        f"weights {address} have no tag: write one, such as timm://hrnet_w18.ms_in1k "
        "(timm.list_pretrained('hrnet*') lists them)"
    )


@pytest.mark.parametrize("address", ["hf://", "hf://org", "hf://org/repository"])
def test_a_hub_address_has_three_parts(address):
    assert not_found(address) == f"weights {address}: write hf://ORGANISATION/REPOSITORY/FILE"


ADDRESSES = [
    ("timm://hrnet_w18.ms_in1k", "timm/hrnet_w18.ms_in1k", "model.safetensors"),
    ("hf://org/some.repository/folder/a.pth", "org/some.repository", "folder/a.pth"),
]


@pytest.mark.parametrize(("address", "repository", "file"), ADDRESSES)
def test_addresses_of_the_hub(monkeypatch, address, repository, file):
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *words: asked.append(words) or "/local"
    )
    assert find_weights(address) == "/local"
    assert asked == [(repository, file)]


@pytest.mark.parametrize(("address", "repository", "file"), ADDRESSES)
def test_without_a_connection_the_address_is_named(
    monkeypatch, tmp_path, address, repository, file
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    said = not_found(address)
    start = f"weights {address}: {file} of https://huggingface.co/{repository} cannot be fetched ("
    assert said.startswith(start)
    assert said.endswith(
        "). Is the name right? Without a connection: fetch the file elsewhere and name its path"
    )
    assert len(said.splitlines()) == 1


def test_without_huggingface_hub_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    address = "timm://hrnet_w18.ms_in1k"
    assert not_found(address) == f"weights {address} need a package: pip install huggingface_hub"


def test_other_addresses_without_a_connection(monkeypatch):
    def offline(path):
        raise OSError("no route to host")

    monkeypatch.setattr("hrnet_det.checkpoint.addresses.PathManager.get_local_path", offline)
    assert not_found("https://example.org/a.pth") == (
        "weights https://example.org/a.pth cannot be fetched (no route to host). Without a "
        "connection: fetch the file elsewhere and name its path"
    )


@pytest.mark.parametrize("address", ["htps://example.org/a.pth", "s3://bucket/a.pth"])
def test_an_address_of_an_unknown_kind_is_named(address):
    assert address in not_found(address)


def test_a_fetched_file_is_what_its_name_says(monkeypatch, tmp_path):
    path = tmp_path / "fetched"
    monkeypatch.setattr(
        "hrnet_det.checkpoint.addresses.PathManager.get_local_path", lambda _: str(path)
    )
    path.write_bytes(b"abc")  # whose SHA-256 is in FIPS 180
    known = ("ba7816bf", "ba7816bf8f01cfea414140de", "final", "2", "20200130")
    for end in known:
        assert find_weights(f"https://example.org/a-{end}.pth") == str(path)
    address = "https://example.org/a_20200130-ba7816be.pth"
    with pytest.raises(InputError) as error:
        find_weights(address)
    assert str(error.value).startswith(
        f"weights {address}: the file that was fetched has the SHA-256 ba7816bf..., not ba7816be, "
    )
    assert not path.exists()  # so that it is fetched again


def test_mmdetections_imagenet_weights_have_its_names(monkeypatch, tmp_path):
    """As mmengine/hub/openmmlab.json names them; a file is checked by the hash in its address."""
    asked, path = [], tmp_path / "fetched"

    def fetched(address):
        asked.append(address)
        path.write_bytes(b"another file")
        return str(path)

    monkeypatch.setattr("hrnet_det.checkpoint.addresses.PathManager.get_local_path", fetched)
    with pytest.raises(InputError, match=r"the SHA-256 \w{8}\.\.\., not dc9eeb4f, which its"):
        find_weights("open-mmlab://msra/hrnetv2_w32")
    folder = "https://download.openmmlab.com/pretrain/third_party"
    assert asked == [f"{folder}/hrnetv2_w32-dc9eeb4f.pth"]
    assert not_found("open-mmlab://msra/hrnetv2_w64").startswith(
        "weights open-mmlab://msra/hrnetv2_w64: of mmdetection's ImageNet weights those of HRNets "
        "are known: open-mmlab://msra/hrnetv2_w18_small, open-mmlab://msra/hrnetv2_w18, "
    )


@pytest.mark.skipif(find_spec("mmengine") is None, reason="compared with mmengine's own table")
def test_the_addresses_are_mmengines():
    file = Path(find_spec("mmengine").origin).parent / "hub" / "openmmlab.json"
    theirs = json.loads(file.read_text())
    ours = {f"msra/{name}": file for name, file in OPEN_MMLAB.items()}
    known = {name: address for name, address in theirs.items() if name.startswith("msra/hrnetv2_")}
    assert known.keys() == ours.keys()
    assert all(known[name].endswith(f"/third_party/{file}") for name, file in ours.items())


def test_what_comes_without_https_is_refused():
    assert "without https" in not_found("http://example.org/a.pth")

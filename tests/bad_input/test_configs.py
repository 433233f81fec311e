"""Config files that are none."""

import pytest
from helpers.refusals import refusal

from hrnet_det.config.load import load_run
from hrnet_det.errors import InputError

# The name of a file, its content, and what is said of it.
TABLE = {
    "empty": ("my.yaml", "", "has no KEY: VALUE lines, but NoneType"),
    "comment only": ("my.yaml", "# a comment\n", "has no KEY: VALUE lines, but NoneType"),
    "spaces only": ("my.yaml", " \n\n ", "has no KEY: VALUE lines, but NoneType"),
    "null": ("my.yaml", "null\n", "has no KEY: VALUE lines, but NoneType"),
    "list": ("my.yaml", "- 1\n", "has no KEY: VALUE lines, but list"),
    "text": ("my.yaml", "text", "has no KEY: VALUE lines, but str"),
    "number": ("my.yaml", "7", "has no KEY: VALUE lines, but int"),
    "two documents": ("my.yaml", "SEED: 1\n---\nSEED: 2\n", "is not valid YAML"),
    "binary": ("my.yaml", b"\x00\x01\x02\x80\xff", "is not valid YAML"),
    "UTF-16": ("my.yaml", "SEED: 1\n".encode("utf-16"), "not text in UTF-8"),
    "Latin-1": ("my.yaml", "OUTPUT_DIR: \u00e4\n".encode("latin-1"), "not text in UTF-8"),
    "NUL": ("my.yaml", b"SEED: 1\x00\n", "is not valid YAML"),
    "NUL in a text": ("my.yaml", 'OUTPUT_DIR: "a\\0b"\n', "must be text without NUL"),
    "cut": ("my.yaml", "SEED: [1\n", "is not valid YAML"),
    "tabs": ("my.yaml", "MODEL:\n\tMASK_ON: True\n", "is not valid YAML"),
    "JSON cut": ("my.yaml", '{"SEED": 1', "is not valid YAML"),
    "a key twice": ("my.yaml", "SEED: 1\nSEED: 2\n", "the key 'SEED' is there twice"),
    "lists 3,000 deep": ("my.yaml", "[" * 3000 + "]" * 3000, "nested too deep"),
    "groups 3,000 deep": ("my.yaml", "{a: " * 3000 + "1" + "}" * 3000, "nested too deep"),
    "a date that is none": ("my.yaml", "SEED: 2024-02-30\n", "is not valid YAML"),
    "an alias to nothing": ("my.yaml", "SEED: *x\n", "is not valid YAML"),
    "an alias to itself": ("my.yaml", "SEED: &x [*x]\n", "must be a whole number"),
    "a group that has itself": ("my.yaml", "MODEL: &x {HRNET: *x}\n", "nested too deep"),
    "a tag that runs code": (
        "my.yaml",
        "SEED: !!python/object/apply:os.system ['true']\n",
        "YAML tags that run code are not loaded",
    ),
    "an unknown tag": ("my.yaml", "SEED: !mine 3\n", "YAML tags that run code are not loaded"),
    "a value for a group": ("my.yaml", "MODEL: 3\n", "MODEL is a group of keys"),
    "a group for a value": ("my.yaml", "SEED: {A: 1}\n", "there is no config key SEED.A"),
    "a number as key": ("my.yaml", "1: 2\n", "there is no config key 1"),
    "a list as key": ("my.yaml", "? [1]\n: 2\n", "is not valid YAML"),
    "an unknown key": ("my.yaml", "SOLVER: {BASE_LRR: 1}\n", "did you mean SOLVER.BASE_LR"),
    "a key without value": ("my.yaml", "SOLVER: {MAX_ITER: }\n", "SOLVER.MAX_ITER has no value"),
    "another version": ("my.yaml", "VERSION: 9\n", "VERSION 9; only 2 can be read"),
    "itself as base": ("my.yaml", "_BASE_: my.yaml\n", "leads back to the file itself"),
    "a ring through a folder": ("my.yaml", "_BASE_: ./x/../my.yaml\n", "leads back to the file"),
    "a base that is missing": ("my.yaml", "_BASE_: gone.yaml\n", "gone.yaml is not there"),
    "a folder as base": ("my.yaml", "_BASE_: x\n", "its _BASE_ "),
    "NUL in a base": ("my.yaml", '_BASE_: "a\\0.yaml"\n', "is not there"),
    "a number as base": ("my.yaml", "_BASE_: 3\n", "_BASE_ is 3; give the path of a YAML file"),
    "a group as base": ("my.yaml", "_BASE_: {a: 1}\n", "_BASE_ is {'a': 1}; give the path"),
    "no base": ("my.yaml", "_BASE_:\n", "_BASE_ is None; give the path"),
    "a number among bases": ("my.yaml", "_BASE_: [1]\n", "_BASE_ is [1]; give the path"),
    "an empty base": ("my.yaml", "_BASE_: ''\n", "_BASE_ is ['']; give the path"),
    "other conventions": ("my.yaml", "MODEL: {CONVENTIONS: mine}\n", "CONVENTIONS 'mine'; known"),
    "a LazyConfig in parts": ("my.yaml", "model: {_target_: os.system}\n", "calls os.system"),
    "a program without a config": ("my.py", "", "is not a whole config: it has no model"),
    "a program with an error": ("my.py", "1 / 0\n", "cannot be loaded: ZeroDivisionError"),
    "a program that is none": ("my.py", "def\n", "cannot be loaded: SyntaxError"),
    "a program that is binary": ("my.py", b"\x00\xff", "cannot be loaded: "),
    "a program that ends": ("my.py", "raise SystemExit(0)\n", "cannot be loaded: SystemExit"),
    "a program of numbers": (
        "my.py",
        "model = dataloader = optimizer = lr_multiplier = train = 3\n",
        "is not a whole config: it has no model",
    ),
    "a name in no folder": (None, "no/such/config.yaml", "neither a file nor a shipped config"),
    "an empty name": (None, "", "neither a file nor a shipped config"),
    "a name with NUL": (None, "a\0b.yaml", "neither a file nor a shipped config"),
    "a name of 5,000 letters": (None, "x" * 5000, "neither a file nor a shipped config"),
    "a folder": (None, "/", "neither a file nor a shipped config"),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_file_that_is_no_config_is_one_error(name, tmp_path):
    file, content, said = TABLE[name]
    (tmp_path / "x").mkdir()
    if file is None:
        assert said in refusal(load_run, content)
        return
    path = tmp_path / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refusal(load_run, path)
    assert message.startswith(str(path)) and said in message


def test_a_ring_of_bases_is_shown(tmp_path):
    for name, base in (("a", "[b.yaml]"), ("b", "c.yaml"), ("c", "a.yaml")):
        (tmp_path / f"{name}.yaml").write_text(f"_BASE_: {base}\n")
    ring = r"leads back to .*a\.yaml -> .*b\.yaml -> .*c\.yaml -> .*a"
    with pytest.raises(InputError, match=ring):
        load_run(tmp_path / "a.yaml")

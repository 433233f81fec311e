"""The one direction of imports, and the public names."""

import ast
import re
from pathlib import Path

import pytest

import hrnet_det

PACKAGE = Path(hrnet_det.__file__).parent


def imported(file: Path) -> set[str]:
    """Full names of the modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("modeling/*.py")), ids=lambda f: f.name)
def test_modeling_imports_nothing_of_what_is_built_on_it(file):
    own = {name for name in imported(file) if name.split(".")[0] == "hrnet_det"}
    assert all(name.startswith("hrnet_det.modeling") for name in own), own


def test_variants_need_no_torch():
    assert not {n.split(".")[0] for n in imported(PACKAGE / "modeling" / "variants.py")} & {
        "torch",
        "detectron2",
    }


def test_only_the_builders_read_the_config_keys_of_the_network():
    readers: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        for key in re.findall(r"cfg\.(MODEL\.(?:HRNET|HRFPN)\.\w+)", file.read_text()):
            readers.setdefault(file.relative_to(PACKAGE).as_posix(), set()).add(key)
    assert readers.pop("config.py") == readers.pop("modeling/build.py")
    # what is checked before anything is built
    assert readers.pop("engine/setup.py") == {
        "MODEL.HRNET.NORM",
        "MODEL.HRNET.NORM_EVAL",
        "MODEL.HRFPN.NORM",
    }
    # what those checks look at, of a LazyConfig
    assert readers.pop("engine/lazy.py") == {"MODEL.HRNET.NORM_EVAL"}
    assert not readers


def test_public_names():
    from detectron2.modeling import BACKBONE_REGISTRY

    for name in hrnet_det.__all__:
        assert hasattr(hrnet_det, name), name
    for kind in ("hrnet", "hrnetv1", "hrnetv2", "hrnetv2p"):
        assert f"build_{kind}_backbone" in BACKBONE_REGISTRY

"""The one direction of imports, and the public names."""

import ast
import re
from pathlib import Path

import pytest

import hrnet_det
from hrnet_det.config.keys import KEYS

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


# From the ground up: a module imports from its own floor and from those below it.
FLOORS = [
    ["errors", "environment", "install", "outputs"],
    ["config"],
    [f"modeling.{name}" for name in ("backbone", "kind", "kinds", "read_layers", "segment_ids")],
    ["modeling.inference"],
    ["modeling.roi_heads"],
    [
        f"modeling.compat.{name}"
        for name in (
            *("boxes", "conventions", "initial", "mask_targets", "masks", "scales"),
            "training_rules",
        )
    ],
    ["modeling.meta_arch"],
    ["modeling.compat"],
    ["modeling"],
    ["checkpoint"],
    ["data"],
    ["published", "model_zoo"],
    ["evaluation"],
    ["drawing"],
    ["diagnosis"],
    [f"detector.{name}" for name in ("batches", "merging", "options", "remarks", "run_lengths")],
    ["detector.detections", "detector.tiles"],
    ["detector.inference"],
    ["export"],
    ["detector.loading"],
    ["detector.detector"],
    ["detector"],
    ["report", "convert_config"],
    [f"predict.sources.{name}" for name in ("addresses", "file_types")],
    ["predict.sources"],
    ["predict.coco_ids", "predict.crops", "predict.names", "predict.writing"],
    ["predict"],
    ["engine", "analysis", "check_data"],
    ["doctor"],
    ["arguments"],
    ["cli"],
]


def floor(module: str) -> int:
    """The number of the floor that a module is on, by the longest name that it begins with."""
    inside = module.removeprefix("hrnet_det.")
    fitting = [
        (len(name), number)
        for number, names in enumerate(FLOORS)
        for name in names
        if f"{inside}.".startswith(f"{name}.")
    ]
    assert fitting, f"{module} is on no floor"
    return max(fitting)[1]


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: f.relative_to(PACKAGE).as_posix()
)
def test_no_import_runs_back_up(file):
    path = file.relative_to(PACKAGE.parent).with_suffix("").as_posix().removesuffix("/__init__")
    module = path.replace("/", ".")
    if module == "hrnet_det":  # names that are imported when they are used
        return
    for name in imported(file):
        if name.startswith("hrnet_det."):
            if name.split(".")[1] == "__version__":
                continue
            assert floor(name) <= floor(module), f"{module} imports {name}"


def test_variants_need_no_torch():
    assert not {
        name.split(".")[0] for name in imported(PACKAGE / "modeling/backbone/variants.py")
    } & {"torch", "detectron2"}


def test_only_the_builders_read_the_config_keys_of_the_network():
    readers: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        for key in re.findall(r"cfg\.(MODEL\.(?:HRNET|HRFPN)\.\w+)", file.read_text()):
            readers.setdefault(file.relative_to(PACKAGE).as_posix(), set()).add(key)
    keys = {key for key in KEYS if key.startswith(("MODEL.HRNET.", "MODEL.HRFPN."))}
    assert readers.pop("modeling/backbone/build.py") == keys


def test_public_names():
    from detectron2.modeling import BACKBONE_REGISTRY

    for name in hrnet_det.__all__:
        assert hasattr(hrnet_det, name), name
    for kind in ("hrnet", "hrnetv1", "hrnetv2", "hrnetv2p"):
        assert f"build_{kind}_backbone" in BACKBONE_REGISTRY


def run_when_imported(file: Path) -> set[str]:
    """The modules of the package that are imported before a file has run to its end."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("hrnet_det"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    parents = {".".join(name.split(".")[:end]) for name in names for end in range(1, 9)}
    return names | parents


def test_no_import_needs_what_is_being_imported():
    """Whatever is imported first, no module finds another one that has run in part."""
    files = {
        file.relative_to(PACKAGE.parent).with_suffix("").as_posix().removesuffix("/__init__"): file
        for file in PACKAGE.rglob("*.py")
    }
    needs = {
        name.replace("/", "."): sorted(run_when_imported(file)) for name, file in files.items()
    }
    done: set[str] = set()

    def follow(name: str, under_way: tuple[str, ...]) -> None:
        assert name not in under_way, f"a circle: {' -> '.join((*under_way, name))}"
        for other in needs[name]:
            own_package = name.startswith(f"{other}.")
            if other in needs and other not in done and other != name and not own_package:
                follow(other, (*under_way, name))
        done.add(name)

    for name in sorted(needs):
        follow(name, ())

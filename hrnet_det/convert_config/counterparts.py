"""The shipped config that a converted one builds on, and the values that differ from it."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from hrnet_det.config.files import config_folder, names
from hrnet_det.config.keys import get_cfg
from hrnet_det.config.yaml import merged
from hrnet_det.config.yaml_files import YamlFile, flat, read_yaml
from hrnet_det.convert_config.conversion import Chosen, Conversion
from hrnet_det.errors import InputError
from hrnet_det.modeling.kinds import KINDS

CONVENTIONS = "mmdet"


def conventions_of(kind: str) -> str:
    """What MODEL.CONVENTIONS a kind of mmdetection's gets; "" where it has none here."""
    return CONVENTIONS if CONVENTIONS in KINDS[kind].conventions else ""


def remark_of(kind: str) -> list[str]:
    """What is said of a detector that does not follow mmdetection's rules here."""
    if conventions_of(kind):
        return []
    return [
        f"{KINDS[kind].title} trains and computes by Detectron2's rules here: MODEL.CONVENTIONS "
        "mmdet is for the other detectors."
    ]


def leaves(kind: str, variant: str) -> list[str]:
    """The shipped configs of a kind: of the variant, or of any where that has none."""
    of_kind = [
        name
        for name in names()
        if name.endswith(".yaml")
        and name.rpartition("/")[2].startswith(f"{kind}_hrnetv2p_")
        and "/" in name
        and not name.startswith("quickstart/")
    ]
    return [name for name in of_kind if f"_{variant}_" in name] or of_kind


class Base(NamedTuple):
    """What a converted config builds on: a shipped config, and the rules and recipe over it."""

    name: str
    conventions: str = ""
    recipe: str = ""

    @property
    def own(self) -> dict[str, str]:
        """What the converted config states of these, by our keys."""
        stated = {"MODEL.CONVENTIONS": self.conventions, "SOLVER.RECIPE": self.recipe}
        return {key: value for key, value in stated.items() if value}


@functools.cache
def values_of(base: Base) -> dict[str, object] | None:
    """All values of a base, not to be changed; None if its recipe is of other schedules."""
    file = read_yaml(config_folder() / base.name)
    own: dict = {}
    for key, value in base.own.items():
        group, name = key.split(".")
        own.setdefault(group, {})[name] = value
    try:
        return flat(merged(YamlFile(file.shipped, own), base.name))
    except InputError:
        if base.recipe:
            return None
        raise


def counterpart(conversion: Conversion) -> tuple[Base, dict[str, Chosen]]:
    """What has the fewest differences, and these, in the order of the config's keys.

    A published recipe stands for the schedule that it sets where it spares more than its own line.
    """
    conventions = conventions_of(conversion.kind)
    variant = conversion.values["MODEL.HRNET.VARIANT"].value
    # Recipes are of COCO, and contradict epochs.
    unlike = {"DATASETS.CUSTOM.TRAIN_JSON", "SOLVER.EPOCHS"} & conversion.values.keys()
    recipes = ("",) if unlike or not conventions else ("", CONVENTIONS)
    bases = [Base(n, conventions, r) for n in leaves(conversion.kind, variant) for r in recipes]
    found = {
        base: differences(conversion.values, values)
        for base in bases
        if (values := values_of(base)) is not None
    }
    best = min(found, key=lambda base: (len(found[base]) + len(base.own), *base))
    order = list(flat(get_cfg()))
    return best, {key: found[best][key] for key in sorted(found[best], key=order.index)}


def differences(values: dict[str, Chosen], base: dict[str, object]) -> dict[str, Chosen]:
    """The values that a config does not have already."""
    return {
        key: chosen
        for key, chosen in values.items()
        if not any(alike(value, base[key]) for value in (chosen.value, *chosen.also))
    }


def alike(one: object, other: object) -> bool:
    """Whether two values of a config mean the same: lists as tuples, numbers to six digits."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    numbers = (int, float)
    if isinstance(one, bool) or isinstance(other, bool):
        return one == other
    if isinstance(one, numbers) and isinstance(other, numbers):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12)
    return one == other

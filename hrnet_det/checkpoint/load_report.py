"""What of a file went where: the table that each load prints, and the errors it can end in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from tabulate import tabulate

from hrnet_det.checkpoint.finite import COUNTER
from hrnet_det.checkpoint.formats import BODY
from hrnet_det.checkpoint.infer import (
    hrnet_variant,
    other_network,
    title_of,
    variant_name,
)
from hrnet_det.checkpoint.io import some
from hrnet_det.checkpoint.renaming import Renamed
from hrnet_det.errors import InputError
from hrnet_det.modeling import VARIANTS
from hrnet_det.modeling.kind import Shapes
from hrnet_det.modeling.kinds import class_axis

# Of a detector, by the start of our names; the first that fits.
PARTS = {
    BODY: "backbone",
    "backbone.": "pyramid",
    "proposal_generator.": "RPN",
    "roi_heads.box_head.": "box head",
    "roi_heads.box_predictor.": "box head",
    "roi_heads.mask_head.": "mask head",
    "roi_heads.semantic_head.": "semantic head",
    "sem_seg_head.": "semantic head",
    "ins_embed_head.": "instance head",
    "roi_heads.keypoint_head.": "keypoint head",
    "head.": "dense head",
}


def part_of(name: str) -> str:
    """The part of a detector that a tensor of ours belongs to."""
    parts = (part for start, part in PARTS.items() if name.startswith(start))
    return next(parts, name.split(".")[0])


@dataclass
class LoadReport:
    """What of a file's tensors went into a model, by parts of the detector.

    Args:
        path, title: the file, and what it holds.
        conventions: whose detector the file is, a key of `CONVENTIONS`; "" for none or any.
        overrides: KEY, VALUE, ... of what it computes beside them.
        expected, loaded: numbers of tensors of each part of the model: all, and those loaded.
        dropped: what was left out on purpose, by reason.
        unexpected: parts of the file that the model does not have.
        missing: parts of the model that the file does not have: they stay random.
        mismatched: class layers of another size, which do so too: (name, file's shape, model's).
        classes: what was done to those of the file; "" for nothing.
        faults: in a part that both have: a line each for tensors that are missing, mismatched or
            unexpected.
    """

    path: str
    title: str
    conventions: str = ""
    overrides: tuple[str, ...] = ()
    expected: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    classes: str = ""
    faults: list[str] = field(default_factory=list)

    def drop(self, reason: str, name: str) -> None:
        """Note a tensor that is left out on purpose."""
        self.dropped.setdefault(reason, []).append(name)

    @property
    def complete(self) -> bool:
        """Every tensor of the model has come from the file."""
        return not (self.missing or self.mismatched or self.faults)

    def contradicts(self, conventions: str) -> bool:
        """The file's detector follows other conventions than these, a key of `CONVENTIONS`."""
        return self.conventions not in ("", conventions)

    def differing(self, values: Mapping[str, object]) -> dict[str, str]:
        """Of `overrides`, the keys and values that a config's differ from, by YAML key."""
        pairs = zip(self.overrides[::2], self.overrides[1::2], strict=True)
        return {key: value for key, value in pairs if str(values.get(key)) != value}

    def __str__(self) -> str:
        rows = []
        for part, total in self.expected.items():
            changed = [row for row in self.mismatched if part_of(row[0]) == part]
            remark = "missing in the file: random" if part in self.missing else ""
            remark = "mismatched: random where the number of classes differs" if changed else remark
            rows.append((part, f"{self.loaded.get(part, 0)} of {total}", remark))
            for name, theirs, ours in changed:
                short = ".".join(name.split(".")[-2:])
                sizes = f"{list(theirs)} in the file, {list(ours)} in the model"
                rows.append((f"- {short}", "", sizes))
        if self.classes:
            rows.append(("classes", "", self.classes))
        if self.overrides:
            pairs = zip(self.overrides[::2], self.overrides[1::2], strict=True)
            said = ", ".join(f"{key} {value}" for key, value in pairs)
            rows.append(("computed with", "", f"MODEL.CONVENTIONS {self.conventions}, {said}"))
        rows += [("left out", len(names), reason) for reason, names in self.dropped.items()]
        rows += [("does not fit", "", fault) for fault in self.faults]
        table = tabulate(rows, ("part", "tensors", ""), tablefmt="simple", stralign="left")
        return f"{self.path}: {self.title}\n{table}"


def compare(source: Renamed, model: Shapes) -> tuple[LoadReport, dict[str, torch.Tensor]]:
    """What of a file fits a model, and the tensors to load.

    Args:
        model: shapes of the model's tensors, the names of its HRNet starting with `BODY`.
    Raises: InputError if the file's HRNet is another variant (the message names both), or if
        nothing of the file belongs to the model.
    """
    shapes, title = source.shapes, source.format.title
    other = other_network([*shapes, *source.unknown])
    if other:
        title += f": {other}, not an HRNet"
    elif any(name.startswith(BODY) for name in shapes):
        title += f": {title_of(shapes)}"
    known = {"conventions": source.conventions, "dropped": dict(source.dropped)}
    if source.conventions:
        known["overrides"] = source.format.overrides
    report = LoadReport(source.path, title, **known)
    _check_variant(shapes, model, report)
    if not model.keys() & shapes.keys():
        subject = f"{source.path} is of {other}:" if other else f"{source.path}:"
        raise InputError(
            f"{subject} none of its {len(shapes)} tensors belongs to this model (the file has "
            f"{some([*shapes, *source.unknown])}; the model {some(model)})"
        )
    weights = {}
    for part in dict.fromkeys(map(part_of, [*model, *shapes])):
        ours = {n: s for n, s in model.items() if part_of(n) == part}
        theirs = {n: s for n, s in shapes.items() if part_of(n) == part}
        fitting = _compare_part(part, ours, theirs, report)
        weights.update({name: source.weights[name] for name in fitting})
    if source.unknown:
        report.faults.append(
            f"{len(source.unknown)} unexpected, which {source.format.title} does not have: "
            f"{some(source.unknown)}"
        )
    return report, weights


def _compare_part(part: str, ours: Shapes, theirs: Shapes, report: LoadReport) -> list[str]:
    """Names of the tensors to load; the rest goes into the report."""
    if not ours:
        report.unexpected.append(part)
        report.dropped[f"the model has no {part}"] = list(theirs)
        return []
    needed = [name for name in ours if name in theirs or not name.endswith(COUNTER)]
    report.expected[part] = len(needed)
    if not theirs:
        report.missing.append(part)
        return []
    fitting, missing, mismatched, unexpected = [], [], [], []
    for name in needed:
        if name not in theirs:
            missing.append(name)
        elif theirs[name] == ours[name]:
            fitting.append(name)
        elif _differ_in_classes(name, theirs[name], ours[name]):
            report.mismatched.append((name, tuple(theirs[name]), tuple(ours[name])))
        else:
            mismatched.append(f"{name} {list(theirs[name])} for {list(ours[name])}")
    report.loaded[part] = len(fitting)
    for name in [name for name in theirs if name not in ours]:
        if name.endswith(COUNTER) and name.replace(COUNTER, "weight") in ours:
            report.drop("counters, which frozen norms have not", name)
        elif name.startswith(BODY) and ".fuse_layers." in name:
            report.drop("fusion into branches that are not used", name)
        else:
            unexpected.append(name)
    if any(name.endswith(".running_mean") for name in [*missing, *unexpected]):
        report.faults.append(f"{part}: the norms are of another kind (MODEL.HRNET.NORM)")
    shapes = "mismatched (file's shape for the model's)"
    faults = {"missing": missing, shapes: mismatched, "unexpected": unexpected}
    report.faults += [f"{part}: {len(n)} {what}: {some(n)}" for what, n in faults.items() if n]
    return fitting


def _differ_in_classes(name: str, theirs: torch.Size, ours: torch.Size) -> bool:
    """Whether a tensor's shapes are the same but for the number of classes."""
    axis = class_axis(name)
    if axis is None or len(theirs) != len(ours):
        return False
    return (*theirs[:axis], *theirs[axis + 1 :]) == (*ours[:axis], *ours[axis + 1 :])


def _check_variant(shapes: Shapes, model: Shapes, report: LoadReport) -> None:
    file, ours = hrnet_variant(shapes), hrnet_variant(model)
    if file is None or file == ours:
        return
    if ours is None:
        raise InputError(f"{report.path} is {report.title}, but this model has no HRNet")
    name, expected = variant_name(file), variant_name(ours)
    advice = f"set MODEL.HRNET.VARIANT {name}, or " if name in VARIANTS else ""
    raise InputError(
        f"{report.path} has the weights of {name}, but MODEL.HRNET.VARIANT is {expected}: {advice}"
        f"take weights of {expected}"
    )

"""The state of an optimizer, by parameters' names: for a run that goes on with other settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from hrnet_det.errors import InputError

# Of the options of a group of parameters, what only one of the kinds of optimizer has.
TELLING = ("momentum", "betas", "alpha", "lr_decay", "etas")


def described(optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    """Whose state that of an optimizer is: its kind, and names of parameters in its order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {"kind": _kind(optimizer), "parameters": [names[id(p)] for p in parameters]}


def fitted_state(
    saved: Mapping[str, Any], description: Mapping[str, Any], optimizer: Optimizer, model: nn.Module
) -> dict[str, Any]:
    """A saved state for an optimizer as it is built now, whose options stay as they are.

    What was kept of a parameter follows it by name into whichever group it is in now; what is no
    longer trained is left out, and what was not trained then starts anew.

    Args:
        saved: Optimizer.state_dict of then. description: `described` of then; {} if not known:
            the parameters were those of now.
    Raises: InputError if the optimizer was of another kind; KeyError, TypeError and the like for
        what is no such state.
    """
    now, own = described(optimizer, model), optimizer.state_dict()
    then = description.get("kind", now["kind"])
    options = [
        {name for group in state["param_groups"] for name in TELLING if name in group}
        for state in (saved, own)
    ]
    if then != now["kind"] or options[0] != options[1]:
        given = then if then != now["kind"] else "an optimizer with other options"
        raise InputError(
            f"--resume: the checkpoint was trained with {given}, the config has {now['kind']}, "
            "which cannot go on with its state: keep that optimizer, or start a new run, in "
            "another folder, from the weights of the checkpoint"
        )
    names = description.get("parameters", now["parameters"])
    count = sum(len(group["params"]) for group in saved["param_groups"])
    if len(names) != count:
        raise ValueError(f"an optimizer of {count} parameters, where the model has {len(names)}")
    places = {name: place for place, name in enumerate(names)}
    numbered = ((number, places.get(name)) for number, name in enumerate(now["parameters"]))
    kept = {number: saved["state"][at] for number, at in numbered if at in saved["state"]}
    return {"state": kept, "param_groups": own["param_groups"]}


def _kind(optimizer: Optimizer) -> str:
    """The name of its class; Detectron2 makes another one of it to clip gradients."""
    return type(optimizer).__name__.removesuffix("WithGradientClip")

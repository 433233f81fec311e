"""What other tools leave in a file around and beside a detector's tensors."""

from __future__ import annotations

from torch import Tensor

# What names begin with where a detector is a part of something: of several that are in a file the
# first one's tensors are taken, as it is what their projects evaluate.
WRAPPERS = (
    "teacher",
    "model_ema",
    "ema_model",
    "student",
    "model",
    "module",
    "_orig_mod",
    "_forward_module",
    "detector",
    "net",
    "network",
)
# Keys of a file under which the tensors may be, in the same order.
KEYS = (
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "ema_state_dict",
    "model_ema",
    "ema",
    "module",
    "network",
    "net",
    "weights",
)


def unwrap(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Tensors by their names inside a detector, and the names of those left out, by reason.

    A wrapper is taken off if nearly all tensors are in one (module.backbone...., teacher....).
    """
    leftovers: dict[str, list[str]] = {}
    while chosen := _wrapper_of(weights):
        start = f"{chosen}."
        beside = [name for name in weights if not name.startswith(start)]
        if beside:
            leftovers.setdefault(f"beside the tensors in {start}", []).extend(beside)
        weights = {
            name.removeprefix(start): tensor
            for name, tensor in weights.items()
            if name.startswith(start)
        }
    copies = {f"ema_{name.replace('.', '_')}" for name in weights} & weights.keys()
    if copies:
        reason = "the second set of parameters that an EMA hook keeps"
        leftovers[reason] = [name for name in weights if name in copies]
    return {n: tensor for n, tensor in weights.items() if n not in copies}, leftovers


def _wrapper_of(weights: dict[str, Tensor]) -> str | None:
    """The wrapper whose tensors to take; None if a tenth of all are in no wrapper."""
    starts = [name.split(".")[0] if "." in name else "" for name in weights]
    bare = sum(start not in WRAPPERS for start in starts)
    if bare * 10 > len(starts):
        return None
    return next((wrapper for wrapper in WRAPPERS if wrapper in starts), None)

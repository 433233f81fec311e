"""What other tools leave in a file around and beside a detector's tensors."""

from __future__ import annotations

from collections.abc import Iterable

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
# The key under which mmengine's EMA hook saves another set of tensors beside state_dict.
SECOND_KEY = "ema_state_dict"
# mmcv's and mmengine's hooks exchange the sets when an epoch ends: what is saved then has the
# averages in the first set, and the parameters that are being trained in the second. What mmcv's
# saves between two epochs has them the other way round.
TWO_SETS = "the second set of parameters that an EMA hook keeps (#ema after the file's name: it)"
BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked")  # which have one set
FIRST_SET = "the first set of parameters beside that of an EMA hook"


def unwrap(
    weights: dict[str, Tensor], *, second: bool = False
) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Tensors by their names inside a detector, and the names of those left out, by reason.

    A wrapper is taken off if nearly all tensors are in one (module.backbone...., teacher....).

    Args:
        second: of parameters that mmcv's EMA hook has kept twice, take the second set.
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
    copies = {name: f"ema_{name.replace('.', '_')}" for name in weights}
    copies = {name: copy for name, copy in copies.items() if copy in weights}
    seconds = set(copies.values())
    kept = {name: tensor for name, tensor in weights.items() if name not in seconds}
    if copies and second:
        leftovers[FIRST_SET] = list(copies)
        kept |= {name: weights[copy] for name, copy in copies.items()}
    elif copies:
        leftovers[TWO_SETS] = [name for name in weights if name in seconds]
    return kept, leftovers


def without_second(weights: Iterable[str], first: Iterable[str]) -> list[str]:
    """Names of parameters that an EMA hook has not kept twice; buffers of norms are kept once."""
    twice = set(first)
    return [name for name in weights if name not in twice and not name.endswith(BUFFERS)]


def _wrapper_of(weights: dict[str, Tensor]) -> str | None:
    """The wrapper whose tensors to take; None if a tenth of all are in no wrapper."""
    starts = [name.split(".")[0] if "." in name else "" for name in weights]
    bare = sum(start not in WRAPPERS for start in starts)
    if bare * 10 > len(starts):
        return None
    return next((wrapper for wrapper in WRAPPERS if wrapper in starts), None)

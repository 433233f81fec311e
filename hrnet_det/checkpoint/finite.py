"""Tensors of a weights file that a network could not compute with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from hrnet_det.checkpoint.io import some
from hrnet_det.errors import InputError

# A batch norm's, which a frozen one has not, nor has a file that is old enough: the only tensor of
# whole numbers.
COUNTER = "num_batches_tracked"


def check_values(weights: Mapping[str, Tensor], path: str) -> None:
    """Tensors to load, by our names; statistics of norms are looked at like weights.

    Raises: InputError for tensors with NaN or infinite values (in float32), negative variances,
        complex, whole or truth values, or values that are not there or not dense (meta, sparse).
    """
    faults = {name: fault for name, tensor in weights.items() if (fault := _fault(name, tensor))}
    _refuse(faults, f"{path}: {len(faults)} of {len(weights)} tensors cannot be weights")


def check_state(state: object, path: str) -> None:
    """The same of what a run goes on with beside the weights: an optimizer's momentum, averages.

    Raises: InputError for tensors with NaN or infinite values, wherever in the state they are.
    """
    found = {name: tensor for name, tensor in named_tensors(state) if tensor.is_floating_point()}
    faults = {name: fault for name, tensor in found.items() if (fault := _fault(name, tensor))}
    _refuse(faults, f"{path}: {len(faults)} tensors of its training state are unusable")


def _refuse(faults: Mapping[str, str], subject: str) -> None:
    if faults:
        listed = some(f"{name} ({fault})" for name, fault in faults.items())
        raise InputError(
            f"{subject}: {listed}. The file is damaged, or of a training that has diverged: take "
            "an earlier checkpoint or another copy"
        )


def named_tensors(state: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in a nest of dictionaries, lists and tuples, named by the way to them."""
    if isinstance(state, Tensor):
        yield name, state
    items = state.items() if isinstance(state, Mapping) else ()
    if isinstance(state, (list, tuple)):
        items = enumerate(state)
    for key, value in items:
        yield from named_tensors(value, f"{name}.{key}" if name else str(key))


def _fault(name: str, tensor: Tensor) -> str:
    """Why it cannot be a network's weight or statistic; "" if it can."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta or tensor.layout != torch.strided:
        place = "meta" if tensor.is_meta else str(tensor.layout).removeprefix("torch.")
        return f"{place}, not dense numbers"
    if not tensor.is_floating_point():
        counts = name.endswith(COUNTER) and not tensor.is_complex()
        return "" if counts else f"{kind}, not floating-point numbers"
    values, count = tensor.float(), tensor.numel()
    if not bool(torch.isfinite(values).all()):
        nans, infinite = int(values.isnan().sum()), int(values.isinf().sum())
        return f"of {count} values {nans} are NaN and {infinite} infinite"
    if name.endswith("running_var") and (negative := int((values < 0).sum())):
        return f"{negative} of {count} variances are negative"
    return ""

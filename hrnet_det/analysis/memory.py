"""How much memory tensors take: counted as they are made, on any device, meta included."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are made within it and still there.

    Unlike `torch.autograd.graph.saved_tensors_hooks`, which sees what operations save, it also
    sees what activation checkpointing keeps to start from, and what lives only for a while. It
    works with tensors on the meta device, which have sizes and no values.

    Attributes: live, peak: bytes now, and at most; history: after each operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.history: list[int] = []
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Callable, _: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        self._count((args, kwargs), made=False)  # what comes from outside has been there before
        result = function(*args, **(kwargs or {}))
        self._count(result, made=True)
        self.history.append(self.live)
        return result

    def _count(self, tensors: object, *, made: bool) -> None:
        for tensor in tree_leaves(tensors):
            if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
                continue  # such as a weight in oneDNN's order, which does not tell its size
            storage = tensor.untyped_storage()
            if storage._cdata in self._known:
                continue
            size = storage.nbytes() if made else 0
            self._known.add(storage._cdata)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, storage._cdata, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def activation_bytes(forward: Callable[[], object]) -> int:
    """Bytes that a forward pass leaves for the backward pass, its results included."""
    with LiveBytes() as counted:
        result = forward()
        live = counted.live
    del result
    return live


def peak_bytes(step: Callable[[], object], device: torch.device) -> int:
    """Bytes of tensors that a step takes at most, beside what is there before it.

    On a GPU the allocator says it. On a CPU tensors are counted: the resident memory of the process
    also holds what its allocator has kept of earlier steps.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with LiveBytes() as counted:
        step()
    return counted.peak

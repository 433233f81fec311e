"""How much memory tensors take: counted as they are made, on any device, meta included."""

from __future__ import annotations

import contextlib
import resource
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are made within it and still there.

    Unlike `torch.autograd.graph.saved_tensors_hooks`, which sees what operations save, it also
    sees what activation checkpointing keeps to start from, and what lives only for a while. It
    works with tensors on the meta device, which have sizes and no values.

    Attributes: live, peak: bytes now, and at most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Callable, _: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        self._count((args, kwargs), made=False)  # what comes from outside has been there before
        result = function(*args, **(kwargs or {}))
        self._count(result, made=True)
        return result

    def _count(self, tensors: object, *, made: bool) -> None:
        for tensor in tree_leaves(tensors):
            if not isinstance(tensor, Tensor) or tensor.untyped_storage()._cdata in self._known:
                continue
            storage = tensor.untyped_storage()
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


def peak_resident(function: Callable[[], object]) -> int:
    """Bytes by which the process's resident memory grew at most while function ran."""
    before = _status("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    function()
    return max(_status("VmHWM") - before, 0)


def _status(key: str) -> int:
    """A line of Linux's /proc/self/status in bytes; elsewhere the process's peak for either key."""
    path = Path("/proc/self/status")
    if path.is_file():
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
        return int(lines[key].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

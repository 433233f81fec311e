"""Images that are drawn by several threads, and finished in their order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from detectron2.structures import Instances

from hrnet_det.predict.results import Drawn
from hrnet_det.predict.sources.reading import MOST_WAITING, Read


class DrawingQueue:
    """Draws images while others are detected.

    Args:
        draw: called by threads, with an image's number, itself, and its objects.
        finish: called as soon as possible with what that has returned, or with an image that
            could not be read: in order, by one thread at a time, but not always the same one.
        most: images that wait at a time, at most MOST_WAITING bytes if all are like the largest.
    """

    def __init__(
        self,
        draw: Callable[[int, Read, Instances], Drawn],
        finish: Callable[[Drawn | Read], object],
        *,
        threads: int,
        most: int,
    ) -> None:
        self._draw, self._finish, self._most = draw, finish, most
        self._pool = ThreadPoolExecutor(threads, "draw")
        self._waiting: deque[Future[Drawn | Read]] = deque()
        self._largest = 1  # bytes of an image with its masks
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def add(self, number: int, read: Read, objects: Instances | None) -> None:
        """Have an image drawn; without objects it is only finished. Waits for room.

        Raises: what drawing or finishing an earlier one has raised.
        """
        if objects is not None:
            self._append(self._pool.submit(self._draw, number, read, objects))
        else:
            self._append(known := Future())
            known.set_result(read)
        self._largest = max(self._largest, read.size + _mask_bytes(objects))
        self._wait(min(self._most, MOST_WAITING // self._largest))

    def join(self) -> None:
        """Wait until all are finished. Raises: as `add`."""
        self._wait(0)

    def close(self) -> None:
        """Where it ends early: what is being drawn is finished, the rest is not."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _append(self, future: Future[Drawn | Read]) -> None:
        with self._changed:
            self._waiting.append(future)
        future.add_done_callback(self._advance)

    def _wait(self, most: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) <= most or self._error)
        if self._error:
            raise self._error

    def _advance(self, _: Future) -> None:
        """Finish those at the front that are drawn."""
        with self._changed:
            while self._waiting and self._waiting[0].done() and not self._error:
                first = self._waiting.popleft()
                try:
                    if not first.cancelled():
                        self._finish(first.result())
                except BaseException as error:  # raised where it is waited for
                    self._error = error
            self._changed.notify_all()


def _mask_bytes(objects: Instances | None) -> int:
    """Bytes of an image's masks, where these are arrays."""
    masks = objects.pred_masks if objects is not None and objects.has("pred_masks") else None
    return masks.numel() if isinstance(masks, torch.Tensor) else 0

"""Images read by several threads, ahead of the detector."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from hrnet_det.data.images import DAMAGE, FIRST_IS_WHOLE, open_image, problem_of
from hrnet_det.errors import InputError
from hrnet_det.predict.sources.addresses import fetch
from hrnet_det.predict.sources.file_types import VIDEO
from hrnet_det.predict.sources.find import Source

Reader = Callable[[Image.Image, str], np.ndarray]
MOST_WAITING = 2**29  # bytes of the pixels that are read ahead
_ITSELF = "the image "  # how errors begin of an image without a path


@dataclass(frozen=True)
class Read:
    """An image that is read, or why it is not; or a video, which is read later.

    Attributes:
        pixels: (H, W, 3) uint8, RGB; None where there is a problem, and of a video.
        problem: such as "is truncated", "" for none.
        pages: that the file has, of which the first is read.
    """

    source: Source
    pixels: np.ndarray | None
    problem: str = ""
    pages: int = 1

    @property
    def size(self) -> int:
        """Bytes of its pixels."""
        return 0 if self.pixels is None else self.pixels.nbytes


def read_source(source: Source, reader: Reader) -> Read:
    """Fetch an image where it is behind an address, and decode it.

    Args:
        reader: makes of a PIL image and "RGB" its pixels; raises InputError.
    """
    if source.kind == VIDEO:
        return Read(source, None)
    try:
        place = fetch(source.place) if isinstance(source.place, str) else source.place
        with open_image(io.BytesIO(place) if isinstance(place, bytes) else place) as image:
            pages = _pages(image)
            return Read(source, reader(image, "RGB"), pages=pages)
    except InputError as error:
        return Read(source, None, str(error).removeprefix(_ITSELF))
    except PermissionError as error:
        return Read(source, None, f"cannot be opened ({error.strerror})")
    except DAMAGE as error:
        return Read(source, None, problem_of(error))


def _pages(image: Image.Image) -> int:
    try:
        return 1 if image.format in FIRST_IS_WHOLE else getattr(image, "n_frames", 1)
    except DAMAGE:  # in a page that is not read
        return 1


def read_ahead(
    sources: Iterable[Source], reader: Reader, *, threads: int, ahead: int
) -> Generator[Read, None, None]:
    """`read_source` of each, in order; at most `ahead` images wait for who takes them.

    As many wait as have MOST_WAITING bytes together, if all are like the largest so far.
    """
    sources, waiting, largest, allowed = iter(sources), deque[Future[Read]](), 1, 1
    pool = ThreadPoolExecutor(threads, "read")
    try:
        while True:
            for source in islice(sources, allowed - len(waiting)):
                waiting.append(pool.submit(read_source, source, reader))
            if not waiting:
                return
            read = waiting.popleft().result()
            largest = max(largest, read.size)
            allowed = max(1, min(ahead, MOST_WAITING // largest))
            yield read
    finally:  # also where who takes them ends early
        pool.shutdown(wait=False, cancel_futures=True)

"""The frames of a video, upright and with their times, as far as they can be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

MICROSECOND = Fraction(1, 1_000_000)  # the unit of what a container says of time
DEFAULT_RATE = Fraction(25)  # frames a second, where a video does not say it
HDR = (16, 18)  # transfer characteristics of ITU-T H.273: PQ and HLG
_FILES_ALONE = {"protocol_whitelist": "file"}
_HEADER, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"  # elements of Matroska and WebM


class UnreadableVideo(Exception):
    """A file of which no frame can be read; says why: "has no video stream"."""


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        number: among the frames that could be read, from 0.
        pixels: (H, W, 3) uint8, RGB, turned as the video says that it is shown.
        time: seconds from the video's beginning.
        duration: seconds; 0 where it is not known.
    """

    number: int
    pixels: np.ndarray
    time: Fraction
    duration: Fraction


class VideoReader:
    """A video that is open.

    Attributes:
        time_base: the unit of its times, seconds.
        rate: frames a second, on average.
        frames: how many frames it is likely to have; None where that is not known.
        sound: its audio stream; None without one.
        notes: what is said of it, such as "its colours are HDR".
        damage: what of it could not be read, "" for nothing; complete after the last frame.
    Raises: UnreadableVideo if it has no frame that can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:  # the name of a file is nothing else, and no file leads to an address
            self._file = av.open(f"file:{os.path.abspath(path)}", options=_FILES_ALONE)
        except (av.error.FFmpegError, OSError) as error:
            raise UnreadableVideo(f"cannot be read as a video ({reason_of(error)})") from error
        shown = [
            s for s in self._file.streams.video if not s.disposition & Disposition.attached_pic
        ]
        if not shown:
            self.close()
            raise UnreadableVideo("has no video stream")
        self._stream = shown[0]
        self._stream.thread_type = (
            "SLICE"  # several frames at a time lose some where one is damaged
        )
        self.time_base = self._stream.time_base or Fraction(1, 90_000)
        self.rate = self._stream.average_rate or self._stream.guessed_rate or DEFAULT_RATE
        self.sound = self._file.streams.audio[0] if self._file.streams.audio else None
        self.notes: list[str] = []
        self.damage = "is cut off: its end is missing" if _is_cut_off(self._path) else ""
        start = (self._file.start_time or 0) * MICROSECOND
        self._start = round(start / self.time_base)  # of the whole file, so that sound fits
        self._first: tuple[int, int] | None = None  # width and height before a turn
        self._turns = 0  # quarters, counterclockwise

    @property
    def frames(self) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        seconds = (self._file.duration or 0) * MICROSECOND
        return round(seconds * self.rate) or None

    @property
    def start(self) -> Fraction:
        """The time of the file's own clock that is 0 here, seconds."""
        return self._start * self.time_base

    @property
    def aspect(self) -> Fraction:
        """Width of a pixel by its height, once a frame is read; 1 where it is not known."""
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        return 1 / aspect if self._turns % 2 else aspect

    def read(
        self, every: int = 1, sound: Callable[[av.Packet], None] | None = None
    ) -> Iterator[Frame]:
        """Every nth frame, the first one included, in the order in which they are shown.

        Args:
            sound: called with the packets of `sound` as they come.
        """
        number = 0
        for frame in self._decoded(sound):
            if number % every == 0:
                yield self._frame(frame, number)
            number += 1
        if not number:
            raise UnreadableVideo(self.damage or "has no frame")

    def close(self) -> None:
        self._file.close()

    def _decoded(self, sound: Callable[[av.Packet], None] | None) -> Iterator[av.VideoFrame]:
        streams = [self._stream] if sound is None else [self._stream, self.sound]
        packets = self._file.demux(streams)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                self._damaged(error)
                packet = None
            if packet is None:
                return
            if packet.stream is not self._stream:
                if packet.dts is not None:  # the one that says that there are no more
                    sound(packet)
                continue
            try:
                for frame in packet.decode():
                    if packet.is_corrupt or frame.is_corrupt:
                        self._damaged()
                    yield frame
            except av.error.FFmpegError as error:
                self._damaged(error)

    def _damaged(self, error: av.error.FFmpegError | None = None) -> None:
        if not self.damage:
            reason = "" if error is None else f" ({reason_of(error)})"
            self.damage = f"is damaged: a part of it cannot be decoded{reason}"

    def _frame(self, frame: av.VideoFrame, number: int) -> Frame:
        size = frame.width, frame.height
        if self._first is None:
            self._first, self._turns = size, round(frame.rotation / 90) % 4
            if getattr(frame, "color_trc", None) in HDR:
                self.notes.append("its colours are HDR, and look paler here than on an HDR screen")
        if size != self._first:
            text = "frames of other sizes are brought to {}x{}, that of its first one"
            self._note(text.format(*self._first))
        width, height = self._first
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
        pixels = np.ascontiguousarray(np.rot90(pixels, self._turns))
        if frame.pts is None:
            self._note("it does not say the times of its frames: they are taken to be equal")
            time = number / self.rate
        else:
            time = (frame.pts - self._start) * self.time_base
        return Frame(number, pixels, time, (frame.duration or 0) * self.time_base)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def reason_of(error: Exception) -> str:
    """What an error of FFmpeg's says, without its number and the name of the file."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _is_cut_off(path: Path) -> bool:
    """Whether a Matroska file is shorter than it says, of which FFmpeg says nothing.

    Source: RFC 8794 (lengths), RFC 9559 (a header, then one segment with all the rest).
    """
    with open(path, "rb") as file:
        for element in (_HEADER, _SEGMENT):
            if file.read(4) != element:
                return False
            length = _length(file.read(8))
            if length is None:  # not known before its end, as of a stream
                return False
            size, taken = length
            file.seek(taken - 8 + (size if element is _HEADER else 0), os.SEEK_CUR)
        return file.tell() + size > os.path.getsize(path)


def _length(start: bytes) -> tuple[int, int] | None:
    """The length that an element states, and in how many bytes it does; None for an unknown one."""
    taken = 9 - start[0].bit_length() if start and start[0] else 9
    if taken > len(start):
        return None
    most = (1 << 7 * taken) - 1
    size = int.from_bytes(start[:taken], "big") & most
    return None if size == most else (size, taken)

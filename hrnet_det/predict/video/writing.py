"""A video that is written frame by frame, and can be played however the writing ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from hrnet_det.predict.video.reading import Frame, VideoReader, reason_of
from hrnet_det.predict.writing import said_of

# Encoders that a build of FFmpeg may have, the best first, with what they are told.
ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "libopenh264": {"rc_mode": "quality"},
    "mpeg4": {"qmin": "2", "qmax": "5"},
}
# Whole fragments until the end, which makes an ordinary file of them. Sound that begins before the
# first frame, as that of AAC, does not move the frames.
_CONTAINER = {"movflags": "+hybrid_fragmented", "use_editlist": "1"}
_SOUND = {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "flac", "opus"}  # that MP4 takes as it is
_MPEG4_UNIT = Fraction(1, 60_000)  # seconds; MPEG-4's has 16 bits
_BITS = 0.2  # of a pixel of a frame, for encoders without a quality
_BT709 = 1  # in ITU-T H.273, of primaries, transfer and matrix


@contextlib.contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """As `said_of`, for FFmpeg's errors as well, of which some are not the system's."""
    with said_of(path):
        try:
            yield
        except av.error.FFmpegError as error:
            raise OSError(error.errno, reason_of(error)) from error


class VideoWriter:
    """An MP4 file with the frames of one size that it is given, in H.264 where that can be.

    Args:
        source: the video that they are of, which says their rate, and has the sound.
    """

    def __init__(self, path: str | Path, source: VideoReader) -> None:
        self._path, self._source = Path(path), source
        self.encoder = next(name for name in ENCODERS if name in av.codecs_available)
        self.notes: list[str] = []
        self._file: av.container.OutputContainer | None = None
        self._waiting: list[av.Packet] = []  # sound, until the first frame
        self._last = -1  # time, in the stream's units
        self._with_sound = self._takes_sound()

    def add(self, frame: Frame) -> None:
        """Write a frame, (H, W, 3) uint8, RGB."""
        pixels = _even(frame.pixels)
        with _said_of(self._path):
            if self._file is None:
                self._open(pixels, frame.pixels.shape)
            image = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            image = image.reformat(format="yuv420p", dst_colorspace="ITU709")
            unit = self._stream.codec_context.time_base
            self._last = max(self._last + 1, round(frame.time / unit))
            image.pts, image.time_base = self._last, unit
            image.duration = round(frame.duration / unit)
            self._file.mux(self._stream.encode(image))

    def add_sound(self, packet: av.Packet) -> None:
        """Write a packet of the source's sound as it is."""
        if not self._with_sound:
            return
        if self._file is None:
            self._waiting.append(packet)
            return
        start = round(self._source.start / packet.time_base)
        packet.dts -= start
        packet.pts = packet.dts if packet.pts is None else packet.pts - start
        packet.stream = self._sound
        with _said_of(self._path):
            self._file.mux(packet)

    def close(self) -> None:
        """Write what is held back, and the index; without a frame there is no file."""
        if self._file is None:
            return
        with _said_of(self._path):
            try:
                self._file.mux(self._stream.encode())
            finally:
                self._file.close()

    def _takes_sound(self) -> bool:
        sound = self._source.sound
        if sound is None:
            return False
        name = sound.codec_context.name
        if name not in _SOUND:
            self.notes.append(f"its sound ({name}) is left out, as MP4 does not take it")
        return name in _SOUND

    def _open(self, pixels: np.ndarray, given: tuple[int, ...]) -> None:
        height, width = pixels.shape[:2]
        if (height, width) != given[:2]:
            size = f"{given[1]}x{given[0]}, written as {width}x{height}"
            self.notes.append(f"its frames are {size}: videos have even sides")
        if self.encoder == "mpeg4":
            text = "written as MPEG-4 Part 2, as this FFmpeg has no encoder of H.264: browsers"
            self.notes.append(f"{text} do not play it")
        name = f"file:{os.path.abspath(self._path)}"
        self._file = av.open(name, "w", format="mp4", options=_CONTAINER)
        rate = self._source.rate
        self._stream = stream = self._file.add_stream(
            self.encoder, rate=rate, options=ENCODERS[self.encoder]
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        coder = stream.codec_context
        coder.time_base, coder.gop_size = self._unit(), max(1, round(2 * rate))
        coder.max_b_frames = 0  # times begin where they do in the source
        coder.sample_aspect_ratio = self._source.aspect
        coder.bit_rate = 0 if self.encoder == "libx264" else round(_BITS * width * height * rate)
        coder.colorspace = coder.color_primaries = coder.color_trc = _BT709
        coder.color_range = 1  # black is 16
        if self._with_sound:
            self._sound = self._file.add_stream_from_template(self._source.sound)
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            self.add_sound(packet)

    def _unit(self) -> Fraction:
        unit = self._source.time_base
        limited = self.encoder == "mpeg4" and unit.denominator > 65_535
        return _MPEG4_UNIT if limited else unit


def _even(pixels: np.ndarray) -> np.ndarray:
    """With sides of even lengths: the last row and column are repeated where they are odd."""
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")

"""Videos written and read with PyAV alone."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

UNIT = Fraction(1, 1000)  # of the times of frames, seconds


class Video(NamedTuple):
    """What is in a file: frames, (N, H, W, 3) uint8 RGB, and their times in milliseconds."""

    frames: np.ndarray
    times: list[int]
    codec: str
    packets: list[bytes]  # of its sound


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    *,
    codec: str = "libx264",
    sound: str = "",
) -> Path:
    """Frames at times in milliseconds, by default 25 a second; with a tone in a codec."""
    times = range(0, 40 * len(frames), 40) if times is None else times
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        even = not (stream.height % 2 or stream.width % 2)
        stream.pix_fmt = "yuv420p" if even else "yuv444p"
        stream.codec_context.time_base, stream.codec_context.gop_size = UNIT, 5
        tone = file.add_stream(sound, rate=8000, layout="mono") if sound else None
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, UNIT
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if tone is not None:
            wave = (1000 * np.sin(np.arange(8000))).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, 0
            file.mux(tone.encode(frame))
            file.mux(tone.encode())
    return path


def read_video(path: Path) -> Video:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        codec, found = stream.codec_context.name, list(file.decode(stream))
    frames = np.stack([frame.to_ndarray(format="rgb24") for frame in found])
    times = [round(frame.pts * frame.time_base / UNIT) for frame in found]
    with av.open(str(path)) as file:
        packets = [bytes(p) for p in file.demux(audio=0) if p.size] if file.streams.audio else []
    return Video(frames, times, codec, packets)


def turn(path: Path) -> None:
    """Let an MP4 file say, as phones do, that it is shown turned by a quarter, clockwise."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2: version 0
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)

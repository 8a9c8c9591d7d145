"""Tiny films for tests, made with FFmpeg's encoders and from colours that are known."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

TICK = Fraction(1, 12_800)
SOUND_RATE = 48_000
COLOURS = (
    ((255, 0, 0), (0, 255, 0), (0, 0, 255)),
    ((255, 255, 255), (0, 0, 0), (200, 120, 40)),
)
"""Of a chart's six fields."""


def chart(width: int = 48, height: int = 32, shift: int = 0) -> NDArray[np.uint8]:
    """`(H, W, 3)`: six flat fields; `shift` moves their colours, so that frames can be told apart."""
    rows = np.arange(height) * 2 // height
    columns = (np.arange(width) * 3 // width + shift) % 3
    return np.array(COLOURS, np.uint8)[rows[:, None], columns[None]]


def fields(values: Any) -> NDArray[np.float64]:
    """The colours `(2, 3, 3)` in the middles of a chart's fields, as values are."""
    height, width = values.shape[:2]
    rows = [height // 4, height * 3 // 4]
    columns = [width // 6, width // 2, width * 5 // 6]
    return np.array([[values[row, column, :3] for column in columns] for row in rows], np.float64)


def limited_yuv(rgb: NDArray[Any], red: float, blue: float, *, full: bool = False, bits: int = 8) -> NDArray[Any]:
    """`(H, W, 3)` of 0..255 as `(3, H, W)` Y'CbCr by the definition in ITU-T H.273, without FFmpeg."""
    r, g, b = np.moveaxis(rgb.astype(np.float64) / 255, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    unit = 2 ** (bits - 8)
    if full:
        top = 2**bits - 1
        planes = np.stack((y * top, cb * top + 128 * unit, cr * top + 128 * unit))
    else:
        planes = np.stack(((16 + 219 * y) * unit, (128 + 224 * cb) * unit, (128 + 224 * cr) * unit))
    return planes.round().clip(0, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)


def frame_of_planes(planes: NDArray[Any], pixels: str) -> av.VideoFrame:
    """A frame whose planes `(3, H, W)` are stored as they are, at full size."""
    frame = av.VideoFrame(planes.shape[2], planes.shape[1], pixels)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    return frame


def film(
    path: Path,
    count: int = 8,
    *,
    width: int = 48,
    height: int = 32,
    ticks: Sequence[int] | None = None,
    sound: float = 0,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    **options: str,
) -> Path:
    """A film of charts at 25 frames a second, or at `ticks` of 1/12800 s; `sound` is a sine of so many seconds."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.time_base = TICK
        voice: Any = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(chart(width, height, number)).reformat(format=pixels)
            frame.pts, frame.time_base = ticks[number] if ticks else number * 512, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice:
            container.mux([*voice.encode(sine(sound)), *voice.encode(None)])
    return path


def sine(seconds: float) -> av.AudioFrame:
    """440 Hz, mono, growing louder, so that its samples tell their time."""
    time = np.arange(int(seconds * SOUND_RATE)) / SOUND_RATE
    values = (np.sin(2 * np.pi * 440 * time) * time / seconds).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(values[None], "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
    return frame


def sound_of(path: Path) -> NDArray[np.float32]:
    """The samples of a film's sound, all of its channels averaged."""
    with av.open(str(path)) as container:
        heard = np.concatenate([frame.to_ndarray().mean(0) for frame in container.decode(audio=0)])
        whole = container.streams.audio[0].codec_context.format.name.startswith("s16")
    return (heard / (32_768 if whole else 1)).astype(np.float32)


def turned(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write a display matrix [[a, b], [c, d]] into an MP4's track header (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    header = data.find(b"tkhd") + 4
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, header + (40 if data[header] == 0 else 52), a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path

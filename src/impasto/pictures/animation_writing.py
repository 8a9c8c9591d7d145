"""Films as animations: GIF, animated PNG and animated WebP, one frame in memory at a time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.pictures import png_chunks
from impasto.pictures.animation import FINEST, FOREVER, HURRIED, RECORD_MARK, TIME_BASE
from impasto.pictures.arrays import to_array
from impasto.pictures.embedding import PNG_KEYWORD, exif_with_record
from impasto.pictures.film_format import FilmFormat
from impasto.pictures.picture import Picture

Shown = Iterable[tuple[Picture, Fraction]]
"""Pictures with their times in seconds, rising from 0."""


def write_animation(path: Path, frames: Shown, format: FilmFormat, end: Fraction, record: str | None) -> None:
    """Write a GIF, an animated PNG or an animated WebP, by `format.kind`, one frame in memory at a time.

    The last frame is shown until `end` seconds after the first. Raises OSError where `path` cannot be written.
    """
    writers = {"gif": _write_gif, "apng": _write_apng, "webp": _write_webp}
    writers[format.kind](path, frames, format, end, record)


def _with_ends(frames: Shown, end: Fraction) -> Iterator[tuple[Picture, Fraction, Fraction]]:
    """Each picture with its time and the next one's."""
    before = None
    for picture, time in frames:
        if before is not None:
            yield *before, time
        before = picture, time
    if before is not None:
        yield *before, end


# GIF: a palette of its own for each frame, dithered; at most 50 frames a second, because browsers slow down others


_CLEAR = 255  # the place in each palette that stands for transparency
_REMOVED = 2  # what becomes of a frame: the next one may be transparent where this one is not


def _write_gif(path: Path, frames: Shown, format: FilmFormat, end: Fraction, record: str | None) -> None:
    with path.open("wb") as file:
        file.write(b"GIF89a" + struct.pack("<HHBBB", format.width, format.height, 0x70, 0, 0))
        if format.loops:
            file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")
        if record is not None:
            file.write(b"!\xfe" + _gif_blocks(RECORD_MARK + record.encode()))
        for picture, duration in _in_hundredths(frames, end):
            _write_gif_frame(file, to_array(picture), duration)
        file.write(b";")


def _in_hundredths(frames: Shown, end: Fraction) -> Iterator[tuple[Picture, int]]:
    """Durations in 1/100 s whose rounding does not add up; frames for which no time is left are dropped."""
    shortest = int(HURRIED * 100)
    waiting, begun = None, 0
    for picture, time in frames:
        tick = round(time * 100)
        if waiting is None:
            waiting, begun = picture, tick
        elif tick - begun >= shortest:
            yield waiting, tick - begun
            waiting, begun = picture, tick
    if waiting is not None:
        yield waiting, max(shortest, round(end * 100) - begun)


def _write_gif_frame(file: BinaryIO, array: NDArray[Any], duration: int) -> None:
    from PIL import GifImagePlugin

    colours = Image.fromarray(np.ascontiguousarray(array[..., :3]))
    palette = colours.quantize(_CLEAR, Image.Quantize.MEDIANCUT)
    indices = np.array(colours.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
    if array.shape[2] == 4:
        indices[array[..., 3] < 128] = _CLEAR
    frame = Image.fromarray(indices).convert("P")
    frame.putpalette(bytes(palette.getpalette() or b"")[:768].ljust(768, b"\0"))
    control = {"duration": min(duration, 65_535) * 10, "transparency": _CLEAR, "disposal": _REMOVED}
    file.writelines(GifImagePlugin.getdata(frame, (0, 0), include_color_table=True, **control))


def _gif_blocks(content: bytes) -> bytes:
    blocks = (content[start : start + 255] for start in range(0, len(content), 255))
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


# PNG (W3C PNG, third edition, section 11.3.6): each frame's own PNG gives its chunks


def _write_apng(path: Path, frames: Shown, format: FilmFormat, end: Fraction, record: str | None) -> None:
    import imagecodecs

    count = sequence = 0
    with path.open("wb") as file:
        for count, (picture, time, until) in enumerate(_with_ends(frames, end), 1):
            png = bytes(imagecodecs.png_encode(_with_alpha(to_array(picture, 16 if format.deep else 8))))
            parts = list(png_chunks.chunks(png))
            if count == 1:
                file.write(png_chunks.SIGNATURE)
                _write_chunk(file, *parts[0])
                control = file.tell()
                _write_chunk(file, b"acTL", bytes(8))
                _write_chunk(file, b"sRGB", b"\0")
                if record is not None:
                    _write_chunk(file, b"iTXt", png_chunks.international_text(PNG_KEYWORD, record))
            _write_chunk(file, b"fcTL", struct.pack(">I", sequence) + _frame_control(format, until - time))
            sequence += 1
            for content in (content for kind, content in parts if kind == b"IDAT"):
                if count == 1:
                    _write_chunk(file, b"IDAT", content)
                else:
                    _write_chunk(file, b"fdAT", struct.pack(">I", sequence) + content)
                    sequence += 1
        _write_chunk(file, b"IEND", b"")
        file.seek(control)
        _write_chunk(file, b"acTL", struct.pack(">II", count, FOREVER if format.loops else 1))


def _frame_control(format: FilmFormat, seconds: Fraction) -> bytes:
    seconds = min(seconds, Fraction(FINEST))
    delay = seconds.limit_denominator(max(1, min(FINEST, int(FINEST / max(seconds, Fraction(1))))))
    replaced, opaque = 0, 0
    return struct.pack(
        ">IIIIHHBB", format.width, format.height, 0, 0, delay.numerator, delay.denominator, replaced, opaque
    )


def _with_alpha(array: NDArray[Any]) -> NDArray[Any]:
    if array.shape[2] == 4:
        return array
    return np.concatenate((array, np.full_like(array[..., :1], np.iinfo(array.dtype).max)), axis=2)


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    file.write(struct.pack(">I", len(content)) + kind + content + checksum)


# WebP (RFC 9649): FFmpeg's encoder, which keeps compressed frames only; Pillow's wants all of them at once

_WEBP_QUALITY = {"draft": ("60", "0"), "good": ("80", "0"), "high": ("92", "0"), "master": ("100", "1")}
_WEBP_HEADER, _HAS_EXIF, _HAS_ALPHA, _MS = 12, 0x08, 0x10, 1000


def _write_webp(path: Path, frames: Shown, format: FilmFormat, end: Fraction, record: str | None) -> None:
    import av

    quality, lossless = _WEBP_QUALITY[format.quality]
    loop = str(FOREVER if format.loops else 1)
    with av.open(str(path), "w", format="webp", options={"loop": loop}) as container:
        options = {"quality": quality, "lossless": lossless, "loop": loop}
        stream = container.add_stream("libwebp_anim", rate=format.rate.limit_denominator(1000), options=options)
        stream.width, stream.height, stream.pix_fmt = format.width, format.height, "bgra"
        stream.codec_context.time_base = TIME_BASE
        for picture, time in frames:
            array = _with_alpha(to_array(picture))
            frame = av.VideoFrame.from_ndarray(array, "rgba").reformat(format="bgra")
            frame.pts, frame.time_base = round(time * _MS), TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    _end_webp(data, round(end * _MS))
    if record is not None:
        _put_record_into_webp(data, format, exif_with_record(record, path))
    data[4:8] = struct.pack("<I", len(data) - 8)
    path.write_bytes(data)


def _end_webp(data: bytearray, end: int) -> None:
    """Show the last frame until `end` ms: FFmpeg cannot tell that to the encoder."""
    position, last, shown = _WEBP_HEADER, None, 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"ANMF":
            last = position + 8 + 12
            shown += int.from_bytes(data[last : last + 3], "little")
        position += 8 + length + length % 2
    if last is not None:
        before = shown - int.from_bytes(data[last : last + 3], "little")
        data[last : last + 3] = max(1, end - before).to_bytes(3, "little")


def _put_record_into_webp(data: bytearray, format: FilmFormat, exif: bytes) -> None:
    if data[12:16] != b"VP8X":  # one frame, in the simple format, which has no place for it
        size = (format.width - 1).to_bytes(3, "little") + (format.height - 1).to_bytes(3, "little")
        alpha = _HAS_ALPHA if data[12:16] == b"VP8L" else 0
        data[12:12] = b"VP8X" + struct.pack("<IB3x", 10, alpha) + size
    data[20] |= _HAS_EXIF
    data += b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)

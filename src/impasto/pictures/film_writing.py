"""Films into files: parts that can be played, joined without encoding again, with the sound of another film."""

from __future__ import annotations

import heapq
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from impasto.errors import ImpastoError, PictureError, UsageError
from impasto.pictures.arrays import to_array
from impasto.pictures.atomic import atomic_write, write_failure
from impasto.pictures.film_format import ANIMATIONS, FilmFormat
from impasto.pictures.film_sound import SoundError, sound_packets
from impasto.pictures.footage import frame_name, picture_of, raster_of_frame
from impasto.pictures.numbered import (
    check_numbered,
    is_pattern,
    read_numbered_record,
    remove_other_numbers,
    write_numbered,
)
from impasto.pictures.picture import Picture
from impasto.pictures.video import demuxer, opened_video
from impasto.pictures.video_colors import BT709, LIMITED, bits_of, of_rgb, to_rgb

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

__all__ = ["FilmFormat", "join_parts", "read_film_record", "write_part"]

_RECORD_MARK = "impasto:"
_SECONDS_BETWEEN_KEYFRAMES = 4


def write_part(path: str | Path, frames: Iterable[tuple[Tensor, Fraction]], format: FilmFormat, end: Fraction) -> None:
    """Write a part of a film: a file of its own that can be played, of suffix `format.part_suffix`.

    `frames` are pixels `(1, 3, H, W)`, or `(1, 4, H, W)` with alpha, in 0..1, with their times in seconds on the
    film's clock, rising; the last is shown until `end`. They are rounded to `format.time_base` and nothing else. Sides
    that must be even are padded by repeating the last row or column. Videos have no alpha: they are laid on white.
    The file appears whole or not at all. Raises PictureError where it cannot be written, UsageError for no frames.
    """
    path = Path(path)
    with _written(path), atomic_write(path) as temporary:
        _encode(temporary, frames, format, end, path)


def join_parts(
    parts: Sequence[Path],
    target: str | Path,
    format: FilmFormat,
    *,
    sound_of: Path | None = None,
    sound_start: Fraction = Fraction(0),
    end: Fraction,
    cut_sound: bool = True,
    record: str | None = None,
    replaces: bool = False,
) -> None:
    """Join what `write_part` wrote, in order, to the film `target`; videos are not encoded again.

    All times are on the clock of the film `sound_of`, whose first frame is at 0: its sound is cut to
    `sound_start` .. `end`, or without `cut_sound` kept to its own end, and starts with the first part; it is copied
    where the container takes its codec, else encoded as AAC, in WebM as Opus. A UserWarning says what of it is left
    out. `record` is a JSON text that `read_film_record` finds again. The file appears whole or not at all; frames of
    a folder do so one by one, and those of a longer film are removed after them if it `replaces` that.

    Raises PictureError where a part or the film `sound_of` cannot be opened, parts do not fit, or `target` cannot be
    written.
    """
    target = Path(target)
    if not parts:
        raise UsageError(f"{target}: no parts to join")
    if format.kind == "folder":
        count = sum(_count(part) for part in parts)
        if not replaces:
            check_numbered(target, count)
        write_numbered(target, (one for one, _ in _frames_of(parts)), bits=16 if format.deep else 8, record=record)
        if replaces:
            remove_other_numbers(target, count)
        return
    with _written(target), atomic_write(target) as temporary:
        if format.kind == "video":
            sound = None if sound_of is None else _Sound(sound_of, sound_start, end if cut_sound else None)
            _with_or_without(sound, partial(_remux, parts, temporary, format, end, record), target)
        else:
            from impasto.pictures.animation_writing import write_animation

            write_animation(temporary, _frames_of(parts), format, end, record)


def read_film_record(path: str | Path) -> str | None:
    """The record that `join_parts` left in a film, or None. Raises PictureError for what cannot be read."""
    path = Path(path)
    if path.is_dir() or is_pattern(path):
        return read_numbered_record(path)
    if path.suffix.lower() in ANIMATIONS:
        from impasto.pictures.animation import read_animation_record

        return read_animation_record(path)
    with opened_video(path) as (container, _):
        comments = (text for key, text in container.metadata.items() if key.lower() == "comment")
        return next((text.removeprefix(_RECORD_MARK) for text in comments if text.startswith(_RECORD_MARK)), None)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn what FFmpeg and the disk raise while writing in this block into one sentence."""
    import av

    try:
        yield
    except ImpastoError:
        raise
    except OSError as error:
        raise PictureError(write_failure(path, error)) from error
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        raise PictureError(f"{path}: could not be encoded ({error}); try another codec or suffix") from error


# Parts


def _encode(
    temporary: Path, frames: Iterable[tuple[Tensor, Fraction]], format: FilmFormat, end: Fraction, path: Path
) -> None:
    import av

    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise UsageError(f"{path}: no frames to write")
    start = first[1]
    span = json.dumps({"start": str(start), "end": str(end)})
    with av.open(str(temporary), "w", format=format.part_suffix[1:]) as container:
        container.metadata["comment"] = span
        stream = _video_stream(container, format)
        packets = _encoded(chain([first], rest), stream, format, start)
        for packet in _with_durations(packets, _ticks(end - start, format.time_base)):
            container.mux(packet)


def _video_stream(container: Any, format: FilmFormat) -> Any:
    os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 would print its settings to the terminal
    encoding = format.encoding
    stream = container.add_stream(encoding.encoder, rate=format.rate.limit_denominator(100_000))
    stream.options = {**encoding.options, **_repeatably(encoding.encoder)}
    stream.width, stream.height = format.padded
    stream.pix_fmt = encoding.pixels
    context = stream.codec_context
    context.time_base = format.time_base
    context.sample_aspect_ratio = format.sample_aspect_ratio
    if encoding.pixels.startswith("yuv"):
        context.color_range, context.colorspace = LIMITED, BT709
        context.color_primaries = context.color_trc = BT709
        context.gop_size = max(1, min(250, round(format.rate * _SECONDS_BETWEEN_KEYFRAMES)))
    if encoding.tag:
        context.codec_tag = encoding.tag
    return stream


def _repeatably(encoder: str) -> dict[str, str]:
    """Options without which an encoder would not make the same file of the same frames each time."""
    avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return {"x264-params": "asm=avx2"} if avx512 and encoder == "libx264" else {}


def _encoded(
    frames: Iterable[tuple[Tensor, Fraction]], stream: Any, format: FilmFormat, start: Fraction
) -> Iterator[Packet[Any]]:
    for pixels, time in frames:
        frame = of_rgb(_fitted(pixels, format), format.encoding.pixels)
        frame.pts, frame.time_base = _ticks(time - start, format.time_base), format.time_base
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _fitted(pixels: Tensor, format: FilmFormat) -> NDArray[Any]:
    """`(H, W, 3|4)` as the encoder wants it: depth, alpha, even sides."""
    colours, alpha = pixels[:, :3].detach().float().cpu(), pixels[:, 3:].detach().float().cpu()
    if alpha.shape[1] and format.kind == "video":
        colours = colours * alpha + (1 - alpha)
    width, height = format.padded
    colours = F.pad(colours, (0, width - colours.shape[-1], 0, height - colours.shape[-2]), mode="replicate")
    array = to_array(
        Picture(colours, alpha if alpha.shape[1] and format.kind != "video" else None), 16 if format.deep else 8
    )
    if format.kind == "video" or array.shape[2] == 4:
        return array
    opaque = np.full_like(array[..., :1], np.iinfo(array.dtype).max)
    return np.concatenate((array, opaque), axis=2)


def _ticks(time: Fraction, time_base: Fraction) -> int:
    return round(time / time_base)


def _with_durations(packets: Iterable[Packet[Any]], end: int) -> Iterator[Packet[Any]]:
    """Packets in the order of their times, each lasting until the next, the last until `end`, in its time base."""
    before = None
    for packet in packets:
        if before is not None:
            before.duration = (packet.pts or 0) - (before.pts or 0)
            yield before
        before = packet
    if before is not None:
        before.duration = max(1, end - (before.pts or 0))
        yield before


# Joining


def _span(container: Any, path: Path) -> tuple[Fraction, Fraction]:
    try:
        span = json.loads(container.metadata["comment"])
        return Fraction(span["start"]), Fraction(span["end"])
    except (KeyError, TypeError, ValueError) as error:
        raise PictureError(f"{path}: is no part of a film; remove it and start again") from error


def _count(part: Path) -> int:
    with opened_video(part) as (_, stream):
        return stream.frames


class _Sound(NamedTuple):
    """Of a film, from and to when; None is its own end."""

    of: Path
    start: Fraction
    end: Fraction | None


def _with_or_without(sound: _Sound | None, remux: Callable[[_Sound | None], None], target: Path) -> None:
    """Whatever is wrong with its sound, the film is written."""
    import av

    try:
        remux(sound)
    except (SoundError, av.error.FFmpegError, ValueError) as error:
        if sound is None or isinstance(error, OSError):
            raise
        remux(None)
        warnings.warn(f"{sound.of}: its sound is damaged, so {target.name} has none", stacklevel=2)


def _remux(
    parts: Sequence[Path],
    temporary: Path,
    format: FilmFormat,
    end: Fraction,
    record: str | None,
    sound: _Sound | None,
) -> None:
    import av

    options = {"movflags": "faststart+use_metadata_tags"} if format.container in ("mp4", "mov") else {}
    with ExitStack() as stack:
        first, template = demuxer(parts[0])
        stack.enter_context(first)
        target = stack.enter_context(av.open(str(temporary), "w", format=format.container, container_options=options))
        if record is not None:
            target.metadata["comment"] = _RECORD_MARK + record
        stream = target.add_stream_from_template(template, opaque=True)
        stream.time_base = template.time_base
        stream.codec_context.sample_aspect_ratio = format.sample_aspect_ratio  # not every codec tells it itself
        if format.encoding.tag and format.container in ("mp4", "mov"):
            stream.codec_context.codec_tag = format.encoding.tag
        start = _span(first, parts[0])[0]
        sources = [_video_packets(parts, stream, template, start, end)]
        if sound is not None:
            packets = sound_packets(sound.of, target, format.container, sound.start, sound.end)
            sources.append(stack.enter_context(packets))
        for packet in heapq.merge(*sources, key=lambda one: (one.dts or 0) * one.time_base):
            target.mux(packet)


def _video_packets(
    parts: Sequence[Path], stream: Any, template: VideoStream, start: Fraction, end: Fraction
) -> Iterator[Packet[Any]]:
    time_base = template.time_base or Fraction(1)

    def moved() -> Iterator[Packet[Any]]:
        reached = start
        for part in parts:
            with opened_video(part) as (container, source):
                begins, ends = _span(container, part)
                if begins != reached or not _fit(source, template):
                    raise PictureError(f"{part}: does not go on where the part before ends; write the parts again")
                reached = ends
                for packet in container.demux(source):
                    if packet.dts is None:
                        continue
                    packet.pts = packet.dts = packet.dts + _ticks(begins - start, time_base)
                    packet.stream = stream
                    yield packet

    return _with_durations(moved(), _ticks(end - start, time_base))


def _fit(one: VideoStream, other: VideoStream) -> bool:
    """Whether a decoder can go from one to the other without noticing."""

    def traits(stream: VideoStream) -> tuple[Any, ...]:
        context = stream.codec_context
        return context.name, context.width, context.height, context.pix_fmt, context.extradata, stream.time_base

    return traits(one) == traits(other)


def _frames_of(parts: Sequence[Path]) -> Iterator[tuple[Picture, Fraction]]:
    """The pictures of lossless parts, with their times from the first part's start."""
    start, number = None, 0
    for part in parts:
        with opened_video(part) as (container, stream):
            begins = _span(container, part)[0]
            start = begins if start is None else start
            for frame in container.decode(stream):
                picture = picture_of(raster_of_frame(to_rgb(frame), bits_of(frame)), frame_name(part.name, number))
                yield picture, begins - start + (frame.pts or 0) * (stream.time_base or 0)
                number += 1

"""The sound of one film for another: copied where its container takes it, encoded where it does not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from impasto.errors import PictureError
from impasto.pictures.video import decoded_frames, demuxer, opened_video, timed_frames

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

_COPIED = {
    "mp4": ("aac", "mp3", "mp3float", "ac3", "eac3", "alac"),
    "mov": ("aac", "mp3", "mp3float", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"),
    "matroska": ("aac", "mp3", "mp3float", "ac3", "eac3", "alac", "flac", "opus", "vorbis", "pcm_s16le", "pcm_s24le"),
    "webm": ("opus", "vorbis"),
}
_BIT_RATE = {"aac": 192_000, "libopus": 128_000}
_RATES = (22_050, 24_000, 32_000, 44_100, 48_000)
_USUAL_RATE = 48_000
_JUMP = 1
"""In seconds: a clock set back by more starts anew."""
_NOTICED = 0.04
"""In seconds: sound that is early by more is noticed (ITU-R BT.1359)."""
_TICK = Fraction(1, 1_000_000)
"""In seconds: some files count in ticks of whole packets, too coarse to be moved by."""
_Packets: TypeAlias = "Iterator[tuple[Packet[Any], Fraction, int]]"


class SoundError(Exception):
    """The sound of a film cannot be read at all; the film can be written without it."""


@contextmanager
def sound_packets(
    path: Path, target: OutputContainer, container: str, start: Fraction, end: Fraction | None
) -> Iterator[Iterator[Packet[Any]]]:
    """The sound of the film `path` between two times after its first frame, as packets of a new stream of `target`.

    Packets come in order, from time 0 on; without sound there are none. `end` is None for all that follows. What is
    encoded is mono or stereo; what is damaged is left out or silent. A UserWarning says when there are other tracks,
    or none that can be decoded. Raises SoundError, also while packets are drawn, where nothing can be read.
    """
    source, _ = demuxer(path)
    with source:
        stream = _track(source, path)
        if stream is None:
            yield iter(())
            return
        length = None if end is None else end - start
        packets = _packets(source, stream, path)
        if stream.codec_context.name in _COPIED[container]:
            # Only these two can hide what precedes the start and is needed to decode it.
            earliest = Fraction(0) if container in ("mp4", "mov") else None
            copy = target.add_stream_from_template(stream, opaque=True)
            yield _readable(_copied(packets, copy, start, length, earliest), path)
        else:
            codec = "libopus" if container == "webm" else "aac"
            rate = stream.codec_context.sample_rate if codec == "aac" else _USUAL_RATE
            rate = rate if rate in _RATES else _USUAL_RATE
            encoder: Any = target.add_stream(codec, rate=rate, layout=_layout(stream))
            encoder.bit_rate = _BIT_RATE[codec]
            yield _readable(_encoded(packets, encoder, start, length), path)


def _track(source: InputContainer, path: Path) -> Any:
    """The first track of sound that can be decoded, or None."""
    tracks = source.streams.audio
    track = next((one for one in tracks if one.codec_context is not None), None)
    if tracks and track is None:
        warnings.warn(f"{path}: its sound is in a format that is not supported, and left out", stacklevel=2)
    elif len(tracks) > 1:
        warnings.warn(f"{path}: has {len(tracks)} sound tracks; only the first that can be read is kept", stacklevel=2)
    return track


def _layout(stream: Any) -> str:
    return "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"


def _readable(packets: Iterator[Packet[Any]], path: Path) -> Iterator[Packet[Any]]:
    import av

    try:
        yield from packets
    except av.error.FFmpegError as error:
        raise SoundError(str(path)) from error


def _packets(source: InputContainer, stream: Any, path: Path) -> _Packets:
    """Each packet with what makes its clock the film's, in seconds, and how often that clock has started anew."""
    import av

    shifts = _shifts(path)
    shift, jumps, before, ended = next(shifts, Fraction(0)), 0, None, Fraction(0)
    try:
        for packet in source.demux(stream):
            if packet.pts is not None:
                time = packet.pts * stream.time_base
                if before is not None and time < before - _JUMP:
                    shift, jumps = next(shifts, ended + shift - time), jumps + 1
                before, ended = time, time + (packet.duration or 0) * stream.time_base
            yield packet, shift, jumps
    except av.error.FFmpegError:
        if before is None:
            raise


def _shifts(path: Path) -> Iterator[Fraction]:
    """What makes the file's clock the film's, in seconds: from the first frame on, then each time it starts anew."""
    shift = None
    with suppress(PictureError), opened_video(path) as (container, stream):
        for time, frame in timed_frames(decoded_frames(container, stream, path), stream):
            now = time - (frame.pts or 0) * (stream.time_base or 0)
            if shift is None or now > shift + _JUMP:
                shift = now
                yield shift


def _copied(
    packets: _Packets, copy: Any, start: Fraction, length: Fraction | None, earliest: Fraction | None
) -> Iterator[Packet[Any]]:
    reached = None
    for packet, shift, _ in packets:
        if packet.pts is None or packet.dts is None:
            continue
        shown, decoded = (time * packet.time_base + shift - start for time in (packet.pts, packet.dts))
        lasts = (packet.duration or 0) * packet.time_base
        if length is not None and shown >= length:
            return
        begins = shown if earliest is None else shown + lasts
        if begins >= 0 and (reached is None or decoded > reached):
            reached = decoded
            packet.pts, packet.dts, packet.duration = (round(time / _TICK) for time in (shown, decoded, lasts))
            packet.time_base, packet.stream = _TICK, copy
            yield packet


def _encoded(packets: _Packets, encoder: Any, start: Fraction, length: Fraction | None) -> Iterator[Packet[Any]]:
    import av

    reached, failure = 0, None
    for _, run in groupby(_frames(packets, start, length), key=lambda one: one[0]):
        frames = (frame for _, frame in run)
        first = next(frames)
        try:
            graph = _graph(first, encoder.codec_context, reached, length)
        except av.error.FFmpegError as error:  # damage can make up channels that there are not
            failure = error
            continue
        for frame in _filtered(chain([first], frames), graph):
            reached = (frame.pts or 0) + frame.samples
            yield from encoder.encode(frame)
    if failure is not None and not reached:
        raise failure
    yield from encoder.encode(None)


def _frames(
    packets: _Packets, start: Fraction, length: Fraction | None
) -> Iterator[tuple[tuple[Any, ...], AudioFrame]]:
    """Frames, each with a key that changes where it does not simply follow the one before; damage is passed over."""
    import av

    damage, lost, heard = None, 0, False
    for packet, shift, jumps in packets:
        try:
            frames = cast("list[AudioFrame]", packet.decode())
        except av.error.FFmpegError as error:
            damage, lost = error, lost + 1
            continue
        for frame in frames:
            heard = True
            if frame.pts is not None:
                time = frame.pts * (frame.time_base or 0) + shift - start
                if length is not None and time > length:
                    return
                frame.pts = round(time / _TICK)
            frame.time_base = _TICK
            yield (jumps, lost, frame.format.name, frame.layout.name, frame.sample_rate), frame
    if damage is not None and not heard:
        raise damage


def _graph(first: AudioFrame, context: Any, begin: int, length: Fraction | None) -> Any:
    """Makes of such frames the samples an encoder wants, from number `begin` on, with silence where there are gaps."""
    import av

    graph = av.filter.Graph()
    names = (
        graph.add_abuffer(
            sample_rate=first.sample_rate, format=first.format, layout=first.layout.name, time_base=_TICK
        ),
        graph.add("atrim", "start=0" if length is None else f"start=0:end={float(length):.9f}"),
        graph.add("aresample", f"{context.sample_rate}:async=1:min_hard_comp={_NOTICED}:first_pts={begin}"),
        graph.add("aformat", f"sample_fmts={context.format.name}:channel_layouts={context.layout.name}"),
        graph.add("abuffersink"),
    )
    graph.link_nodes(*names).configure()
    return graph


def _filtered(frames: Iterator[AudioFrame], graph: Any) -> Iterator[AudioFrame]:
    for frame in frames:
        graph.push(frame)
        yield from _drawn(graph)
    graph.push(None)
    yield from _drawn(graph)


def _drawn(graph: Any) -> Iterator[AudioFrame]:
    import av

    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return

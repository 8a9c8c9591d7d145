"""The sound of one film for another: copied where its container takes it, encoded where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.errors import PictureError
from impasto.pictures.video import demuxer, first_timestamp

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


@contextmanager
def sound_packets(
    path: Path, target: OutputContainer, container: str, start: Fraction, end: Fraction
) -> Iterator[Iterator[Packet[Any]]]:
    """The sound of the film `path` between two times after its first frame, as packets of a new stream of `target`.

    Packets come in order, from time 0 on; without sound there are none. What is encoded is mono or stereo. Raises
    PictureError, also while they are drawn, where the sound cannot be read.
    """
    origin = first_timestamp(path) + start
    source, _ = demuxer(path)
    with source:
        stream = next(iter(source.streams.audio), None)
        if stream is None:
            yield iter(())
        elif stream.codec_context.name in _COPIED[container]:
            # Only these two can hide what precedes the start and is needed to decode it.
            earliest = Fraction(0) if container in ("mp4", "mov") else None
            copy = target.add_stream_from_template(stream, opaque=True)
            yield _readable(_copied(source, stream, copy, origin, end - start, earliest), path)
        else:
            codec = "libopus" if container == "webm" else "aac"
            rate = stream.codec_context.sample_rate if codec == "aac" else _USUAL_RATE
            rate = rate if rate in _RATES else _USUAL_RATE
            encoder: Any = target.add_stream(codec, rate=rate, layout=_layout(stream))
            encoder.bit_rate = _BIT_RATE[codec]
            yield _readable(_encoded(source, stream, encoder, origin, end - start), path)


def _layout(stream: Any) -> str:
    return "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"


def _readable(packets: Iterator[Packet[Any]], path: Path) -> Iterator[Packet[Any]]:
    import av

    try:
        yield from packets
    except av.error.FFmpegError as error:
        raise PictureError(f"{path}: its sound is damaged; convert it with another program, or leave it out") from error


def _copied(
    source: InputContainer, stream: Any, copy: Any, origin: Fraction, length: Fraction, earliest: Fraction | None
) -> Iterator[Packet[Any]]:
    shift = round(origin / stream.time_base)
    for packet in source.demux(stream):
        if packet.pts is None or packet.dts is None:
            continue
        time = packet.pts * stream.time_base - origin
        if time >= length:
            return
        begins = time if earliest is None else time + (packet.duration or 0) * stream.time_base
        if begins >= 0:
            packet.pts -= shift
            packet.dts -= shift
            packet.stream = copy
            yield packet


def _encoded(
    source: InputContainer, stream: Any, encoder: Any, origin: Fraction, length: Fraction
) -> Iterator[Packet[Any]]:
    for frame in _cut(source, stream, encoder.codec_context.sample_rate, origin, length):
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def _cut(source: InputContainer, stream: Any, rate: int, origin: Fraction, length: Fraction) -> Iterator[AudioFrame]:
    """Exactly the samples of a span, from time 0 on, with silence where the source has gaps."""
    import av

    graph = av.filter.Graph()
    names = (
        graph.add_abuffer(template=stream),
        graph.add("atrim", f"start={float(origin):.9f}:end={float(origin + length):.9f}"),
        graph.add("asetpts", f"PTS-({float(origin):.9f}/TB)"),
        graph.add("aresample", f"{rate}:async=1:first_pts=0"),
        graph.add("abuffersink"),
    )
    graph.link_nodes(*names).configure()
    for frame in source.decode(stream):
        if frame.pts is not None and frame.pts * frame.time_base > origin + length:
            break
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

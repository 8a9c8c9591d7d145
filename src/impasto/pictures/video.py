"""Video files as films: FFmpeg's decoders through PyAV, with exact times, rotation and colours."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from impasto.errors import ImpastoError, OutOfMemoryError, PictureError, counted
from impasto.pictures.footage import Film, Frame, frame_name, picture_of, raster_of_frame
from impasto.pictures.video_colors import bits_of, is_hdr, to_rgb

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Containers of films. Playlists and lists of files stay out: they could make FFmpeg open other files or addresses.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2 matroska,webm avi mpegts mpeg mpegvideo m4v flv live_flv asf ogg nut mxf gxf ivf h264 "
    "hevc obu av1 dv rm yuv4mpegpipe mjpeg wtv vob swf dirac vc1 nsv bink smk fli film_cpk roq vmd"
)
_USUAL_RATE, _HIGHEST_RATE, _USUAL_TICK = Fraction(25), 1000, Fraction(1, 90_000)
_MOST_THREADS = 4  # each holds frames
_BOXES = frozenset(
    b"ftyp moov mdat wide free skip uuid moof sidx ssix styp mfra meta pnot pdin emsg prft udta PICT".split()
)
_ORIENTATIONS = {  # EXIF's, by the signs of the display matrix [[a, b], [c, d]] (ISO 14496-12, 8.2.2)
    (1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8,
}  # fmt: skip


def open_video(path: Path, max_pixels: int) -> Film:
    """The film in a video file, with its first frame decoded once to know it.

    A UserWarning says when its colours are HDR, which are converted. Raises PictureError for what is no film,
    holds sound only, is damaged, or larger than `max_pixels`.
    """
    with opened_video(path, max_pixels) as (container, stream):
        first = next(decoded_frames(container, stream, path), None)
        if first is None:
            raise PictureError(f"{path}: holds no frame that can be decoded; copy it again or convert it to MP4")
        if is_hdr(first):
            warnings.warn(f"{path}: is HDR; its colours are converted to those of usual screens", stacklevel=3)
        if first.interlaced_frame:
            warnings.warn(f"{path}: is interlaced, and its combs will be painted; deinterlace it first", stacklevel=3)
        turned = _orientation(first) >= 5
        aspect = Fraction(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
        width, height = (first.height, first.width) if turned else (first.width, first.height)
        return Film(
            path=path,
            width=width,
            height=height,
            rate=_rate(stream),
            time_base=stream.time_base or _USUAL_TICK,
            count=_count(stream),
            seconds=_seconds(container, stream),
            decode=lambda start: _frames(path, max_pixels, start),
            files=(path,),
            sample_aspect_ratio=1 / aspect if turned else aspect,
            bits=min(bits_of(first), 16),
            has_sound=any(one.codec_context is not None for one in container.streams.audio),
            sound_tracks=len(container.streams.audio),
        )


def first_timestamp(path: Path) -> Fraction:
    """When the first frame is shown on the file's own clock, in seconds: sound runs on that clock, too."""
    with opened_video(path) as (container, stream):
        first = next(decoded_frames(container, stream, path), None)
        return Fraction(first.pts or 0) * (stream.time_base or 0) if first else Fraction(0)


@contextmanager
def opened_video(path: Path, max_pixels: int | None = None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file and its pictures' stream; within the block whatever FFmpeg raises becomes a PictureError."""
    container, stream = demuxer(path, max_pixels)
    with container, reported(path):
        yield container, stream


def demuxer(path: Path, max_pixels: int | None = None) -> tuple[InputContainer, VideoStream]:
    """A video file, to be closed by the caller, and its pictures' stream. Raises PictureError as `open_video` does."""
    import av

    # "file:" because FFmpeg would take a name such as "a:b.mp4" for an address.
    options = {"format_whitelist": _CONTAINERS.replace(" ", ","), "protocol_whitelist": "file"}
    with ExitStack() as stack, reported(path):
        container = av.open(f"file:{path}", "r", container_options=options, metadata_errors="replace")
        stack.enter_context(container)
        stream = _stream_of_pictures(container, path)
        if stream.codec_context is None:
            raise PictureError(f"{path}: its codec is not supported; convert it to MP4 with H.264")
        if max_pixels is not None and stream.width * stream.height > max_pixels:
            raise PictureError(
                f"{path}: {stream.width}×{stream.height} is more than the limit of {max_pixels} pixels; "
                f"if you trust it, use --max-pixels {stream.width * stream.height}"
            )
        if max_pixels is not None:  # for what the header hides; coded sizes are a little larger than shown ones
            stream.codec_context.options = {"max_pixels": str(2 * max_pixels)}
        stack.pop_all()
        return container, stream


def _stream_of_pictures(container: InputContainer, path: Path) -> VideoStream:
    from av.stream import Disposition

    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not streams:
        if _is_cut_short(path):
            raise PictureError(f"{path}: the film is cut short; copy or download it again")
        what = "holds sound only" if container.streams.audio else "holds no pictures"
        raise PictureError(f"{path}: {what}; choose a film")
    return streams[0]


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn whatever FFmpeg raises while reading in this block into an ImpastoError."""
    import av

    try:
        yield
    except ImpastoError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{path}: does not fit into memory; make it smaller first") from error
    except (FileNotFoundError, PermissionError) as error:
        raise PictureError(f"{path}: no such file, or none that may be read; check its name") from error
    except av.error.DecoderNotFoundError as error:
        raise PictureError(f"{path}: its codec is not supported; convert it to MP4 with H.264") from error
    except (av.error.FFmpegError, OSError, ValueError, OverflowError) as error:
        if _is_cut_short(path):
            raise PictureError(f"{path}: the film is cut short; copy or download it again") from error
        raise PictureError(f"{path}: is no film, or a damaged one; copy it again or convert it to MP4") from error


def _frames(path: Path, max_pixels: int, start: int) -> Iterator[Frame]:
    with opened_video(path, max_pixels) as (container, stream):
        size: tuple[int, int] | None = None
        time_base = stream.time_base or _USUAL_TICK
        for number, (time, raw) in enumerate(timed_frames(decoded_frames(container, stream, path), stream)):
            size = size or (raw.width, raw.height)
            if (raw.width, raw.height) != size:
                raise PictureError(
                    f"{path}: changes from {size[0]}×{size[1]} to {raw.width}×{raw.height} at frame {number}; "
                    "cut it there, or convert it to one size"
                )
            if number >= start:
                raster = raster_of_frame(to_rgb(raw), bits_of(raw), _orientation(raw))
                end = time + raw.duration * time_base if raw.duration else None
                yield Frame(number, time, picture_of(raster, frame_name(path.name, number)), end)


def timed_frames(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Each frame with its time from the first one.

    Missing times follow the rate; a clock that starts anew, as in joined recordings, goes on; time never stands still.
    """
    time_base = stream.time_base or _USUAL_TICK
    step = max(1, round(1 / (_rate(stream) * time_base)))
    second = round(1 / time_base)
    ticks, shift = -1, 0
    for number, frame in enumerate(frames):
        before = ticks
        if number == 0:
            ticks, shift = 0, -(frame.pts or 0)
        elif frame.pts is None:
            ticks = before + step
        else:
            if frame.pts + shift < before - second:
                shift = before + step - frame.pts
            # Half a step, so that the next frame can be in time again.
            ticks = frame.pts + shift if frame.pts + shift > before else before + max(1, step // 2)
        yield ticks * time_base, frame


def decoded_frames(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """All frames. Damage in mid-film is passed over, as players do; a missing end raises PictureError."""
    import av

    decoder = _decoder_of(stream)
    count, end, damaged = 0, Fraction(0), False
    try:
        for packet in container.demux(stream):
            if packet.size:  # the last one is empty: it asks for what the decoder still holds
                damaged = packet.is_corrupt
            try:
                frames = decoder.decode(packet)
            except av.error.InvalidDataError:
                damaged = True
                continue
            for frame in frames:
                yield frame
                count += 1
                end = ((frame.pts or 0) + (frame.duration or 0)) * (stream.time_base or Fraction(0))
    except av.error.FFmpegError:
        damaged = True
    if count and (damaged or _is_cut_short(path) or _promised(stream) > end + max(Fraction(1, 2), 3 / _rate(stream))):
        raise PictureError(
            f"{path}: breaks off after {counted(count, 'frame')}; copy or download it again, or cut it there"
        )


def _decoder_of(stream: VideoStream) -> VideoCodecContext:
    import av

    decoder: VideoCodecContext = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and decoder.name in ("vp8", "vp9"):  # FFmpeg's own ignores alpha
        name = "libvpx" if decoder.name == "vp8" else "libvpx-vp9"
        extradata = decoder.extradata
        decoder = cast("VideoCodecContext", av.CodecContext.create(name, "r"))
        decoder.extradata = extradata
    decoder.thread_type = "AUTO"
    decoder.thread_count = _MOST_THREADS
    return decoder


def _rate(stream: VideoStream) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= _HIGHEST_RATE:
            return Fraction(rate)
    return _USUAL_RATE


def _count(stream: VideoStream) -> int | None:
    """How many frames there are, if that can be believed: the number counts those that an edit list hides, too."""
    if not stream.frames or not stream.duration or not stream.time_base:
        return stream.frames or None
    expected = stream.duration * stream.time_base * _rate(stream)
    return stream.frames if abs(stream.frames - expected) <= 1 else None


def _seconds(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if _promised(stream):
        return float(_promised(stream))
    return container.duration / 1_000_000 if container.duration else None


def _promised(stream: VideoStream) -> Fraction:
    """The end of the last frame in seconds, as Matroska tells it of each stream; 0 where nothing is told."""
    container = cast("InputContainer", stream.container)
    if "DURATION" not in stream.metadata and "matroska" in container.format.name and len(container.streams) == 1:
        return Fraction(container.duration or 0, 1_000_000)
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except (KeyError, ValueError):
        return Fraction(0)


def _orientation(frame: VideoFrame) -> int:
    """How the frame is to be turned, as EXIF's 1..8; angles other than right ones are left alone."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    return _ORIENTATIONS.get((_sign(a), _sign(b), _sign(c), _sign(d)), 1)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def _is_cut_short(path: Path) -> bool:
    """Whether the boxes of an MP4 or QuickTime file (ISO 14496-12, 4.2) pass its end, or its index is missing."""
    size, position = path.stat().st_size, 0
    kinds: set[bytes] = set()
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, kind = struct.unpack(">I4s", file.read(8))
            if kind not in _BOXES:  # another format, or something behind the film
                break
            kinds.add(kind)
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            position += length if length >= 8 else size
    return bool(kinds) and ((position > size and length >= 8) or b"moov" not in kinds)

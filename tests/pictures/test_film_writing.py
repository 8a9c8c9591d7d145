"""Films into files: parts join to the film that one encoding would make, with its sound, times and record."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.errors import ImpastoError, PictureError, UsageError
from impasto.pictures import film_writing
from impasto.pictures.files import to_array
from impasto.pictures.film import open_film
from impasto.pictures.film_format import FilmFormat
from impasto.pictures.film_writing import join_parts, read_film_record, write_part
from reels import SOUND_RATE, chart, fields, film, sine, sound_of

TIME_BASE = Fraction(1001, 30_000)
TICKS = (0, 1, 2, 4, 5, 8, 9, 10, 11)  # a variable rate
TIMES = tuple(tick * TIME_BASE for tick in TICKS)
END = 13 * TIME_BASE
RECORD = json.dumps({"style": "北斎", "long": "x" * 100_000}, ensure_ascii=False)
VIDEOS = [
    ("a.mp4", "h264"), ("a.m4v", "h265"), ("a.mov", "h264"), ("a.mkv", "h265"), ("a.webm", "vp9"), ("a.mp4", "vp9"),
    ("a.mp4", "av1"), ("a.webm", "av1"), ("a.mov", "prores"), ("a.mkv", "prores"),
]  # fmt: skip


def pixels(shift: int, width: int = 96, height: int = 64) -> Tensor:
    return torch.from_numpy(chart(width, height, shift)).permute(2, 0, 1)[None] / 255


def form(target: Path, codec: str | None = None, quality: str = "high", **options: Any) -> FilmFormat:
    usual: dict[str, Any] = {"rate": 1 / TIME_BASE, "time_base": TIME_BASE, "width": 96, "height": 64}
    return FilmFormat.of(target, codec, quality, **usual | options)


def parts_of(folder: Path, format: FilmFormat, *cuts: int, image: Callable[[int], Tensor] = pixels) -> list[Path]:
    """Parts that end before the frames `cuts` and with the last one."""
    made = []
    for first, last in zip((0, *cuts), (*cuts, len(TIMES)), strict=True):
        path = folder / f"part{first}{format.part_suffix}"
        frames = ((image(number), TIMES[number]) for number in range(first, last))
        write_part(path, frames, format, (*TIMES, END)[last])
        made.append(path)
    return made


def joined(target: Path, codec: str | None = None, quality: str = "high", *cuts: int, **options: Any) -> Path:
    format = form(target, codec, quality)
    join_parts(parts_of(target.parent, format, *cuts), target, format, end=END, **options)
    return target


def shown(path: Path) -> list[tuple[Fraction, Any]]:
    return [(frame.time, to_array(frame.picture).astype(int)) for frame in open_film(path).frames()]


# Frames and times


@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_every_codec_keeps_frames_times_colours_and_record(tmp_path: Path, name: str, codec: str) -> None:
    target = joined(tmp_path / name, codec, "master", 4, 5, record=RECORD)
    frames = shown(target)
    rounding = 0 if target.suffix in (".mp4", ".m4v", ".mov") else 0.001  # Matroska counts milliseconds
    assert [float(time) for time, _ in frames] == pytest.approx([float(time) for time in TIMES], abs=rounding)
    assert open_film(target).seconds == pytest.approx(float(END), abs=0.001)
    assert read_film_record(target) == RECORD
    for number, (_, image) in enumerate(frames):
        assert np.abs(fields(image) - fields(chart(96, 64, number))).max() <= 4


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9"])
def test_colours_of_a_still_film_come_back_at_high_quality(tmp_path: Path, codec: str) -> None:
    format = form(tmp_path / "a.mkv", codec)
    parts = parts_of(tmp_path, format, image=lambda _: pixels(0))
    join_parts(parts, tmp_path / "a.mkv", format, end=END)
    errors = [np.abs(fields(image) - fields(chart(96, 64))) for _, image in shown(tmp_path / "a.mkv")]
    assert np.max(errors) <= 2


def test_times_are_kept_exactly(tmp_path: Path) -> None:
    assert [time for time, _ in shown(joined(tmp_path / "a.mp4", None, "high", 1, 7))] == list(TIMES)


@pytest.mark.parametrize("codec", ["h264", "prores"])
def test_parts_join_to_the_same_frames_as_they_hold(tmp_path: Path, codec: str) -> None:
    format = form(tmp_path / "a.mov", codec)
    parts = parts_of(tmp_path, format, 4, 5)
    join_parts(parts, tmp_path / "a.mov", format, end=END)
    apart = [image for part in parts for _, image in shown(part)]
    assert all(np.array_equal(a, b) for a, (_, b) in zip(apart, shown(tmp_path / "a.mov"), strict=True))


def test_a_part_is_a_film_of_its_own(tmp_path: Path) -> None:
    part = parts_of(tmp_path, form(tmp_path / "a.webm"), 4)[1]
    opened = open_film(part)
    assert opened.count == 5
    assert opened.seconds == pytest.approx(float(END - TIMES[4]))
    assert next(opened.frames()).time == 0


def test_h264_is_made_by_code_that_repeats_itself(tmp_path: Path) -> None:
    """x264's AVX-512 code makes another file of the same frames once in some hundreds."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture(local=False) as said:
            joined(tmp_path / "a.mp4")
    finally:
        av.logging.set_level(level)
    (capabilities,) = (text for _, _, text in said if "cpu capabilities" in text)
    assert "AVX512" not in capabilities


def test_a_film_may_be_one_frame(tmp_path: Path) -> None:
    format = form(tmp_path / "a.mp4")
    write_part(tmp_path / "p.mp4", [(pixels(0), Fraction(0))], format, TIME_BASE)
    join_parts([tmp_path / "p.mp4"], tmp_path / "a.mp4", format, end=TIME_BASE)
    assert len(shown(tmp_path / "a.mp4")) == 1


@pytest.mark.parametrize(("codec", "size"), [("h264", (50, 34)), ("prores", (50, 33))])
def test_odd_sides_are_padded_and_never_stretched(tmp_path: Path, codec: str, size: tuple[int, int]) -> None:
    format = form(tmp_path / "a.mov", codec, width=49, height=33)
    image = torch.linspace(0, 1, 49).expand(1, 3, 33, 49)
    write_part(tmp_path / "p.mov", [(image, Fraction(0))], format, TIME_BASE)
    frame = shown(tmp_path / "p.mov")[0][1]
    assert frame.shape == (size[1], size[0], 3)
    assert np.abs(frame[:33, :49, 1] / 255 - image[0, 1].numpy()).max() < 0.03
    assert np.abs(frame[:, 49] - frame[:, 48]).max() < 4


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("a.mp4", "vp9"), ("a.mkv", "h265")])
def test_pixels_stay_as_wide_as_they_were(tmp_path: Path, name: str, codec: str) -> None:
    format = form(tmp_path / name, codec, sample_aspect_ratio=Fraction(16, 11))
    join_parts(parts_of(tmp_path, format), tmp_path / name, format, end=END)
    assert open_film(tmp_path / name).sample_aspect_ratio == Fraction(16, 11)


@pytest.mark.parametrize("name", ["a.webm", "a.gif", "frames"])
def test_who_cannot_keep_the_shape_of_pixels_is_told(name: str) -> None:
    with pytest.warns(UserWarning, match="pixels are not square, which .* cannot say, so it will look squeezed"):
        form(Path(name), sample_aspect_ratio=Fraction(16, 11))


def test_videos_lay_transparency_on_white(tmp_path: Path) -> None:
    clear = torch.cat((torch.zeros(1, 3, 64, 96), torch.zeros(1, 1, 64, 96)), 1)
    write_part(tmp_path / "p.mp4", [(clear, Fraction(0))], form(tmp_path / "a.mp4"), TIME_BASE)
    assert shown(tmp_path / "p.mp4")[0][1].min() >= 253


def test_colours_are_tagged_for_players(tmp_path: Path) -> None:
    with av.open(str(joined(tmp_path / "a.mp4"))) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (1, 1)
        assert (context.color_primaries, context.color_trc) == (1, 1)


def test_apple_players_find_hevc_by_the_name_they_know(tmp_path: Path) -> None:
    assert b"hvc1" in joined(tmp_path / "a.mp4", "h265", "draft").read_bytes()


def test_films_start_to_play_before_they_are_loaded(tmp_path: Path) -> None:
    data = joined(tmp_path / "a.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")


def test_frames_are_drawn_one_at_a_time(tmp_path: Path) -> None:
    import gc
    import weakref

    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def frames() -> Iterator[tuple[Tensor, Fraction]]:
        nonlocal most
        for number in range(100):
            image = pixels(number)
            alive.add(image)
            most = max(most, len(alive))
            yield image, number * TIME_BASE
            del image
            gc.collect()

    write_part(tmp_path / "p.mp4", frames(), form(tmp_path / "a.mp4", None, "draft"), 100 * TIME_BASE)
    assert most <= 3


# Sound


def with_sound(path: Path, seconds: float = 1.0, codec: str = "aac") -> Path:
    """A source film of one second, 25 frames."""
    if codec == "aac":
        return film(path, 25, sound=seconds)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        voice: Any = container.add_stream(codec, rate=SOUND_RATE, layout="mono")
        for number in range(25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(chart(shift=number))))
        container.mux(stream.encode())
        container.mux([*voice.encode(sine(seconds)), *voice.encode(None)])
    return path


def loudness_at(path: Path, time: float) -> float:
    """The loudness around a time, which in `sine` is the time itself, in parts of the whole."""
    samples = sound_of(path)
    place = int(time * SOUND_RATE)
    return float(np.abs(samples[place - 400 : place + 400]).max())


@pytest.mark.parametrize("source", ["aac", "flac"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
def test_sound_is_cut_and_in_time(tmp_path: Path, name: str, source: str) -> None:
    target, of = tmp_path / name, with_sound(tmp_path / "source.mkv", codec=source)
    format = form(target, time_base=Fraction(1, 25), rate=Fraction(25))
    start, end = Fraction(10, 25), Fraction(20, 25)
    frames = [(pixels(number), Fraction(number, 25)) for number in range(10, 20)]
    parts = [tmp_path / "p1.mp4", tmp_path / "p2.mp4"]
    write_part(parts[0], frames[:4], format, Fraction(14, 25))
    write_part(parts[1], frames[4:], format, end)
    join_parts(parts, target, format, sound_of=of, sound_start=start, end=end, record=RECORD)
    opened = open_film(target)
    assert opened.has_sound
    assert read_film_record(target) == RECORD
    assert [float(frame.time) for frame in opened.frames()] == pytest.approx([n / 25 for n in range(10)], abs=0.001)
    assert len(sound_of(target)) / SOUND_RATE == pytest.approx(0.4, abs=0.045)  # whole packets
    with av.open(str(target)) as container:
        first = next(container.decode(audio=0))
        begins = float(first.pts * first.time_base)
    assert loudness_at(target, 0.2 - begins) == pytest.approx(0.4 + 0.2, abs=0.03)


def test_sound_that_fits_is_copied(tmp_path: Path) -> None:
    of = with_sound(tmp_path / "source.mp4")
    target = joined(tmp_path / "a.mp4", None, "high", sound_of=of)

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    copied, original = packets(target), packets(of)
    assert len(copied) > 10
    assert all(packet in original for packet in copied)


def test_sound_and_pictures_lie_side_by_side_in_the_file(tmp_path: Path) -> None:
    of = with_sound(tmp_path / "source.mp4")
    target = joined(tmp_path / "a.mkv", None, "high", sound_of=of)
    with av.open(str(target)) as container:
        kinds = [packet.stream.type for packet in container.demux() if packet.size]
    assert "audio" in kinds[:4]
    assert kinds.index("video", 4) < len(kinds) - 6


def test_sound_of_a_silent_film_is_none(tmp_path: Path) -> None:
    assert not open_film(joined(tmp_path / "a.mp4", None, "high", sound_of=film(tmp_path / "s.mp4"))).has_sound


def test_sound_that_began_before_the_pictures_stays_in_time(tmp_path: Path) -> None:
    """The source's first frame is shown at 0.2 s of its clock; the sound at that moment is 0.2 loud."""
    ticks = [2560 + number * 512 for number in range(20)]
    of = film(tmp_path / "source.mp4", 20, ticks=ticks, sound=1.0)
    target = joined(tmp_path / "a.mp4", None, "high", sound_of=of)
    assert loudness_at(target, 0.2) == pytest.approx(0.4, abs=0.03)


# What goes wrong


def test_a_failed_join_leaves_the_old_film_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"the old film")
    format = form(target)
    parts = parts_of(tmp_path, format, 4)
    before = {path.name for path in tmp_path.iterdir()}
    genuine = film_writing._with_durations
    failures: list[BaseException] = [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()]
    for failure in failures:

        def failing(packets: Any, end: int, failure: BaseException = failure) -> Iterator[Any]:
            for number, packet in enumerate(genuine(packets, end)):
                if number == 5:
                    raise failure
                yield packet

        monkeypatch.setattr(film_writing, "_with_durations", failing)
        with pytest.raises((PictureError, KeyboardInterrupt)) as caught:
            join_parts(parts, target, format, end=END)
        if isinstance(failure, OSError):
            assert str(caught.value) == f"{target}: the disk is full; free some space or choose another folder"
        assert target.read_bytes() == b"the old film"
        assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.gif", "a.png", "a.webp"])
def test_files_that_the_system_cuts_off_do_not_replace_old_ones(tmp_path: Path, name: str) -> None:
    import resource

    target = tmp_path / name
    target.write_bytes(b"the old film")
    format = form(target)
    noise = torch.rand(9, 3, 64, 96)
    parts = parts_of(tmp_path, format, image=lambda number: noise[number : number + 1])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(PictureError, match=rf"{name}: the file is larger than this system allows"):
            join_parts(parts, target, format, end=END)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.read_bytes() == b"the old film"
    assert {path.name for path in tmp_path.iterdir()} == {name, parts[0].name}


def test_a_part_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def frames() -> Iterator[tuple[Tensor, Fraction]]:
        yield pixels(0), Fraction(0)
        raise UsageError("stopped")

    with pytest.raises(UsageError, match="stopped"):
        write_part(tmp_path / "p.mp4", frames(), form(tmp_path / "a.mp4"), END)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_do_not_exist_are_named(tmp_path: Path) -> None:
    format = form(tmp_path / "a.mp4")
    parts = parts_of(tmp_path, format)
    target = tmp_path / "no" / "a.mp4"
    with pytest.raises(PictureError) as caught:
        join_parts(parts, target, format, end=END)
    assert str(caught.value) == f"{target}: the folder {target.parent} does not exist; create it first"


def test_parts_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    format = form(tmp_path / "a.mp4")
    first, second, third = parts_of(tmp_path, format, 3, 6)
    with pytest.raises(PictureError, match=r"part6\.mp4: does not go on where the part before ends; write the parts"):
        join_parts([first, third], tmp_path / "a.mp4", format, end=END)
    other = form(tmp_path / "a.mp4", width=48)
    write_part(second, [(pixels(0, 48), TIMES[3])], other, TIMES[6])
    with pytest.raises(PictureError, match=r"part3\.mp4: does not go on"):
        join_parts([first, second, third], tmp_path / "a.mp4", format, end=END)


def test_other_films_are_no_parts(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"b\.mp4: is no part of a film; remove it and start again"):
        join_parts([film(tmp_path / "b.mp4")], tmp_path / "a.mp4", form(tmp_path / "a.mp4"), end=END)


def test_broken_sound_is_an_error_about_its_film(tmp_path: Path) -> None:
    (tmp_path / "s.mp4").write_bytes(b"nothing")
    with pytest.raises(PictureError, match=r"s\.mp4: is no film"):
        joined(tmp_path / "a.mp4", None, "high", sound_of=tmp_path / "s.mp4")
    assert not (tmp_path / "a.mp4").exists()


def test_nothing_to_write_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"p\.mp4: no frames to write"):
        write_part(tmp_path / "p.mp4", [], form(tmp_path / "a.mp4"), END)
    with pytest.raises(UsageError, match=r"a\.mp4: no parts to join"):
        join_parts([], tmp_path / "a.mp4", form(tmp_path / "a.mp4"), end=END)


def test_films_of_others_have_no_record(tmp_path: Path) -> None:
    assert read_film_record(film(tmp_path / "a.mp4")) is None
    assert read_film_record(joined(tmp_path / "b.mp4")) is None
    with pytest.raises(PictureError, match="no such file"):
        read_film_record(tmp_path / "c.mp4")


# Formats


ALL = ".mp4, .m4v, .mov, .mkv, .webm, .gif, .webp, .png or .apng, or a folder"


@pytest.mark.parametrize(
    ("name", "codec", "quality", "message"),
    [
        ("a.avi", None, "high", f"a.avi: cannot write .avi; use {ALL}"),
        ("a.mp5", None, "high", f"a.mp5: cannot write .mp5 (did you mean .mp4?); use {ALL}"),
        (
            "a.mp4",
            "prores",
            "high",
            ".mp4 does not hold prores; use h264, h265, vp9 or av1 there, or write .mov or .mkv",
        ),
        ("a.webm", "h264", "high", ".webm does not hold h264; use vp9 or av1 there, or write .mp4, .m4v, .mov or .mkv"),
        ("a.gif", "h264", "high", "a.gif: has no choice of codecs; leave h264 out, or write .mp4, .mov, .mkv or .webm"),
        (
            "frames",
            "h264",
            "high",
            "frames: has no choice of codecs; leave h264 out, or write .mp4, .mov, .mkv or .webm",
        ),
        ("f_%04d.jpg", None, "high", "f_%04d.jpg: numbered frames are written as .png"),
        ("a.mp4", "h263", "high", "codec 'h263': unknown (did you mean h265?); use h264, h265, vp9, av1 or prores"),
        ("a.mp4", None, "hihg", "quality 'hihg': unknown (did you mean high?); use draft, good, high or master"),
    ],
)
def test_impossible_formats_are_refused_in_one_sentence(
    name: str, codec: str | None, quality: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        form(Path(name), codec, quality)
    assert str(caught.value).endswith(message)
    assert len(str(caught.value).splitlines()) == 1


def test_sizes_beyond_a_format_are_refused() -> None:
    with pytest.raises(UsageError, match=r"a\.webp: 17000×10 is more than the 16383 pixels webp holds a side"):
        form(Path("a.webp"), width=17_000, height=10)


@pytest.mark.parametrize(
    ("name", "kind", "codec"),
    [
        ("a.mp4", "video", "h264"),
        ("A.MOV", "video", "h264"),
        ("a.webm", "video", "vp9"),
        ("a.gif", "gif", ""),
        ("a.webp", "webp", ""),
        ("a.png", "apng", ""),
        ("a.apng", "apng", ""),
        ("frames", "folder", ""),
        ("frames/f_%04d.png", "folder", ""),
    ],
)
def test_the_suffix_chooses(name: str, kind: str, codec: str) -> None:
    format = form(Path(name))
    assert (format.kind, format.codec) == (kind, codec)


def test_an_existing_folder_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "take.1").mkdir()
    assert form(tmp_path / "take.1").kind == "folder"


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1"])
def test_better_qualities_are_nearer_to_the_film_and_larger(tmp_path: Path, codec: str) -> None:
    noise = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    sizes, errors = [], []
    for quality in ("draft", "good", "high", "master"):
        path = tmp_path / f"{quality}.mp4"
        write_part(path, [(noise, Fraction(0))], form(Path("a.mp4"), codec, quality), TIME_BASE)
        sizes.append(path.stat().st_size)
        errors.append(float((next(open_film(path).frames()).picture.pixels - noise).abs().mean()))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_unexpected_failures_of_an_encoder_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise av.error.ExternalError(-542398533, "Generic error in an external library")

    monkeypatch.setattr(film_writing, "_encode", broken)
    with pytest.raises(ImpastoError, match=r"p\.mp4: could not be encoded .*; try another codec or suffix"):
        write_part(tmp_path / "p.mp4", [(pixels(0), Fraction(0))], form(tmp_path / "a.mp4"), END)


def test_what_an_encoder_would_die_of_is_refused() -> None:
    tiny: dict[str, Any] = {"rate": Fraction(25), "time_base": Fraction(1, 25), "width": 48, "height": 32}
    with pytest.raises(UsageError, match="48×32 is less than the 64 pixels a side that h265 needs"):
        FilmFormat.of("a.mp4", "h265", bits=10, **tiny)
    with pytest.raises(UsageError, match="more than 8 bits; use h264"):
        FilmFormat.of("a.mp4", "h265", "master", **tiny)
    assert FilmFormat.of("a.mp4", "h265", **tiny).codec == "h265"

"""The sound of written films: in step with the pictures, whole, and never in the way of them.

Films here flash and click at the same moments.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cinema import QUICK
from impasto.pictures import film_sound
from impasto.pictures.film import open_film
from impasto.pictures.film_format import FilmFormat
from impasto.pictures.film_writing import join_parts, write_part
from reels import SOUND_RATE, film, sound_of
from studio import Command

MOMENTS = (0.2, 0.6, 1.0, 1.4, 1.8)
COUNT = 50
CLICK = 240
"""In samples."""


def flashing(
    path: Path,
    codec: str = "aac",
    *,
    moments: Sequence[float] = MOMENTS,
    starts: float = 0,
    layout: str = "mono",
    rate: int = SOUND_RATE,
    seconds: float = COUNT / 25,
    tracks: int = 1,
    pictures: str = "libx264",
) -> Path:
    """A film of 50 frames, 25 a second, from the time `starts` of its clock on."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(pictures, rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        voices: list[Any] = [container.add_stream(codec, rate=rate, layout=layout) for _ in range(tracks)]
        packets = []
        for number in range(COUNT):
            light = 255 if any(round(25 * moment) == number for moment in moments) else 0
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), light, np.uint8))
            frame.pts, frame.time_base = number + round(25 * starts), Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for voice in voices:
            sound = av.AudioFrame.from_ndarray(clicking(moments, rate, seconds, layout), "fltp", layout)
            sound.sample_rate, sound.pts, sound.time_base = rate, round(starts * rate), Fraction(1, rate)
            packets += [*voice.encode(sound), *voice.encode(None)]
        for packet in sorted(packets, key=lambda one: one.dts * one.time_base):
            container.mux(packet)
    return path


def clicking(moments: Sequence[float], rate: int, seconds: float, layout: str) -> Any:
    samples = np.zeros((2 if layout == "stereo" else 1, int(seconds * rate)), np.float32)
    for moment in moments:
        place = round(moment * rate)
        samples[:, place : place + CLICK] = 0.8 * np.sin(np.arange(CLICK) / rate * 2 * np.pi * 4000)
    return samples


def written(source: Path, target: Path, first: int = 0, last: int | None = None, **options: Any) -> Path:
    """The frames of a film from one to another, not painted, in two parts, with their sound."""
    opened = open_film(source)
    frames = [(frame.picture.pixels, frame.time) for frame in opened.frames()]
    ends = [time for _, time in frames[1:]] + [frames[-1][1] + Fraction(1, 25)]
    frames, end = frames[first:last], ends[first:last][-1]
    format = FilmFormat.of(target, None, "draft", rate=Fraction(25), time_base=opened.time_base, width=48, height=32)
    middle = len(frames) // 2
    parts = [target.with_name(f"part{number}{format.part_suffix}") for number in (1, 2)]
    write_part(parts[0], frames[:middle], format, frames[middle][1])
    write_part(parts[1], frames[middle:], format, end)
    join_parts(parts, target, format, sound_of=source, sound_start=frames[0][1], end=end, **options)
    return target


def flashes(path: Path) -> list[float]:
    return [float(frame.time) for frame in open_film(path).frames() if frame.picture.pixels.mean() > 0.5]


def clicks(path: Path) -> list[float]:
    """When they begin, by the times of the frames of sound."""
    found: list[float] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            values = frame.to_ndarray().astype(np.float32)
            values = values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T
            loud = np.abs(values).max(0) / (32_768 if frame.format.name.startswith("s16") else 1) > 0.25
            for place in np.flatnonzero(loud):
                time = float(frame.pts * frame.time_base) + int(place) / frame.sample_rate
                if not found or time > found[-1] + 0.1:
                    found.append(time)
    return found


def seconds_of_sound(path: Path) -> float:
    return len(sound_of(path)) / SOUND_RATE


def packets_of_sound(path: Path) -> list[tuple[int, int]]:
    """Where in the file they are, and how large."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]


def damaged(path: Path, choose: Callable[[int, int], bool]) -> Path:
    """The same file with noise in the packets of sound for which `choose(number, count)`, beyond their beginnings."""
    data, places = bytearray(path.read_bytes()), packets_of_sound(path)
    noise = np.random.default_rng(0)
    for number, (place, size) in enumerate(places):
        if choose(number, len(places)):
            data[place + 4 : place + size] = noise.bytes(size - 4)
    path.write_bytes(data)
    return path


def foreign(path: Path, count: int) -> Path:
    """The same Matroska file with a codec that nobody knows for the first `count` tracks of sound."""
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_AQC", count))
    return path


# Tracks


def test_sound_that_nothing_can_decode_is_left_out(tmp_path: Path) -> None:
    source = foreign(flashing(tmp_path / "source.mkv"), 1)
    assert not open_film(source).has_sound
    with pytest.warns(UserWarning, match=r"source\.mkv: its sound is in a format that is not supported, and left out"):
        target = written(source, tmp_path / "a.mp4")
    assert flashes(target) == pytest.approx(MOMENTS)
    assert not open_film(target).has_sound


@pytest.mark.parametrize("undecodable", [0, 1])
def test_of_several_tracks_the_first_that_can_be_read_is_kept(tmp_path: Path, undecodable: int) -> None:
    source = foreign(flashing(tmp_path / "source.mkv", tracks=2), undecodable)
    assert open_film(source).has_sound
    said = r"source\.mkv: has 2 sound tracks; only the first that can be read is kept$"
    with pytest.warns(UserWarning, match=said) as caught:
        target = written(source, tmp_path / "a.mp4")
    assert len(caught) == 1
    assert clicks(target) == pytest.approx(MOMENTS, abs=0.002)


# Damage


@pytest.mark.parametrize(
    ("name", "codec", "target"),
    [("source.mkv", "flac", "a.mp4"), ("source.mp4", "aac", "a.webm"), ("source.mkv", "ac3", "a.webm")],
)
def test_a_damaged_packet_is_silence(tmp_path: Path, name: str, codec: str, target: str) -> None:
    source = damaged(flashing(tmp_path / name, codec), lambda number, count: number == count // 2)
    assert set(np.round(clicks(written(source, tmp_path / target)), 2)) >= {0.2, 0.6, 1.4, 1.8}


def test_packets_that_are_not_there_do_not_put_sound_out_of_step(tmp_path: Path) -> None:
    with (
        av.open(str(flashing(tmp_path / "whole.mkv"))) as whole,
        av.open(str(tmp_path / "source.mkv"), "w") as container,
    ):
        streams = {one: container.add_stream_from_template(one) for one in whole.streams}
        for packet in whole.demux():
            lost = packet.stream.type == "audio" and 0.76 < (packet.pts or 0) * packet.time_base < 0.82  # 64 ms
            if packet.size and not lost:
                packet.stream = streams[packet.stream]
                container.mux(packet)
    assert clicks(written(tmp_path / "source.mkv", tmp_path / "a.webm")) == pytest.approx(MOMENTS, abs=0.002)


def test_a_film_whose_sound_is_all_damaged_has_none(tmp_path: Path) -> None:
    source = damaged(flashing(tmp_path / "source.mkv", "flac"), lambda *_: True)
    with pytest.warns(UserWarning, match=r"source\.mkv: its sound is damaged, so a\.mp4 has none$"):
        target = written(source, tmp_path / "a.mp4")
    assert flashes(target) == pytest.approx(MOMENTS)
    assert not open_film(target).has_sound


def test_sound_that_cannot_be_copied_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Any:
        raise av.error.InvalidDataError(1, "Invalid data found when processing input")
        yield

    monkeypatch.setattr(film_sound, "_copied", failing)
    with pytest.warns(UserWarning, match=r"source\.mp4: its sound is damaged, so a\.mp4 has none$"):
        target = written(flashing(tmp_path / "source.mp4"), tmp_path / "a.mp4")
    assert flashes(target) == pytest.approx(MOMENTS)
    assert not open_film(target).has_sound


@pytest.mark.parametrize("later", [{"layout": "mono"}, {"layout": "stereo", "rate": 44_100}])
def test_sound_may_change_in_the_middle(tmp_path: Path, later: dict[str, Any]) -> None:
    first = flashing(tmp_path / "1.ts", layout="stereo")
    second = flashing(tmp_path / "2.ts", starts=3, **later)
    (tmp_path / "source.ts").write_bytes(first.read_bytes() + second.read_bytes())
    target = written(tmp_path / "source.ts", tmp_path / "a.webm")
    assert len(flashes(target)) == 10
    assert clicks(target) == pytest.approx(flashes(target), abs=0.002)


# Times


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
@pytest.mark.parametrize("first", [0, 30, 60])
def test_sound_goes_on_where_the_clock_starts_anew(tmp_path: Path, name: str, first: int) -> None:
    pieces = [flashing(tmp_path / "1.ts", starts=10), flashing(tmp_path / "2.ts"), flashing(tmp_path / "3.ts")]
    (tmp_path / "source.ts").write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    target = written(tmp_path / "source.ts", tmp_path / name, first, 140)
    moments = np.add.outer((0, 2, 4), MOMENTS).ravel()
    expected = [moment - first / 25 for moment in moments if first / 25 <= moment < 5.6]
    assert flashes(target) == pytest.approx(expected, abs=0.001)
    assert clicks(target) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_files_that_count_in_packets_are_cut_as_exactly(tmp_path: Path, name: str) -> None:
    source = flashing(tmp_path / "source.avi", "libmp3lame", pictures="mpeg4")
    late = clicks(source)[0] - flashes(source)[0]  # by the delay of its encoder, which the file does not tell
    target = written(source, tmp_path / name, 10)
    assert np.subtract(clicks(target), flashes(target)) == pytest.approx(late, abs=0.002)


@pytest.mark.parametrize("codec", ["aac", "flac"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_sound_may_outlast_the_pictures(tmp_path: Path, name: str, codec: str) -> None:
    source = flashing(tmp_path / "source.mkv", codec, moments=(*MOMENTS, 2.6), seconds=3)
    kept = written(source, tmp_path / name, cut_sound=False)
    assert seconds_of_sound(kept) == pytest.approx(3, abs=0.045)
    assert clicks(kept) == pytest.approx((*MOMENTS, 2.6), abs=0.002)
    assert [float(frame.time) for frame in open_film(kept).frames()][-1] == pytest.approx(1.96, abs=0.001)
    cut = written(source, tmp_path / name)
    assert seconds_of_sound(cut) == pytest.approx(2, abs=0.045)


# The command


def test_a_whole_film_keeps_all_its_sound_and_a_part_its_own(studio: Path, impasto: Command) -> None:
    film(studio / "clip.mp4", 5, sound=1.0)
    words = ("film", "clip.mp4", "starry.jpg", *QUICK)
    assert impasto(*words, "-o", "whole.mp4").code == 0
    assert seconds_of_sound(Path("whole.mp4")) == pytest.approx(1, abs=0.045)
    assert impasto(*words, "-o", "part.mp4", "--between", "0.08,0.2").code == 0
    assert seconds_of_sound(Path("part.mp4")) == pytest.approx(0.12, abs=0.045)


def test_a_film_that_breaks_off_has_no_sound_beyond(studio: Path, impasto: Command) -> None:
    source = film(studio / "clip.mkv", 8, sound=1.0)
    with av.open(str(source)) as container:
        pictures = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(source.read_bytes())
    for place, size in pictures[4:]:
        data[place + 4 : place + size] = bytes(size - 4)
    source.write_bytes(data)
    assert impasto("film", "clip.mkv", "starry.jpg", *QUICK, "-o", "out.mp4").code == 1
    shown = len([*open_film("out.mp4").frames()])
    assert shown < 8
    assert seconds_of_sound(Path("out.mp4")) == pytest.approx(shown / 25, abs=0.045)


@pytest.mark.parametrize(("tracks", "said"), [(1, "is in a format that is not supported"), (2, "has 2 sound tracks")])
def test_what_becomes_of_sound_is_said_once(studio: Path, impasto: Command, tracks: int, said: str) -> None:
    foreign(flashing(studio / "clip.mkv", tracks=tracks), 1)
    with warnings.catch_warnings():
        words = ("--beside", "source", "--between", "0,0.12", "-o", "out.mp4")
        shown = impasto("film", "clip.mkv", "starry.jpg", *QUICK, *words)
    assert (shown.code, shown.err.count(said)) == (0, 1), shown.err
    assert open_film("out.mp4").has_sound == open_film("out.side-by-side.mp4").has_sound == (tracks == 2)

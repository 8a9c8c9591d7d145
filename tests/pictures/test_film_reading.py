"""Films from video files: every frame at its time, upright, in its colours; what is wrong is said in one sentence."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from impasto.errors import ImpastoError, PictureError
from impasto.pictures.files import to_array
from impasto.pictures.film import open_film
from impasto.pictures.footage import Frame
from reels import TICK, chart, fields, film, frame_of_planes, limited_yuv, turned

REAL = Path(os.environ.get("IMPASTO_TEST_DATA", "nowhere")) / "video" / "mp4"
BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)


def rgb(frame: Frame) -> Any:
    return to_array(frame.picture).astype(float)


def test_a_film_says_what_it_is(tmp_path: Path) -> None:
    opened = open_film(film(tmp_path / "a.mp4", sound=0.3))
    assert (opened.width, opened.height, opened.count, opened.rate, opened.bits) == (48, 32, 8, 25, 8)
    assert opened.has_sound
    assert not opened.loops
    assert opened.seconds == pytest.approx(0.32)
    assert opened.sha256 == hashlib.sha256((tmp_path / "a.mp4").read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_frames_come_in_order_with_their_pictures(tmp_path: Path, suffix: str) -> None:
    frames = list(open_film(film(tmp_path / f"a{suffix}")).frames())
    assert [frame.number for frame in frames] == list(range(8))
    assert [float(frame.time) for frame in frames] == pytest.approx([n / 25 for n in range(8)], abs=0.001)
    assert frames[7].picture.name == f"a{suffix}, frame 7"
    for frame in frames:
        assert np.abs(fields(rgb(frame)) - fields(chart(shift=frame.number))).max() < 30


def test_every_call_decodes_anew_and_skips_what_precedes(tmp_path: Path) -> None:
    opened = open_film(film(tmp_path / "a.mp4"))
    whole, rest = list(opened.frames()), list(opened.frames(5))
    assert [(frame.number, frame.time) for frame in rest] == [(frame.number, frame.time) for frame in whole[5:]]
    assert all(a.picture.pixels.equal(b.picture.pixels) for a, b in zip(rest, whole[5:], strict=True))


# Time


def test_variable_times_are_exact_and_start_at_zero(tmp_path: Path) -> None:
    ticks = [700, 1000, 1001, 4000, 4700, 9999]
    frames = open_film(film(tmp_path / "a.mp4", 6, ticks=ticks)).frames()
    assert [frame.time for frame in frames] == [(tick - 700) * TICK for tick in ticks]


def test_times_that_stand_still_or_lack_are_repaired() -> None:
    from types import SimpleNamespace

    from impasto.pictures.video import timed_frames

    stream: Any = SimpleNamespace(
        time_base=Fraction(1, 100), average_rate=Fraction(25), guessed_rate=None, base_rate=None
    )
    frames: Any = iter([SimpleNamespace(pts=pts) for pts in (5, 9, 9, 13, 11, None, 25)])
    times = [time * 100 for time, _ in timed_frames(frames, stream)]
    assert times == [0, 4, 6, 8, 10, 14, 20]


def test_a_clock_that_starts_anew_goes_on() -> None:
    from types import SimpleNamespace

    from impasto.pictures.video import timed_frames

    rates = {"average_rate": Fraction(25), "guessed_rate": None, "base_rate": None}
    stream: Any = SimpleNamespace(time_base=Fraction(1, 100), **rates)
    frames: Any = iter([SimpleNamespace(pts=pts) for pts in (300, 304, 0, 4, 9)])
    assert [time * 100 for time, _ in timed_frames(frames, stream)] == [0, 4, 8, 12, 17]


def lasting(path: Path, ticks: tuple[int, ...], durations: tuple[int, ...]) -> Path:
    """A film whose packets say how long each frame is shown, in 1/12800 s."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"bf": "0", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.time_base = TICK
        for number, (tick, duration) in enumerate(zip(ticks, durations, strict=True)):
            frame = av.VideoFrame.from_ndarray(chart(shift=number)).reformat(format="yuv420p")
            frame.pts, frame.time_base = tick, TICK
            for packet in stream.encode(frame):
                packet.duration = duration
                container.mux(packet)
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_last_frame_that_is_shown_for_long_is_no_break(tmp_path: Path, suffix: str) -> None:
    durations = (512, 512, 5 * 12_800)
    frames = list(open_film(lasting(tmp_path / f"a{suffix}", (0, 512, 1024), durations)).frames())
    assert [float(frame.end or 0) for frame in frames] == pytest.approx([0.04, 0.08, 5.08], abs=0.002)


def test_frames_that_are_hidden_are_not_counted(tmp_path: Path) -> None:
    data = bytearray(film(tmp_path / "a.mp4", 8, bf="0").read_bytes())
    edits = data.index(b"elst") + 8
    assert int.from_bytes(data[edits : edits + 4]) == 1
    data[edits + 4 : edits + 8] = (120).to_bytes(4)  # of 320 ms
    (tmp_path / "a.mp4").write_bytes(data)
    opened = open_film(tmp_path / "a.mp4")
    assert len(list(opened.frames())) == 3
    assert opened.count is None


# Orientation and shape


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),
        ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda a: a.swapaxes(0, 1)),
    ],
)
def test_films_of_turned_cameras_are_upright(tmp_path: Path, matrix: tuple[int, int, int, int], upright: Any) -> None:
    plain = rgb(next(open_film(film(tmp_path / "a.mp4", 1)).frames()))
    opened = open_film(turned(film(tmp_path / "b.mp4", 1), matrix))
    frame = next(opened.frames())
    assert (opened.width, opened.height) == (frame.picture.width, frame.picture.height)
    assert np.array_equal(rgb(frame), upright(plain))


def test_odd_sizes_are_read(tmp_path: Path) -> None:
    opened = open_film(film(tmp_path / "a.mkv", 2, width=37, height=23, pixels="bgr0", codec="ffv1"))
    assert next(opened.frames()).picture.pixels.shape == (1, 3, 23, 37)


def test_pixels_that_are_not_square_are_reported(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        container.mux([*stream.encode(av.VideoFrame.from_ndarray(chart())), *stream.encode()])
    opened = open_film(tmp_path / "a.mp4")
    assert opened.sample_aspect_ratio == Fraction(16, 11)
    assert (opened.width, opened.height) == (48, 32)
    assert open_film(turned(tmp_path / "a.mp4", (0, 1, -1, 0))).sample_aspect_ratio == Fraction(11, 16)


def test_a_film_of_one_frame_is_a_film(tmp_path: Path) -> None:
    assert len(list(open_film(film(tmp_path / "a.mp4", 1)).frames())) == 1


# Colours: against the definition, written without FFmpeg's own conversion


def lossless(path: Path, planes: Any, pixels: str, matrix: int, span: int) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = planes.shape[2], planes.shape[1], pixels
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, span
        frame = frame_of_planes(planes, pixels)
        frame.colorspace, frame.color_range = matrix, span
        container.mux([*stream.encode(frame), *stream.encode()])
    return path


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("matrix", "weights", "size"),
    [
        (1, BT709, (48, 32)),
        (5, BT601, (48, 32)),
        (6, BT601, (48, 32)),
        (9, BT2020, (48, 32)),
        (2, BT601, (48, 32)),
        (2, BT709, (48, 720)),
    ],
)
@pytest.mark.parametrize(("pixels", "bits"), [("yuv444p", 8), ("yuv444p10le", 10), ("yuv444p16le", 16)])
def test_flat_colours_come_back_for_every_matrix_range_and_depth(
    tmp_path: Path, full: bool, matrix: int, weights: tuple[float, float], size: tuple[int, int], pixels: str, bits: int
) -> None:
    picture = chart(*size)
    planes = limited_yuv(picture, *weights, full=full, bits=bits)
    opened = open_film(lossless(tmp_path / "a.mkv", planes, pixels, matrix, 2 if full else 1))
    assert opened.bits == bits
    frame = next(opened.frames())
    assert frame.picture.bits == bits
    assert np.abs(fields(rgb(frame)) - fields(picture)).max() <= 2


@pytest.mark.parametrize(("pixels", "bits"), [("gray", 8), ("gray10le", 10), ("gray16le", 16)])
@pytest.mark.parametrize(("span", "black", "white"), [(1, 16, 235), (2, 0, 255), (0, 0, 255)])
def test_films_without_colours_are_black_and_white(
    tmp_path: Path, pixels: str, bits: int, span: int, black: int, white: int
) -> None:
    levels = (
        np.repeat([black, white], 24) if span == 1 or bits == 8 else np.repeat([0, (2**bits - 1) / 2 ** (bits - 8)], 24)
    )
    planes = np.tile((levels * 2 ** (bits - 8)).astype(np.uint8 if bits == 8 else np.uint16), (1, 32, 1))
    frame = next(open_film(lossless(tmp_path / "a.mkv", planes, pixels, 2, span)).frames())
    assert np.abs(rgb(frame)[16] - np.repeat([0, 255], 24)[:, None]).max() <= 1


def test_interlaced_films_are_told(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv", 4, **{"x264-params": "tff=1"}, flags="+ildct+ilme")
    with pytest.warns(UserWarning, match=r"a\.mkv: is interlaced, and its combs will be painted"):
        open_film(tmp_path / "a.mkv")


def test_ten_bits_are_decoded_at_full_depth(tmp_path: Path) -> None:
    luma = np.tile(np.arange(400, 448, dtype=np.uint16), (32, 1))
    planes = np.stack((luma, np.full_like(luma, 512), np.full_like(luma, 512)))
    frame = next(open_film(lossless(tmp_path / "a.mkv", planes, "yuv444p10le", 1, 1)).frames())
    expected = (luma - 64) / 876
    assert np.abs(frame.picture.pixels[0, 1].numpy() - expected).max() < 1 / 876
    assert len(np.unique(frame.picture.pixels[0, 1, 0].numpy())) == 48


def test_half_size_colours_come_back(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3))
    planes = limited_yuv(np.kron(colours, np.ones((16, 16, 1))), *BT709)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        frame = av.VideoFrame(128, 96, "yuv420p")
        for plane, values in zip(frame.planes, (planes[0], planes[1, ::2, ::2], planes[2, ::2, ::2]), strict=True):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            rows[:, : values.shape[1]] = values
            plane.update(rows.tobytes())
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        container.mux([*stream.encode(frame), *stream.encode()])
    image = rgb(next(open_film(tmp_path / "a.mp4").frames()))
    assert np.abs(image[8::16, 8::16] - colours).max() <= 2


def test_transparency_of_films_is_kept(tmp_path: Path) -> None:
    rgba = np.dstack((chart(), np.full((32, 48), 255, np.uint8)))
    rgba[:16, :, 3], rgba[16:, :16, 3] = 0, 128
    for suffix, codec, pixels, options in (
        (".mov", "prores_ks", "yuva444p10le", {"profile": "4444"}),
        (".webm", "libvpx-vp9", "yuva420p", {"lossless": "1"}),
        (".mov", "png", "rgba", {}),
    ):
        path = tmp_path / f"{codec}{suffix}"
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 48, 32, pixels
            frame = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format=pixels)
            container.mux([*stream.encode(frame), *stream.encode()])
        alpha = next(open_film(path).frames()).picture.alpha
        assert alpha is not None
        assert [float(alpha[0, 0, y, x]) for y, x in ((5, 24), (26, 5), (26, 40))] == pytest.approx(
            [0, 128 / 255, 1], abs=0.02
        )


def test_an_invisible_frame_is_black_and_transparent(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream: Any = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "rgba"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 48, 4), np.uint8), "rgba")
        container.mux([*stream.encode(frame), *stream.encode()])
    picture = next(open_film(tmp_path / "a.mov").frames()).picture
    assert picture.alpha is not None
    assert float(picture.alpha.max()) == float(picture.pixels.max()) == 0


# Memory


def test_long_films_are_read_a_few_frames_at_a_time(tmp_path: Path) -> None:
    opened = open_film(film(tmp_path / "a.mp4", 600, width=160, height=96, preset="ultrafast"))
    one = 160 * 96 * 3 * 4
    tracemalloc.start()
    try:
        count = sum(1 for _ in opened.frames())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 600
    assert peak < 40 * one


def test_importing_the_room_does_not_import_pyav() -> None:
    code = "import sys, impasto.pictures.film, impasto.pictures.film_writing; print('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# Errors


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(PictureError) as caught:
        list(open_film(path, **options).frames())
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(path), path.name)


def test_missing_films_are_named_with_the_nearest_one(tmp_path: Path) -> None:
    film(tmp_path / "holiday.mp4", 1)
    assert refusal(tmp_path / "holidays.mp4") == "holidays.mp4: no such file (did you mean holiday.mp4?)"
    assert refusal(tmp_path / "no" / "a.mp4").startswith("a.mp4: no such file, there is no folder")


def test_empty_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert refusal(tmp_path / "a.mp4") == "a.mp4: the file is empty; copy or download it again"


@pytest.mark.parametrize("content", [b"Dear diary,\n" * 50, bytes(2000), b"#EXTM3U\n#EXTINF:1,\nother.mp4\n"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    film(tmp_path / "other.mp4", 1)
    assert refusal(tmp_path / "a.mp4") == "a.mp4: is no film, or a damaged one; copy it again or convert it to MP4"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp", "a.tif", "a.mp4"])
def test_still_pictures_are_sent_to_transfer(tmp_path: Path, name: str) -> None:
    from PIL import Image

    kind = {"jpg": "JPEG", "tif": "TIFF", "mp4": "PNG"}.get(name[2:], name[2:].upper())
    Image.fromarray(chart()).save(tmp_path / name, kind)
    assert refusal(tmp_path / name) == f"{name}: is a picture, not a film; use impasto transfer"


def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    from reels import sine

    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", rate=48_000, layout="mono")
        container.mux([*stream.encode(sine(0.2)), *stream.encode(None)])
    assert refusal(tmp_path / "a.m4a") == "a.m4a: holds sound only; choose a film"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_films_cut_short_yield_what_they_have_and_say_where_they_break(tmp_path: Path, suffix: str) -> None:
    path = film(tmp_path / f"a{suffix}", 100, preset="ultrafast")
    if suffix == ".mp4":
        with (
            av.open(str(path)) as source,
            av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as t,
        ):
            copy = t.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = copy
                    t.mux(packet)
        path = tmp_path / "b.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames: list[Frame] = []
    with pytest.raises(PictureError, match=rf"{path.name}: breaks off after \d+ frames; copy or download") as caught:
        frames.extend(open_film(path).frames())
    assert 5 < len(frames) < 90
    assert f"after {len(frames)} frames" in str(caught.value)


def test_films_cut_between_two_frames_are_cut_short_too(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(chart(shift=number))))
        container.mux(stream.encode())
    with av.open(str(path)) as source:
        places = [packet.pos for packet in source.demux(video=0) if packet.pos is not None]
    path.write_bytes(path.read_bytes()[: places[12]])
    assert refusal(path) == "a.mp4: breaks off after 12 frames; copy or download it again, or cut it there"


def test_playlists_that_would_open_other_files_are_refused(tmp_path: Path) -> None:
    film(tmp_path / "other.ts")
    path = tmp_path / "a.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.32,\nother.ts\n#EXT-X-ENDLIST\n")
    assert refusal(path) == "a.m3u8: is no film, or a damaged one; copy it again or convert it to MP4"


def test_films_whose_index_is_lost_are_called_cut_short(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-600])
    assert refusal(path) == "a.mp4: the film is cut short; copy or download it again"


def test_whole_films_with_something_behind_them_are_whole(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes() + b"\xff\xee trailing bytes of a camera")
    assert len(list(open_film(path).frames())) == 8


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 1)
    assert refusal(path, max_pixels=1000) == (
        "a.mp4: 48×32 is more than the limit of 1000 pixels; if you trust it, use --max-pixels 1536"
    )


def test_a_size_that_changes_in_mid_film_is_one_clear_error(tmp_path: Path) -> None:
    first, second = film(tmp_path / "a.h264", 3), film(tmp_path / "b.h264", 3, width=64, height=48)
    path = tmp_path / "c.h264"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    assert refusal(path) == ("c.h264: changes from 48×32 to 64×48 at frame 3; cut it there, or convert it to one size")


def test_a_frame_far_larger_than_the_header_says_is_not_decoded(tmp_path: Path) -> None:
    first, second = film(tmp_path / "a.h264", 3), film(tmp_path / "b.h264", 3, width=640, height=480)
    path = tmp_path / "c.h264"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    assert refusal(path, max_pixels=2000).startswith("c.h264: breaks off after ")


def test_special_files_and_impossible_names_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert refusal(tmp_path / "a.mp4") == "a.mp4: not a regular file; save the film to a file first"
    with pytest.raises(PictureError, match="no such file"):
        open_film("a\0.mp4")


def test_a_film_without_frames_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "a.h264", 1)
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"\0\0\1\x65")] + bytes(64))
    assert "a.h264: " in refusal(path)


@pytest.mark.parametrize("seed", range(30))
def test_damaged_films_raise_nothing_else(tmp_path: Path, seed: int) -> None:
    data = bytearray(film(tmp_path / "a.mp4", 4, sound=0.1).read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(0, len(data), 20):
        data[place] = random.integers(256)
    (tmp_path / "a.mp4").write_bytes(data)
    with suppress(ImpastoError):
        list(open_film(tmp_path / "a.mp4", max_pixels=1_000_000).frames())


@pytest.mark.skipif(not REAL.is_dir(), reason="needs IMPASTO_TEST_DATA with video/")
def test_real_films_are_read_to_their_ends() -> None:
    for path in sorted(REAL.glob("*.mp4")):
        opened = open_film(path)
        times = [frame.time for frame in opened.frames()]
        assert len(times) == opened.count
        assert times == sorted(set(times))

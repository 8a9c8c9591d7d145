"""Animations as films, in and out: their pictures, transparency, durations, loops and records."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from impasto.errors import PictureError
from impasto.pictures.files import read_picture, to_array
from impasto.pictures.film import open_film
from impasto.pictures.film_format import FilmFormat
from impasto.pictures.film_writing import join_parts, read_film_record, write_part
from reels import chart, fields

NAMES = ["a.gif", "a.webp", "a.png", "a.apng"]
RECORD = '{"style": "北斎", "long": "' + "x" * 70_000 + '"}'


def pixels(shift: int) -> Tensor:
    return torch.from_numpy(chart(shift=shift)).permute(2, 0, 1)[None] / 255


def animate(target: Path, frames: list[Tensor], times: list[Fraction], end: Fraction, **options: Any) -> Path:
    """Through two parts, the first of which has one frame."""
    usual: dict[str, Any] = {"rate": Fraction(12), "time_base": Fraction(1, 600), "width": 48, "height": 32}
    record = options.pop("record", None)
    format = FilmFormat.of(target, **usual | options)
    parts = [target.parent / f"p{number}{format.part_suffix}" for number in (0, 1)]
    write_part(parts[0], zip(frames[:1], times[:1], strict=True), format, times[1])
    write_part(parts[1], zip(frames[1:], times[1:], strict=True), format, end)
    join_parts(parts, target, format, end=end, record=record)
    return target


def charts(target: Path, **options: Any) -> Path:
    times = [Fraction(tick, 10) for tick in (0, 1, 3, 4, 8)]
    return animate(target, [pixels(number) for number in range(5)], times, Fraction(1), **options)


@pytest.mark.parametrize("name", NAMES)
def test_animations_come_back(tmp_path: Path, name: str) -> None:
    opened = open_film(charts(tmp_path / name, record=RECORD))
    frames = list(opened.frames())
    assert [frame.time for frame in frames] == [Fraction(tick, 10) for tick in (0, 1, 3, 4, 8)]
    assert (opened.width, opened.height, opened.count, opened.seconds) == (48, 32, 5, 1.0)
    assert opened.rate == 5
    assert opened.loops
    assert not opened.has_sound
    assert read_film_record(tmp_path / name) == RECORD
    for frame in frames:
        assert frame.picture.alpha is None
        assert np.abs(fields(to_array(frame.picture)) - fields(chart(shift=frame.number))).max() <= 6
    assert [frame.number for frame in opened.frames(3)] == [3, 4]
    assert next(opened.frames(3)).picture.pixels.equal(frames[3].picture.pixels)


@pytest.mark.parametrize("name", NAMES)
def test_animations_that_play_once_say_so(tmp_path: Path, name: str) -> None:
    assert not open_film(charts(tmp_path / name, loops=False)).loops
    assert read_film_record(tmp_path / name) is None


def test_the_last_frame_of_an_animation_ends_as_it_says(tmp_path: Path) -> None:
    images = [Image.fromarray(chart(shift=number)) for number in range(3)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[100, 100, 2000])
    ends = [frame.end for frame in open_film(tmp_path / "a.gif").frames()]
    assert ends == [Fraction(1, 10), Fraction(1, 5), Fraction(11, 5)]


def test_what_lies_beyond_a_gif_is_not_shown(tmp_path: Path) -> None:
    images = [Image.fromarray(chart(shift=number)) for number in range(3)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], disposal=2)
    data = bytearray((tmp_path / "a.gif").read_bytes())
    data[6:10] = (40).to_bytes(2, "little") + (20).to_bytes(2, "little")
    (tmp_path / "a.gif").write_bytes(data)
    opened = open_film(tmp_path / "a.gif")
    sizes = {(frame.picture.width, frame.picture.height) for frame in opened.frames()}
    assert sizes == {(opened.width, opened.height)}


@pytest.mark.parametrize("name", NAMES)
def test_transparency_is_kept(tmp_path: Path, name: str) -> None:
    frames = []
    for number in range(3):
        alpha = torch.ones(1, 1, 32, 48)
        alpha[..., number * 16 : number * 16 + 16] = 0
        frames.append(torch.cat((pixels(0), alpha), 1))
    times = [Fraction(number, 10) for number in range(3)]
    for frame in open_film(animate(tmp_path / name, frames, times, Fraction(3, 10))).frames():
        assert frame.picture.alpha is not None
        assert torch.equal(frame.picture.alpha, frames[frame.number][:, 3:])


@pytest.mark.parametrize("name", NAMES)
def test_invisible_frames_are_frames(tmp_path: Path, name: str) -> None:
    clear, opaque = torch.zeros(1, 4, 32, 48), torch.cat((pixels(0), torch.ones(1, 1, 32, 48)), 1)
    path = animate(tmp_path / name, [opaque, clear], [Fraction(0), Fraction(1, 10)], Fraction(2, 10))
    visible = [frame.picture.alpha is None for frame in open_film(path).frames()]
    assert visible == [True, False]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_one_frame_makes_a_picture_with_its_record(tmp_path: Path, name: str) -> None:
    format = FilmFormat.of(tmp_path / name, rate=Fraction(25), time_base=Fraction(1, 25), width=48, height=32)
    write_part(tmp_path / "p.mov", [(pixels(0), Fraction(0))], format, Fraction(1, 25))
    join_parts([tmp_path / "p.mov"], tmp_path / name, format, end=Fraction(1, 25), record=RECORD)
    assert np.abs(fields(to_array(read_picture(tmp_path / name))) - fields(chart())).max() <= 6
    assert read_film_record(tmp_path / name) == RECORD


def test_animated_avif_is_read(tmp_path: Path) -> None:
    images = [Image.fromarray(chart(shift=number)) for number in range(3)]
    images[0].save(tmp_path / "a.avif", save_all=True, append_images=images[1:], duration=200, quality=95)
    frames = list(open_film(tmp_path / "a.avif").frames())
    assert [frame.time for frame in frames] == [0, Fraction(1, 5), Fraction(2, 5)]
    assert np.abs(fields(to_array(frames[2].picture)) - fields(chart(shift=2))).max() <= 8


def test_png_keeps_exact_durations(tmp_path: Path) -> None:
    times = [number * Fraction(1001, 30_000) for number in range(5)]
    path = animate(
        tmp_path / "a.png", [pixels(n) for n in range(5)], times, 5 * Fraction(1001, 30_000),
        time_base=Fraction(1001, 30_000),
    )  # fmt: skip
    assert [frame.time for frame in open_film(path).frames()] == times


def test_rounding_of_gif_durations_does_not_add_up(tmp_path: Path) -> None:
    times = [Fraction(number, 24) for number in range(48)]
    path = animate(tmp_path / "a.gif", [pixels(number) for number in range(48)], times, Fraction(2))
    found = [frame.time for frame in open_film(path).frames()]
    assert len(found) == 48
    assert max(abs(a - b) for a, b in zip(found, times, strict=True)) <= Fraction(1, 200)
    assert open_film(path).seconds == 2


def test_gif_keeps_its_pace_at_rates_that_browsers_slow_down(tmp_path: Path) -> None:
    times = [Fraction(number, 60) for number in range(60)]
    path = animate(tmp_path / "a.gif", [pixels(number) for number in range(60)], times, Fraction(1))
    opened = open_film(path)
    assert opened.seconds == 1
    steps = [b.time - a.time for a, b in zip(opened.frames(), opened.frames(1), strict=False)]
    assert min(steps) >= Fraction(2, 100)


def test_gif_gives_gradients_a_dithered_palette_of_their_own(tmp_path: Path) -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 48), indexing="ij")
    gradient = torch.stack((rows, columns, 1 - rows))[None]
    path = animate(tmp_path / "a.gif", [gradient, 1 - gradient], [Fraction(0), Fraction(1, 10)], Fraction(2, 10))
    for frame, wanted in zip(open_film(path).frames(), (gradient, 1 - gradient), strict=True):
        assert float(avg_pool2d(frame.picture.pixels - wanted, 4).abs().mean()) < 0.0055


def test_gifs_of_others_with_parts_and_palettes_are_composed(tmp_path: Path) -> None:
    first = Image.fromarray(chart())
    second = first.copy()
    second.paste((9, 9, 9), (0, 0, 8, 8))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], duration=[100, 0], loop=0)
    frames = list(open_film(tmp_path / "a.gif").frames())
    assert frames[1].time == Fraction(1, 10)
    assert open_film(tmp_path / "a.gif").seconds == 0.2  # browsers show hurried frames for a tenth
    assert to_array(frames[1].picture)[2, 2].tolist() == [9, 9, 9]
    assert np.array_equal(to_array(frames[1].picture)[8:], to_array(frames[0].picture)[8:])


def test_pictures_for_viewers_without_animation_are_left_out(tmp_path: Path) -> None:
    images = [Image.fromarray(chart(shift=number)) for number in range(3)]
    images[0].save(
        tmp_path / "a.png", save_all=True, append_images=images[1:], default_image=True, duration=100, loop=0
    )
    frames = list(open_film(tmp_path / "a.png").frames())
    assert len(frames) == 2
    assert np.array_equal(to_array(frames[0].picture), chart(shift=1))


def test_animations_cut_short_say_where_they_break(tmp_path: Path) -> None:
    path = charts(tmp_path / "a.png")
    data = path.read_bytes()
    last = data.rfind(b"fdAT")
    path.write_bytes(data[: last + 10])
    with pytest.raises(PictureError, match=r"a\.png: breaks off after \d frames; copy or download it again|cut short"):
        list(open_film(path).frames())


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
@pytest.mark.parametrize("seed", range(8))
def test_damaged_animations_raise_nothing_else(tmp_path: Path, name: str, seed: int) -> None:
    from contextlib import suppress

    from impasto.errors import ImpastoError

    data = bytearray(charts(tmp_path / name).read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(12, len(data), 10):
        data[place] = random.integers(256)
    (tmp_path / name).write_bytes(data)
    with suppress(ImpastoError):
        list(open_film(tmp_path / name, max_pixels=1_000_000).frames())
    with suppress(ImpastoError):
        read_film_record(tmp_path / name)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_too_many_pixels_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PictureError, match=rf"{name}: 48×32 is more than the limit of 1000 pixels; if you trust it"):
        open_film(charts(tmp_path / name), max_pixels=1000)

"""Cuts: another shot, and not the same one moved or in other light."""

from __future__ import annotations

import os
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from impasto.errors import UsageError
from impasto.motion import Cuts, Dis, both_ways, consistency, is_cut, parse_cuts, read_cuts
from impasto.motion.cuts import COLOURS, STRUCTURE, VISIBLE, colour_distance, structure, without_bars
from motion.moving_square import texture

HEIGHT, WIDTH = 90, 160
TINTS = torch.tensor([[0.9, 0.6, 0.4], [0.3, 0.6, 0.9]]).view(2, 1, 3, 1, 1)


def shot(number: int, width: int = WIDTH) -> Tensor:
    """A view of its own: things of several sizes, in its own colours."""
    return texture(number, HEIGHT, width) * TINTS[number % 2]


LETTER = (slice(13, -13), slice(None))
"""What bars leave of 2.39 : 1 in 16 : 9."""
PILLAR = (slice(None), slice(20, -20))
"""And of 4 : 3."""
BOXES = pytest.mark.parametrize("box", [LETTER, PILLAR, (LETTER[0], PILLAR[1])], ids=["letter", "pillar", "window"])


def boxed(picture: Tensor, box: tuple[slice, slice], noise: float = 0.0, seed: int = 0) -> Tensor:
    """Between black bars, with noise of such a standard deviation everywhere."""
    framed = torch.zeros_like(picture)
    framed[..., *box] = picture[..., *box]
    return noisy(framed, noise, seed)


def noisy(picture: Tensor, noise: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (picture + noise * torch.randn(picture.shape, generator=generator)).clamp(0, 1)


def found(before: Tensor, now: Tensor) -> bool:
    """Whether there is a cut, with flow as a film has it."""
    return is_cut(before, now, consistency(*both_ways(Dis("fast"), now, before)))


def seen(share: float) -> Tensor:
    """A share of a frame that was seen before, the same everywhere."""
    return torch.full((1, 1, HEIGHT, WIDTH), float(share))


@pytest.mark.parametrize("first", range(6))
def test_another_shot_is_a_cut(first: int) -> None:
    assert found(shot(first), shot(first + 1))


@BOXES
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_another_shot_between_bars_is_a_cut(box: tuple[slice, slice], noise: float) -> None:
    shots = [boxed(shot(number), box, noise, seed=number) for number in range(4)]
    assert all(found(*pair) for pair in pairwise(shots))


@pytest.mark.parametrize("light", [0.2, 0.1])
@pytest.mark.parametrize("noise", [0.0, 0.008])
def test_another_shot_in_the_dark_is_a_cut(light: float, noise: float) -> None:
    shots = [noisy(light * shot(number), noise, seed=number) for number in range(4)]
    assert all(found(*pair) for pair in pairwise(shots))


def test_another_shot_in_the_dark_between_bars_is_a_cut() -> None:
    shots = [boxed(0.2 * shot(number), LETTER, 0.008, seed=number) for number in range(4)]
    assert all(found(*pair) for pair in pairwise(shots))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.4])
def test_a_pan_is_not_however_fast(share: float) -> None:
    wide, step = shot(0, 2 * WIDTH), round(share * WIDTH)
    assert not found(wide[..., :WIDTH], wide[..., step : step + WIDTH])


def test_an_object_that_moves_is_not() -> None:
    before, now = shot(0).clone(), shot(0).clone()
    before[..., 20:60, 20:60], now[..., 20:60, 70:110] = shot(1)[..., :40, :40], shot(1)[..., :40, :40]
    assert not found(before, now)


@pytest.mark.parametrize("frames", [8, 24])
def test_a_cross_fade_is_not_at_any_frame(frames: int) -> None:
    faded = [torch.lerp(shot(0), shot(1), step / frames) for step in range(frames + 1)]
    assert not any(found(*pair) for pair in pairwise(faded))


def test_a_fade_to_black_and_back_is_not_at_any_frame() -> None:
    faded = [shot(0) * abs(step - 12) / 12 for step in range(25)]
    assert not any(found(*pair) for pair in pairwise(faded))


@BOXES
@pytest.mark.parametrize("light", [1.0, 0.2])
@pytest.mark.parametrize("noise", [0.0, 0.008])
def test_a_fade_and_a_pan_between_bars_are_not_in_any_light(
    box: tuple[slice, slice], light: float, noise: float
) -> None:
    faded = [light * shot(0) * abs(step - 12) / 12 for step in range(25)]
    panned = [light * shot(1, 2 * WIDTH)[..., x : x + WIDTH] for x in range(0, WIDTH, 32)]
    for frames in (faded, panned):
        seen = [boxed(frame, box, noise, seed=number) for number, frame in enumerate(frames)]
        assert not any(found(*pair) for pair in pairwise(seen))


@pytest.mark.parametrize(("gain", "light"), [(1.5, 0.0), (1.8, 0.1), (0.1, 0.9)])
def test_a_flash_of_a_camera_is_not_there_or_back(gain: float, light: float) -> None:
    plain, lit = shot(0), (shot(0) * gain + light).clamp(0, 1)
    assert colour_distance(plain, lit) > COLOURS
    assert not found(plain, lit)
    assert not found(lit, plain)


def test_flow_has_a_say() -> None:
    assert is_cut(shot(0), shot(1), seen(VISIBLE - 0.01))
    assert not is_cut(shot(0), shot(1), seen(VISIBLE + 0.001))


def test_bars_have_no_say_in_what_was_seen() -> None:
    upright = (slice(None), slice(54, -54))
    one, other = (boxed(shot(number), upright) for number in range(2))
    bars = torch.ones(1, 1, HEIGHT, WIDTH)
    bars[..., *upright] = 0.3
    assert bars.mean() > VISIBLE
    assert is_cut(one, other, bars)


def test_colours_have_a_say() -> None:
    upside_down = shot(0).flip(2, 3)
    assert structure(shot(0), upside_down) < STRUCTURE
    assert not is_cut(shot(0), upside_down, seen(0))


def test_things_have_a_say() -> None:
    lit = 0.4 * shot(0) + 0.5
    assert colour_distance(shot(0), lit) > COLOURS
    assert not is_cut(shot(0), lit, seen(0))


def test_colour_distance_is_0_to_1() -> None:
    assert colour_distance(shot(0), shot(0).flip(3)) == pytest.approx(0, abs=0.01)
    assert colour_distance(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)) == pytest.approx(1)
    half = torch.zeros(1, 3, 64, 64)
    half[..., 32:] = 1
    assert colour_distance(torch.zeros(1, 3, 64, 64), half) == pytest.approx(0.5, abs=0.02)


def test_structure_is_that_of_things_wherever_they_are_and_in_any_light() -> None:
    wide = shot(0, 2 * WIDTH)
    assert structure(shot(0), shot(0)) == pytest.approx(1, abs=0.01)
    assert structure(shot(0), 0.3 * shot(0) + 0.5) > 0.9
    assert structure(wide[..., :WIDTH], wide[..., 50 : 50 + WIDTH]) > 0.8
    assert structure(wide[..., :WIDTH], wide[..., 140 : 140 + WIDTH]) < STRUCTURE


def test_light_from_one_side_leaves_structure() -> None:
    lamp = torch.linspace(0.2, 1, WIDTH) ** 2
    assert structure(shot(0), lamp * shot(0)) > 0.85
    assert structure(lamp * shot(0), lamp.flip(0) * shot(0)) > 0.6


@BOXES
def test_bars_are_left_out_with_what_they_blur(box: tuple[slice, slice]) -> None:
    one, other = (boxed(shot(number), box, 0.02, seed=number) for number in range(2))
    between = tuple(slice(part.start and part.start + 3, part.stop and part.stop - 3) for part in box)
    for whole, left in zip((one, other), without_bars(one, other), strict=True):
        assert left.shape[2] >= whole[..., *between].shape[2]
        assert left.shape[3] >= whole[..., *between].shape[3]
        assert left.shape != whole.shape
        assert float((left < 0.05).all(1).float().mean((0, 1)).max()) < 0.9
        assert float((left < 0.05).all(1).float().mean((0, 2)).max()) < 0.9


def test_the_blurred_edge_of_a_bar_is_left_out() -> None:
    wider = (slice(12, -12), slice(None))
    one, other = (torch.lerp(boxed(shot(number), LETTER), boxed(shot(number), wider), 0.3) for number in range(2))
    assert without_bars(one, other)[0].shape[2] <= HEIGHT - 2 * 13


def test_only_what_is_of_one_colour_in_both_is_a_bar() -> None:
    one, other = shot(0), boxed(shot(1), LETTER)
    assert without_bars(one, other)[0].shape == without_bars(other, one)[1].shape == one.shape


def test_a_light_in_the_dark_is_not_all_there_is() -> None:
    dark = torch.zeros(1, 3, HEIGHT, WIDTH)
    dark[..., 40:50, 70:80] = 1
    assert without_bars(dark, dark)[0].shape == dark.shape


def test_a_star_in_the_dark_may_be_all_there_is() -> None:
    night = torch.zeros(1, 3, HEIGHT, WIDTH)
    night[..., 40:45, 70:75] = 1
    assert not is_cut(night, night, seen(0))
    assert is_cut(night, shot(0), seen(0))


def test_a_flat_picture_has_no_structure() -> None:
    flat = torch.full((1, 3, HEIGHT, WIDTH), 0.5)
    assert structure(flat, flat) == pytest.approx(0, abs=1e-3)
    assert not is_cut(flat, flat, seen(0))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (64, 64), (2, 3)])
def test_frames_may_have_any_size(size: tuple[int, int]) -> None:
    assert isinstance(is_cut(torch.zeros(1, 3, *size), torch.ones(1, 3, *size), torch.zeros(1, 1, *size)), bool)


FILMS = Path(os.environ.get("IMPASTO_TEST_DATA", "nowhere")) / "video"
REAL = pytest.mark.skipif(not FILMS.is_dir(), reason="needs IMPASTO_TEST_DATA with video/")


@REAL
def test_the_one_cut_of_a_film_is_found() -> None:
    av = pytest.importorskip("av")
    with av.open(str(FILMS / "mp4" / "cutBunny.mp4")) as film:
        frames = [_small(frame.to_image()) for frame in islice(film.decode(video=0), 225, 240)]
    assert [number for number, pair in enumerate(pairwise(frames), 226) if found(*pair)] == [235]


@REAL
@BOXES
def test_the_one_cut_of_a_film_is_found_between_bars_and_in_the_dark(box: tuple[slice, slice]) -> None:
    av = pytest.importorskip("av")
    with av.open(str(FILMS / "mp4" / "cutBunny.mp4")) as film:
        frames = [_small(frame.to_image())[..., ::2, ::2] for frame in islice(film.decode(video=0), 225, 240)]
    for light in (1.0, 0.2):
        seen = [boxed(light * frame, box, 0.008, seed=number) for number, frame in enumerate(frames)]
        assert [number for number, pair in enumerate(pairwise(seen), 226) if found(*pair)] == [235]


@REAL
def test_fast_motion_in_a_film_is_not_a_cut() -> None:
    paths = sorted((FILMS / "davis-bmx-trees" / "frames").iterdir())[:24:2]
    assert len(paths) == 12
    assert not any(found(*pair) for pair in pairwise(_small(Image.open(path)) for path in paths))


def _small(picture: Image.Image) -> Tensor:
    pixels = np.asarray(picture.convert("RGB").resize((320, 180)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255


def test_cuts_are_frames_and_seconds() -> None:
    cuts = parse_cuts("# scenes\n12\n 3.5s # the door\n\n.25 s\n0007\n2s\n12\n")
    assert cuts == Cuts(frozenset({12, 7}), frozenset({3.5, 0.25, 2.0}))


def test_a_frame_is_where_its_number_or_time_says() -> None:
    cuts = parse_cuts("2\n0.5s")
    times = [0.0, 0.2, 0.4, 0.6, 0.8]
    begins = [cuts.at(number, times[number - 1], times[number]) for number in range(1, 5)]
    assert begins == [False, True, True, False]


@pytest.mark.parametrize("rate", [23.976, 24, 25, 29.97, 60, 90])
def test_a_time_with_two_decimals_finds_its_frame_once(rate: float) -> None:
    times = [number / rate for number in range(60)]
    for wanted in range(1, 60):
        cuts = parse_cuts(f"{times[wanted]:.2f}s")
        assert [n for n in range(1, 60) if cuts.at(n, times[n - 1], times[n])] == [wanted]


@pytest.mark.parametrize("rate", [120, 240, 480, 1000])
def test_a_time_finds_its_frame_once_however_many_there_are_in_a_second(rate: int) -> None:
    times = [number / rate for number in range(2 * rate + 1)]
    assert [n for n in range(1, len(times)) if parse_cuts("1.0s").at(n, times[n - 1], times[n])] == [rate]


def test_no_cuts_are_no_cuts() -> None:
    assert parse_cuts("\n# none\n") == Cuts()
    assert not Cuts().at(0, 0.0, 0.04)


@pytest.mark.parametrize(
    "entry", ["-3", "3.5", "s", "1,5s", "00:03", "nans", "1e3s", "12 13", "3.5sec", "9" * 400 + "s"]
)
def test_another_line_is_said_with_its_number(entry: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_cuts(f"1\n\n{entry} # why\n", "cuts.txt")
    assert str(caught.value) == (
        f'cuts.txt, line 3: "{entry}" is no cut; write the number of a frame, such as 12, '
        "or a time in seconds, such as 3.5s"
    )


def test_cuts_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cuts.txt"
    path.write_bytes(b"\xef\xbb\xbf12\r\n3.5s\r\n")
    assert read_cuts(path) == Cuts(frozenset({12}), frozenset({3.5}))


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.txt: no such file"):
        read_cuts(tmp_path / "none.txt")
    with pytest.raises(UsageError, match="cannot be read"):
        read_cuts(tmp_path)
    (tmp_path / "film.mp4").write_bytes(b"\x00\xff\xfe\x80")
    with pytest.raises(UsageError, match=r"is no text; write one cut a line, such as 12 or 3\.5s"):
        read_cuts(tmp_path / "film.mp4")

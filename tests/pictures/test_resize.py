"""Other sizes: nothing leaves the range, nothing shifts, aspects hold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from impasto.pictures.resize import equal_area, fit, resize, resize_mask, resize_squares

SIDES = st.integers(1, 20_000)


def noise(height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0)).round()


@pytest.mark.parametrize("size", [(7, 5), (64, 30), (1, 1), (200, 3)])
def test_resized_pixels_have_the_size_asked_for_and_stay_in_range(size: tuple[int, int]) -> None:
    pixels = resize(noise(32, 48), *size)
    assert pixels.shape == (1, 3, *size)
    assert 0 <= pixels.min() <= pixels.max() <= 1


def test_the_same_size_changes_nothing() -> None:
    assert torch.equal(resize(noise(32, 48), 32, 48), noise(32, 48))
    assert torch.equal(resize_mask(noise(32, 48, 1), 32, 48), noise(32, 48, 1))


@pytest.mark.parametrize("size", [(16, 24), (7, 5), (64, 96), (1, 1)])
def test_a_flat_picture_stays_flat(size: tuple[int, int]) -> None:
    assert_close(resize(torch.full((1, 3, 32, 48), 0.3), *size), torch.full((1, 3, *size), 0.3))
    assert_close(resize_mask(torch.full((1, 1, 32, 48), 0.3), *size), torch.full((1, 1, *size), 0.3))


def test_shrinking_averages_instead_of_skipping() -> None:
    lines = (torch.arange(64).remainder(4) == 0).float().expand(1, 3, 64, 64)
    for picture in (lines, lines.mT):
        small = resize(picture, 16, 16)[..., 2:-2, 2:-2]
        assert_close(small, torch.full((1, 3, 12, 12), 0.25), atol=0.02, rtol=0)


def test_pixel_art_has_squares_where_it_grows() -> None:
    pixels = noise(4, 6)
    assert torch.equal(resize_squares(pixels, 12, 18), pixels.repeat_interleave(3, 2).repeat_interleave(3, 3))
    between = resize_squares(pixels, 30, 45)  # seven and a half times
    assert between.shape == (1, 3, 30, 45)
    inner = between[..., 2:6, 2:6]  # of the first square, away from its edges
    assert_close(inner, pixels[..., :1, :1].expand_as(inner), atol=1e-2, rtol=0)
    assert torch.equal(resize_squares(pixels, 2, 3), resize(pixels, 2, 3))


def test_there_and_back_does_not_shift() -> None:
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64)
    for picture in (ramp, ramp.mT):
        back = resize(resize(picture, 32, 32), 64, 64)
        assert_close(back[..., 8:-8, 8:-8], picture[..., 8:-8, 8:-8], atol=2e-3, rtol=0)


def test_a_mask_keeps_its_area() -> None:
    mask = noise(64, 96, 1)
    for size in ((32, 48), (16, 12), (1, 1), (128, 192)):
        assert resize_mask(mask, *size).mean() == pytest.approx(float(mask.mean()), abs=1e-5)


def test_each_value_of_a_mask_is_the_mean_of_its_area() -> None:
    mask = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]]).view(1, 1, 2, 4)
    assert_close(resize_mask(mask, 1, 2), torch.tensor([0.25, 0.75]).view(1, 1, 1, 2))


def test_what_a_mask_hides_stays_hidden() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 40:] = 1
    small = resize_mask(mask, 16, 16)
    assert small[..., :10].max() == 0
    assert small[..., 10:].min() == 1


@given(SIDES, SIDES, st.integers(1, 65_536))
def test_fit_gives_the_longest_side_and_the_nearest_aspect(height: int, width: int, size: int) -> None:
    h, w = fit(height, width, size)
    assert max(h, w) == size
    assert h == pytest.approx(max(1, height * size / max(height, width)), abs=0.501)
    assert w == pytest.approx(max(1, width * size / max(height, width)), abs=0.501)


@given(SIDES, SIDES)
def test_fit_to_its_own_size_changes_nothing(height: int, width: int) -> None:
    assert fit(height, width, max(height, width)) == (height, width)


def test_fit_of_known_examples() -> None:
    assert fit(3000, 4000, 512) == (384, 512)
    assert fit(1, 20_000, 512) == (1, 512)
    assert fit(2, 1, 1000) == (1000, 500)


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(10_000, 10**7))
def test_equal_area_has_the_area_and_the_aspect(height: int, width: int, area: int) -> None:
    h, w = equal_area(height, width, area)
    exact_h, exact_w = (area * height / width) ** 0.5, (area * width / height) ** 0.5
    assert h == pytest.approx(max(1, exact_h), abs=0.501)
    assert w == pytest.approx(max(1, exact_w), abs=0.501)


def test_equal_area_of_its_own_area_changes_nothing() -> None:
    assert equal_area(48, 64, 48 * 64) == (48, 64)
    assert equal_area(48, 64, 4 * 48 * 64) == (96, 128)

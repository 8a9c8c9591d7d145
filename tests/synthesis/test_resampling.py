"""Resampling across sides that wrap."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from impasto.synthesis.resampling import Wrap, resampled

NOISE = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
SIZES = [(64, 96), (16, 24), (48, 80), (32, 48)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_what_wraps_may_be_rolled_before_or_after(size: tuple[int, int], mode: str) -> None:
    """By whole positions of both sizes."""
    wrapped: Wrap = (True, True)
    before, after = (16, 24), (size[0] // 2, size[1] // 2)
    rolled = resampled(NOISE.roll(before, (2, 3)), size, mode, antialias=True, wrap=wrapped)
    expected = resampled(NOISE, size, mode, antialias=True, wrap=wrapped).roll(after, (2, 3))
    assert rolled.shape[-2:] == size
    assert torch.allclose(rolled, expected, atol=1e-5)
    plain = resampled(NOISE, size, mode, antialias=True).roll(after, (2, 3))
    assert size == (32, 48) or not torch.allclose(rolled, plain, atol=1e-3)


@pytest.mark.parametrize(("wrap", "axis"), [((True, False), 2), ((False, True), 3)])
def test_one_side_may_wrap_alone(wrap: Wrap, axis: int) -> None:
    shift, after = {2: (16, 32), 3: (24, 48)}[axis]
    rolled = resampled(NOISE.roll(shift, axis), (64, 96), "bicubic", wrap=wrap)
    assert torch.allclose(rolled, resampled(NOISE, (64, 96), "bicubic", wrap=wrap).roll(after, axis), atol=1e-5)
    other = resampled(NOISE.roll(shift, 5 - axis), (64, 96), "bicubic", wrap=wrap)
    plain = resampled(NOISE, (64, 96), "bicubic", wrap=wrap)
    assert not torch.allclose(other, plain.roll(after, 5 - axis), atol=1e-3)


def test_without_wrapping_it_is_torch_s_own() -> None:
    expected = F.interpolate(NOISE, (64, 96), mode="bicubic")
    assert torch.equal(resampled(NOISE, (64, 96), "bicubic"), expected)

"""Grain: fine detail comes back, light and colour stay."""

from __future__ import annotations

import torch

from impasto.pictures.grain import with_grain_of

NOISE = torch.randn(1, 1, 40, 60, generator=torch.Generator().manual_seed(0)) * 0.05
GRAINY = (0.5 + NOISE).expand(1, 3, -1, -1)
EVEN = torch.tensor([0.6, 0.4, 0.3]).view(1, 3, 1, 1).expand(1, 3, 40, 60)


def fine(pixels: torch.Tensor) -> torch.Tensor:
    """What a small blur takes away."""
    grey = pixels.mean(1, keepdim=True)
    return (grey - torch.nn.functional.avg_pool2d(grey, 5, 1, 2))[..., 4:-4, 4:-4]


def test_the_grain_of_a_grainy_picture_comes_back() -> None:
    change = with_grain_of(EVEN, GRAINY, 1.0) - EVEN
    assert torch.allclose(change[:, 0], change[:, 2], atol=1e-5)  # of luminance alone
    together = torch.stack([change[0, 0].flatten(), NOISE.flatten()])
    assert torch.corrcoef(together)[0, 1] > 0.9
    assert abs(float(change.mean())) < 1e-3


def test_half_of_it_is_half_and_none_is_none() -> None:
    whole, half, none = (with_grain_of(EVEN, GRAINY, strength) - EVEN for strength in (1.0, 0.5, 0.0))
    assert torch.allclose(half, whole / 2, atol=1e-6)
    assert none.abs().max() < 1e-6


def test_grain_that_is_there_does_not_come_twice() -> None:
    assert (with_grain_of(GRAINY, GRAINY, 1.0) - GRAINY).abs().max() < 1e-3
    half = (EVEN + GRAINY) / 2
    missing, left = (fine(GRAINY) - fine(one) for one in (half, with_grain_of(half, GRAINY, 1.0)))
    assert left.std() < 0.2 * missing.std()


def test_large_shapes_are_no_grain() -> None:
    ramp = torch.linspace(0.2, 0.8, 60).expand(1, 3, 40, 60)
    assert (with_grain_of(EVEN, ramp, 1.0) - EVEN)[..., 5:-5].abs().max() < 1e-3


def test_tiny_pictures() -> None:
    for size in ((1, 1), (1, 5), (2, 3)):
        assert with_grain_of(torch.rand(1, 3, *size), torch.rand(1, 3, *size), 1.0).isfinite().all()

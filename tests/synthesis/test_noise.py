"""Noise that looks like nature: contrast, spectrum, seed."""

from __future__ import annotations

import pytest
import torch

from impasto.synthesis.noise import natural_noise


def test_contrast_and_range() -> None:
    noise = natural_noise(96, 128, seed=0, contrast=0.1)
    assert noise.shape == (1, 3, 96, 128)
    assert 0 <= noise.min() < 0.3
    assert 0.7 < noise.max() <= 1
    assert noise.mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(noise[:, 0], noise[:, 2])
    assert noise.std().item() == pytest.approx(0.1, abs=0.005)


def test_the_amplitude_falls_as_one_over_frequency() -> None:
    pictures = torch.cat([natural_noise(256, 256, seed=seed, contrast=0.1)[:, :1] for seed in range(8)])
    spectrum = torch.fft.fft2(pictures - 0.5).abs().square().mean((0, 1))
    frequency = torch.fft.fftfreq(256).mul(256)
    radius = (frequency[:, None].square() + frequency[None].square()).sqrt()
    octaves = [(4, 8), (8, 16), (16, 32), (32, 64)]
    power = torch.stack([spectrum[(radius >= low) & (radius < high)].mean() for low, high in octaves])
    slopes = (power[1:] / power[:-1]).log2()
    assert torch.allclose(slopes, torch.tensor(-2.0), atol=0.35)  # power: the square of the amplitude


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2)])
def test_tiny_sizes(size: tuple[int, int]) -> None:
    assert natural_noise(*size, seed=0, contrast=0.1).isfinite().all()


def test_the_seed_decides() -> None:
    assert torch.equal(natural_noise(16, 16, seed=3, contrast=0.1), natural_noise(16, 16, seed=3, contrast=0.1))
    assert not torch.allclose(
        natural_noise(16, 16, seed=3, contrast=0.1), natural_noise(16, 16, seed=4, contrast=0.1), atol=0.05
    )

"""Noise to begin with."""

from __future__ import annotations

import torch
from torch import Tensor


def natural_noise(height: int, width: int, seed: int, contrast: float) -> Tensor:
    """A random grey picture `(1, 3, H, W)` in 0..1 with the 1/f spectrum of natural pictures (Field 1987).

    `contrast` is its standard deviation. White noise leaves its grain in a finished picture and says nothing about
    where things go; this begins with soft
    blotches of all sizes around mid-grey, without colours that would have to be painted over. Drawn on the CPU, so
    that all devices begin alike.
    """
    white = torch.randn((1, 1, height, width), generator=torch.Generator().manual_seed(seed))
    rows = torch.fft.fftfreq(height)[:, None] * height
    columns = torch.fft.rfftfreq(width)[None] * width
    frequency = (rows.square() + columns.square()).sqrt()
    frequency[0, 0] = torch.inf  # the mean stays grey
    noise: Tensor = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=(height, width))
    return noise.mul(contrast / noise.square().mean().sqrt().clamp(min=1e-6)).add(0.5).clamp(0, 1).repeat(1, 3, 1, 1)

"""Measures of pictures that no loss optimises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sliced_wasserstein(a: Tensor, b: Tensor, directions: int = 64) -> float:
    """Mean distance of the quantiles of random projections of two sets of features `(1, C, H, W)`."""
    axes = torch.randn(a.shape[1], directions, generator=torch.Generator().manual_seed(0))
    axes = axes / axes.norm(dim=0)
    ranks = torch.linspace(0, 1, 257)
    one, other = (torch.quantile(x[0].flatten(1).T @ axes, ranks, dim=0) for x in (a, b))
    return float((one - other).abs().mean())


def noise(pixels: Tensor, content: Tensor) -> float:
    """Mean square Laplacian of the luminance over the third of the picture where the content is flattest."""
    luminance, before = (x.mean(1, keepdim=True) for x in (pixels, content))
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    energy = F.conv2d(luminance, kernel).square()
    activity = F.avg_pool2d(F.conv2d(before, kernel).square(), 9, 1, 4)
    return float(energy[activity <= activity.quantile(1 / 3)].mean())

"""Measures of pictures that no loss optimises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.pictures.color import to_space


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


def color_distance(a: Tensor, b: Tensor) -> float:
    """Distance of the colours of two pictures `(1, 3, H, W)` of any sizes, whatever their places: 100 × Oklab units."""
    return 100 * sliced_wasserstein(to_space(a, "oklab"), to_space(b, "oklab"))


def chroma_distance(a: Tensor, b: Tensor) -> float:
    """The same without lightness."""
    return 100 * sliced_wasserstein(to_space(a, "oklab")[:, 1:], to_space(b, "oklab")[:, 1:])


def edges_kept(pixels: Tensor, content: Tensor) -> float:
    """How well the strongest tenth of the content's edges keep their directions: 1 all of them, 0.64 by chance.

    The mean |cosine| between the luminance gradients of both pictures `(1, 3, H, W)`, weighted by the content's.
    """
    ours, before = (gradients(x.mean(1, keepdim=True)) for x in (pixels, content))
    strength = before.norm(dim=1)
    strong = strength >= strength.quantile(0.9)
    cosines = F.cosine_similarity(ours, before, dim=1, eps=1e-6).abs()
    return float((cosines * strength)[strong].sum() / strength[strong].sum())


def repetition(pixels: Tensor, side: int = 64, patches: int = 24) -> list[float]:
    """How much squares of a picture `(1, 3, H, W)` come again elsewhere in it: 1 is a copy, for each of some at random.

    The largest normalised cross-correlation of the luminance, away from the square itself.
    """
    luminance = pixels.mean(1)[0].double()
    height, width = luminance.shape
    draw = torch.Generator().manual_seed(0)
    found = []
    spectrum, energy = torch.fft.rfft2(luminance), torch.fft.rfft2(luminance.square())
    window = torch.zeros_like(luminance)
    window[:side, :side] = 1 / side**2
    over = torch.fft.rfft2(window).conj()
    means = torch.fft.irfft2(spectrum * over, s=(height, width))
    deviations = (torch.fft.irfft2(energy * over, s=(height, width)) - means.square()).clamp(min=1e-8).sqrt()
    for _ in range(patches):
        top, left = (int(torch.randint(n - side, (1,), generator=draw)) for n in (height, width))
        square = luminance[top : top + side, left : left + side]
        kernel = torch.zeros_like(luminance)
        kernel[:side, :side] = (square - square.mean()) / square.std(correction=0) / side**2
        match = torch.fft.irfft2(spectrum * torch.fft.rfft2(kernel).conj(), s=(height, width)) / deviations
        match[max(0, top - side // 2) : top + side // 2, max(0, left - side // 2) : left + side // 2] = 0
        found.append(float(match[: height - side, : width - side].max()))
    return found


def gradients(luminance: Tensor) -> Tensor:
    """Horizontal and vertical derivatives `(1, 2, H, W)` by Sobel's kernels."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return F.conv2d(luminance, torch.stack([kernel, kernel.T])[:, None])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal columns, as Markdown."""
    lines = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    lines += [f"| {' | '.join(str(value) for value in row.values())} |" for row in rows]
    return "\n".join(lines) + "\n"

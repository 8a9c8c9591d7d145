"""Colours of one picture moved to those of another, and how far apart they are.

Positions do not matter here: a picture is a distribution of colours in encoded sRGB. Every method builds its map on
a sample of each picture, so that memory and most of the time do not depend on sizes, and then applies it to all
pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.errors import UsageError
from impasto.pictures.color import in_gamut, luminance, mixed, pixelwise, to_space

Matching = Literal["cholesky", "pca", "monge-kantorovich", "histogram", "sliced"]
Transport = Callable[[Tensor], Tensor]
"""Pixels `(1, 3, H, W)` to others."""

SAMPLE = 2**16
"""Most pixels from which a distribution is known."""

LEVELS = 256
"""Quantiles by which distributions along an axis are compared."""

ROTATIONS = 16
"""Steps of sliced transport; 3 axes each."""

RIDGE = 1e-5
"""Added to variances, so that a single colour can be divided by: (0.8/255)²."""

TIE = 2e-5
"""Values as close as this are one value."""

STEEPEST = 4.0
"""Slope to which curves are held: more would make contours of the steps of 8-bit pictures."""

STRONGEST = 3.0
"""How many times matrices may stretch any direction: more makes of slight tints colours that neither picture has."""

NODES = 33
"""Per axis of the table of sliced transport; what is finer than that would be grain."""


def match_colors(
    style: Tensor,
    content: Tensor,
    method: Matching = "monge-kantorovich",
    strength: float = 1.0,
    style_where: Tensor | None = None,
    content_where: Tensor | None = None,
) -> Tensor:
    """The style picture in the colours of the content, `(1, 3, H, W)` in 0..1, as are both of them.

    With the two exchanged it recolours the content and keeps its texture: that is `color_only`.

    - Mean μ and covariance Σ become the content's by x' = A(x − μ_s) + μ_c, with A = L_c L_s⁻¹ (`cholesky`),
      Σ_c^½ Σ_s^−½ (`pca`), or Σ_s^−½ (Σ_s^½ Σ_c Σ_s^½)^½ Σ_s^−½ (`monge-kantorovich`, which moves colours least).
      L. A. Gatys et al., "Preserving Color in Neural Artistic Style Transfer", 2016, section 3.1; F. Pitié &
      A. Kokaram, "The linear Monge-Kantorovitch linear colour mapping", 2007, section 3.
    - `histogram`: the distribution of each channel becomes the content's, by quantiles.
    - `sliced`: the same along the axes of one rotation after the other, until the whole distribution has become the
      content's. F. Pitié et al., "Automated colour grading using colour distribution transfer", 2007, section 3; J.
      Rabin et al., "Wasserstein barycenter and its application to texture mixing", 2011. Deterministic.

    Where they differ from the papers: matrices stretch no direction more than three times, curves are not steeper than
    4, and `sliced` becomes a table of 33³ colours; otherwise slight tints turn neon, highlights break into contours and
    smooth skies into grain.

    `strength`, 0..1, goes straight from the style's own colours to the matched ones; then `in_gamut`. Weights
    `style_where` and `content_where` `(1, 1, H, W)` say how much each position counts (alpha, a mask); those of
    weight 0 have no influence. Raises UsageError where no position counts.
    """
    transport = _TRANSPORTS[method](sample(style, style_where, "style"), sample(content, content_where, "content"))
    return in_gamut(pixelwise(lambda pixels: pixels.lerp(transport(pixels), strength), style), style_where)


def match_luminance(
    style: Tensor, content: Tensor, style_where: Tensor | None = None, content_where: Tensor | None = None
) -> Tensor:
    """The luma of the style with mean and contrast of the content's, in three channels `(1, 3, H, W)`, 0..1.

    L' = (σ_c/σ_s)(L_s − μ_s) + μ_c, Gatys et al. 2016, section 3.2, then `in_gamut`. Weights and errors as in
    `match_colors`.
    """
    style = luminance(style)
    mean, covariance = moments(sample(style, style_where, "style"))
    wanted_mean, wanted_covariance = moments(sample(luminance(content), content_where, "content"))
    gain = (wanted_covariance[0, 0] / covariance[0, 0]).sqrt()
    return in_gamut(float(gain) * (style - float(mean[0])) + float(wanted_mean[0]), style_where)


def color_distance(a: Tensor, b: Tensor, a_where: Tensor | None = None, b_where: Tensor | None = None) -> float:
    """How far apart the colours of two pictures `(1, 3, H, W)` are: 0 if equal, 1 for black and white.

    The sliced Wasserstein-2 distance in Oklab, scaled so that a shift of all colours by d counts as |d|. Symmetric and
    deterministic; for pictures beyond `SAMPLE` pixels that of samples. Weights and errors as in `match_colors`.
    """
    levels = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    first, second = (
        replace(colours, pixels=to_space(colours.pixels, "oklab"))
        for colours in (sample(a, a_where, "first picture"), sample(b, b_where, "second picture"))
    )
    squares = [
        (quantiles(first.turned(rotation), levels) - quantiles(second.turned(rotation), levels)).square().mean(1).sum()
        for rotation in rotations()
    ]
    return float(torch.stack(squares).mean().sqrt())


@dataclass(frozen=True)
class Colours:
    """A sample of a picture's colours: `pixels` `(1, 3, 1, N)` and `weights` `(N,)` above 0, in float64 on the CPU."""

    pixels: Tensor
    weights: Tensor

    def turned(self, rotation: Tensor) -> Colours:
        """The same colours by other axes."""
        return replace(self, pixels=mixed(self.pixels, rotation))


def sample(pixels: Tensor, where: Tensor | None, name: str) -> Colours:
    """The colours that count in a picture `(1, 3, H, W)`, at most `SAMPLE` of them, spread evenly over its area."""
    weights = torch.ones_like(pixels[:, :1]) if where is None else where
    positions = weights.flatten().nonzero().flatten()
    if not len(positions):
        raise UsageError(f"the {name} is hidden everywhere and has no colours to match: give it a visible part")
    if len(positions) > SAMPLE:
        jitter = torch.rand(SAMPLE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        chosen = (torch.arange(SAMPLE) + jitter) * (len(positions) / SAMPLE)
        positions = positions[chosen.long().clamp(max=len(positions) - 1).to(positions.device)]
    colours, counts = pixels.flatten(2)[..., positions], weights.flatten()[positions]
    return Colours(colours.unsqueeze(2).cpu().double(), counts.cpu().double())


def moments(colours: Colours) -> tuple[Tensor, Tensor]:
    """Mean `(3,)` and covariance `(3, 3)`, ridge included."""
    values, shares = colours.pixels[0, :, 0], colours.weights / colours.weights.sum()
    mean = values @ shares
    spread = values - mean[:, None]
    return mean, (shares * spread) @ spread.T + RIDGE * torch.eye(3, dtype=values.dtype)


def _affine(matrix_of: Callable[[Tensor, Tensor], Tensor], style: Colours, content: Colours) -> Transport:
    """x' = A(x − μ_s) + μ_c; A's singular values are held to `STRONGEST`."""
    (mean, covariance), (wanted_mean, wanted_covariance) = moments(style), moments(content)
    left, slopes, right = torch.linalg.svd(matrix_of(covariance, wanted_covariance))
    matrix = (left * slopes.clamp(max=STRONGEST)) @ right
    shift = (wanted_mean - matrix @ mean).view(3, 1, 1)
    return lambda pixels: mixed(pixels, matrix) + shift.to(pixels.dtype).to(pixels.device)


def _cholesky(style: Tensor, content: Tensor) -> Tensor:
    matrix: Tensor = torch.linalg.cholesky(content) @ torch.linalg.cholesky(style).inverse()
    return matrix


def _pca(style: Tensor, content: Tensor) -> Tensor:
    return _square_root(content) @ _square_root(style).inverse()


def _monge_kantorovich(style: Tensor, content: Tensor) -> Tensor:
    root = _square_root(style)
    return root.inverse() @ _square_root(root @ content @ root) @ root.inverse()


def _square_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def _histogram(style: Colours, content: Colours) -> Transport:
    return _along_axes(torch.eye(3), style, content)


def _sliced(style: Colours, content: Colours) -> Transport:
    """One rotation after the other; then a table, which is smooth and as fast as one step."""
    table = _nodes()
    for rotation in rotations():
        step = _along_axes(rotation, style, content)
        style, table = replace(style, pixels=step(style.pixels)), step(table)

    def transport(pixels: Tensor) -> Tensor:
        cube = table.view(1, 3, NODES, NODES, NODES).to(pixels.dtype).to(pixels.device)
        places = 2 * pixels.permute(0, 2, 3, 1).unsqueeze(1) - 1
        return F.grid_sample(cube, places, padding_mode="border", align_corners=True).squeeze(2)

    return transport


def _nodes() -> Tensor:
    """Colours `(1, 3, 1, NODES³)` of an even lattice, red varying fastest as `grid_sample` wants it."""
    steps = torch.linspace(0, 1, NODES, dtype=torch.float64)
    return torch.cartesian_prod(steps, steps, steps).flip(1).T.view(1, 3, 1, -1)


def _along_axes(rotation: Tensor, style: Colours, content: Colours) -> Transport:
    """The distributions along each axis of a rotation matched."""
    levels = torch.linspace(0, 1, LEVELS, dtype=torch.float64)
    ends = quantiles(style.turned(rotation), levels), quantiles(content.turned(rotation), levels)
    curves = [Curve.between(*axis) for axis in zip(*ends, strict=True)]

    def step(pixels: Tensor) -> Tensor:
        axes = mixed(pixels, rotation).unbind(1)
        return mixed(torch.stack([curve(axis) for curve, axis in zip(curves, axes, strict=True)], 1), rotation.T)

    return step


@dataclass(frozen=True)
class Curve:
    """A rising, piecewise linear function through knots `(K,)`, of slope 1 beyond them."""

    x: Tensor
    y: Tensor

    @classmethod
    def between(cls, x: Tensor, y: Tensor) -> Curve:
        """From ascending values to others, midway between the nearest curves below and above of slope `STEEPEST`.

        Values of one x, within `TIE`, go to the mean of theirs: what is flat stays flat.
        """
        group = (x.diff(prepend=x[:1]) > TIE).cumsum(0)
        count = group.bincount()
        x, y = (count.new_zeros(len(count)).to(x).index_add(0, group, values) / count for values in (x, y))
        tilted = y - STEEPEST * x
        below, above = tilted.cummin(0).values, tilted.flip(0).cummax(0).values.flip(0)
        y = STEEPEST * x + (below + above) / 2
        return cls(*(torch.cat([values[:1] - 1, values, values[-1:] + 1]) for values in (x, y)))

    def __call__(self, values: Tensor) -> Tensor:
        x, y = (knots.to(values.dtype).to(values.device) for knots in (self.x, self.y))
        return _interpolated(values, x, y)


def quantiles(colours: Colours, levels: Tensor) -> Tensor:
    """Along each axis the values `(3, K)` below which these shares `(K,)` of the weight lie."""
    values, order = colours.pixels[0, :, 0].sort()
    found = []
    for axis, weights in zip(values, colours.weights[order], strict=True):
        below = (weights.cumsum(0) - weights / 2) / weights.sum()
        ends = below.new_tensor([0.0]), below, below.new_tensor([1.0])
        found.append(_interpolated(levels, torch.cat(ends), torch.cat([axis[:1], axis, axis[-1:]])))
    return torch.stack(found)


def _interpolated(values: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The piecewise linear function through points with ascending `x`, two or more, continued beyond its ends."""
    right = torch.searchsorted(x, values.contiguous()).clamp(1, len(x) - 1)
    slope = y.diff() / x.diff()
    return y[right - 1] + (values - x[right - 1]) * slope[right - 1]


def rotations() -> list[Tensor]:
    """Fixed rotations `(3, 3)` whose axes cover all directions."""
    generator = torch.Generator().manual_seed(0)
    return [torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator)).Q for _ in range(ROTATIONS)]


_TRANSPORTS: Mapping[Matching, Callable[[Colours, Colours], Transport]] = {
    "cholesky": partial(_affine, _cholesky),
    "pca": partial(_affine, _pca),
    "monge-kantorovich": partial(_affine, _monge_kantorovich),
    "histogram": _histogram,
    "sliced": _sliced,
}

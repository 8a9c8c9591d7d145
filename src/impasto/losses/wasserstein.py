"""Style as Gaussians of features, compared by optimal transport (Wasserstein-2).

The distance between two normal distributions is known in closed form (Dowson & Landau 1982); as a style loss it
was popularised by K. Crowson's style-transfer-pytorch (2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from impasto.losses.base import Sums, Weights, normalised_weights, weighted_sum
from impasto.losses.moments import Moments, MomentSums, moments_of_sums
from impasto.losses.style import StyleLoss

RIDGE = 1e-4
"""Added to the diagonals of covariances, relative to the target's mean variance, so that roots have gradients."""


class WassersteinLoss(StyleLoss):
    """Mean over layers of W₂²(N(μ, Σ), N(μ_s, Σ_s)) / (‖μ_s‖² + tr Σ_s).

    0 when means and covariances agree, 1 for a picture without features (up to the small ridge).
    """

    def __init__(
        self, style: Mapping[str, Moments], layer_weights: Mapping[str, float], where: Weights | None = None
    ) -> None:
        self.layer_weights = normalised_weights(layer_weights)
        self.layers = tuple(self.layer_weights)
        self._target = {layer: GaussianTarget(style[layer]) for layer in self.layers}
        self.where = where
        self.count = 3 * len(self.layers)

    def needed(self, sums: MomentSums) -> Sums:
        return sums

    def of_sums(self, sums: Sums) -> Tensor:
        triples = zip(self._target.values(), sums[::3], sums[1::3], sums[2::3], strict=True)
        return weighted_sum(
            self.layer_weights,
            (
                target.relative_distance(moments_of_sums(first, second, count))
                for target, first, second, count in triples
            ),
        )


class GaussianTarget:
    """A Gaussian to be approached: what does not change between steps is computed once."""

    def __init__(self, moments: Moments) -> None:
        mean, covariance = moments.mean.detach(), moments.covariance.detach()
        variance = _trace(covariance)
        identity = torch.eye(covariance.shape[-1], device=mean.device, dtype=mean.dtype)
        self.mean = mean
        self.ridge = RIDGE * (variance / covariance.shape[-1]).clamp(min=1e-12)[..., None, None] * identity
        self.root = square_root(covariance + self.ridge)
        self.second_moment = (mean.square().sum(-1) + variance).clamp(min=1e-12)
        self.variance = variance + _trace(self.ridge)

    def relative_distance(self, moments: Moments) -> Tensor:
        return (self.distance(moments) / self.second_moment).mean()

    def distance(self, moments: Moments) -> Tensor:
        """W₂² from Gaussians of these moments `(B,)`; both covariances with the ridge."""
        squared: Tensor = _Distance.apply(moments.mean, moments.second, self)  # type: ignore[no-untyped-call]
        return squared


class _Distance(Function):
    """W₂² = ‖μ_e − μ_t‖² + tr(Σ_e + Σ_t − 2 (Σ_t^½ Σ_e Σ_t^½)^½) of an estimate e and a target t.

    The gradient of the last root's trace is half the optimal map, which is less work than a gradient through
    eigenvectors and products.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, second: Tensor, target: GaussianTarget) -> Tensor:
        covariance = torch.baddbmm(second, mean[:, :, None], mean[:, None, :], alpha=-1) + target.ridge
        cross, optimal_map = transport(covariance, target.root)
        ctx.save_for_backward(mean, optimal_map, target.mean)
        return (mean - target.mean).square().sum(-1) + _trace(covariance) + target.variance - 2 * cross

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        mean, optimal_map, target = ctx.saved_tensors
        towards = (optimal_map @ mean[..., None])[..., 0] - target
        identity = torch.eye(mean.shape[-1], device=mean.device, dtype=mean.dtype)
        return 2 * gradient[:, None] * towards, gradient[:, None, None] * (identity - optimal_map), None


def transport(covariance: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """tr(RΣR)^½ `(B,)` and R(RΣR)^-½R, which maps what varies as Σ to what varies as R² with the least effort.

    Of positive definite Σ and R `(B, C, C)` (Dowson & Landau 1982).
    """
    between = root @ covariance @ root
    if between.device.type == "mps":  # has no eigendecomposition
        own, inverse = _newton_schulz(between)
        return _trace(own), root @ inverse @ root
    values, vectors = torch.linalg.eigh((between + between.mT) / 2)  # which would look at one half alone
    smallest = 1e-9 * values[..., -1:].clamp(min=1e-12)  # rounding may leave tiny negative values
    roots = values.clamp(min=smallest).sqrt()
    half = (root @ vectors) * torch.where(values > smallest, roots.rsqrt(), 0).unsqueeze(-2)
    return roots.sum(-1), half @ half.mT


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric root of positive semi-definite matrices `(…, C, C)`."""
    if matrix.device.type == "mps":
        return _newton_schulz(matrix)[0]
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt().unsqueeze(-2)) @ vectors.mT
    return root


def _newton_schulz(matrix: Tensor, steps: int = 12) -> tuple[Tensor, Tensor]:
    """Square root and its inverse by the coupled Newton-Schulz iteration (Higham 2008, eq. 6.35): products only."""
    norm = matrix.square().sum((-1, -2), keepdim=True).sqrt().clamp(min=1e-12)
    identity = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    y, z = matrix / norm, identity.expand_as(matrix)
    for _ in range(steps):
        t = (3 * identity - z @ y) / 2
        y, z = y @ t, t @ z
    return y * norm.sqrt(), z / norm.sqrt()


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)

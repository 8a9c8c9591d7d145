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
        identity = torch.eye(covariance.shape[-1], device=mean.device, dtype=mean.dtype)
        self.mean = mean
        self.trace = _trace(covariance)
        self.second_moment = (mean.square().sum(-1) + self.trace).clamp(min=1e-12)
        self.ridge = RIDGE * (self.trace / covariance.shape[-1]).clamp(min=1e-12)[..., None, None] * identity
        self.root = square_root(covariance + self.ridge)

    def relative_distance(self, moments: Moments) -> Tensor:
        covariance = moments.covariance
        ridge_trace = _trace(self.ridge)
        squared = (
            (moments.mean - self.mean).square().sum(-1)
            + _trace(covariance)
            + self.trace
            + 2 * ridge_trace
            - 2 * cross_trace(covariance + self.ridge, self.root)
        )
        return (squared / self.second_moment).mean()


def wasserstein2(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> Tensor:
    """W₂² = ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_b^½ Σ_a Σ_b^½)^½), `(B,)`; covariances positive definite.

    That of a has gradients.
    """
    cross = cross_trace(covariance_a, square_root(covariance_b.detach()))
    return (mean_a - mean_b).square().sum(-1) + _trace(covariance_a) + _trace(covariance_b) - 2 * cross


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric root of positive semi-definite matrices `(…, C, C)`."""
    if matrix.device.type == "mps":  # has no eigendecomposition
        return _newton_schulz(matrix)
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt().unsqueeze(-2)) @ vectors.transpose(-1, -2)
    return root


def cross_trace(covariance: Tensor, root: Tensor) -> Tensor:
    """tr((R Σ R)^½) of positive definite Σ and symmetric R `(…, C, C)`; differentiable by Σ."""
    if covariance.device.type == "mps":
        return _trace(_newton_schulz(root @ covariance @ root))
    result: Tensor = _CrossTrace.apply(covariance, root)  # type: ignore[no-untyped-call]
    return result


class _CrossTrace(Function):
    """The gradient is ½ R (R Σ R)^-½ R, symmetric: two products; PyTorch, going back step by step, makes three."""

    @staticmethod
    def forward(ctx: Any, covariance: Tensor, root: Tensor) -> Tensor:
        between = root @ covariance @ root
        values, vectors = torch.linalg.eigh((between + between.mT) / 2)
        smallest = 1e-9 * values[..., -1:].clamp(min=1e-12)  # rounding may leave tiny negative values
        roots = values.clamp(min=smallest).sqrt()
        ctx.save_for_backward(root, vectors, torch.where(values > smallest, 0.5 / roots, 0))
        total: Tensor = roots.sum(-1)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        root, vectors, slopes = ctx.saved_tensors
        spread = root @ vectors
        return (spread * (gradient[..., None] * slopes)[..., None, :]) @ spread.mT, None


def _newton_schulz(matrix: Tensor, steps: int = 12) -> Tensor:
    """Square root by the coupled Newton-Schulz iteration (Higham 2008, eq. 6.35): products only."""
    norm = matrix.square().sum((-1, -2), keepdim=True).sqrt().clamp(min=1e-12)
    identity = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    y, z = matrix / norm, identity.expand_as(matrix)
    for _ in range(steps):
        t = (3 * identity - z @ y) / 2
        y, z = y @ t, t @ z
    return y * norm.sqrt()


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)

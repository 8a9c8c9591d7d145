"""Style as Gaussians of features, compared by optimal transport (Wasserstein-2).

The distance between two normal distributions is known in closed form (Dowson & Landau 1982); as a style loss it
was popularised by K. Crowson's style-transfer-pytorch (2020).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

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
        between = self.root @ (covariance + self.ridge) @ self.root
        ridge_trace = _trace(self.ridge)
        squared = (
            (moments.mean - self.mean).square().sum(-1)
            + _trace(covariance)
            + self.trace
            + 2 * ridge_trace
            - 2 * trace_of_square_root(between)
        )
        return (squared / self.second_moment).mean()


def wasserstein2(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> Tensor:
    """W₂² = ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_b^½ Σ_a Σ_b^½)^½), `(B,)`; covariances positive definite."""
    root = square_root(covariance_b)
    cross = trace_of_square_root(root @ covariance_a @ root)
    return (mean_a - mean_b).square().sum(-1) + _trace(covariance_a) + _trace(covariance_b) - 2 * cross


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric root of positive semi-definite matrices `(…, C, C)`."""
    if matrix.device.type == "mps":  # has no eigendecomposition
        return _newton_schulz(matrix)
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt().unsqueeze(-2)) @ vectors.transpose(-1, -2)
    return root


def trace_of_square_root(matrix: Tensor) -> Tensor:
    """tr(M^½) of positive definite matrices `(…, C, C)`: the sum of the roots of the eigenvalues."""
    if matrix.device.type == "mps":
        return _trace(_newton_schulz(matrix))
    values: Tensor = torch.linalg.eigvalsh((matrix + matrix.transpose(-1, -2)) / 2)
    smallest = 1e-9 * values.detach()[..., -1:].clamp(min=1e-12)  # rounding may leave tiny negative values
    return values.clamp(min=smallest).sqrt().sum(-1)


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

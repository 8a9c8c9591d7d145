"""Raw moments of features: what of a picture is style, once its places are forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from impasto.losses.base import Features, Weights

MomentSums = tuple[Tensor, Tensor, Tensor]
"""The sums of f `(B, C)`, of f fᵀ `(B, C, C)` and of what positions weigh `(B, 1)`."""

Shares = Sequence[float] | Mapping[str, Sequence[float]]
"""Of pictures in a mixture: the same in all layers, or by layer."""


@dataclass(frozen=True)
class Moments:
    """Mean `(B, C)` and second moment E[f fᵀ] `(B, C, C)`, float32. Those of a collage are its parts' mean."""

    mean: Tensor
    second: Tensor

    @property
    def covariance(self) -> Tensor:
        return self.second - self.mean[:, :, None] * self.mean[:, None, :]


def moments(features: Features, where: Weights | None = None) -> dict[str, Moments]:
    """The moments of each layer, of the positions that count."""
    return moments_of_parts([(features, [where])])[0]


def moments_of_parts(parts: Iterable[tuple[Features, Sequence[Weights | None]]]) -> list[dict[str, Moments]]:
    """The moments of what consists of these parts: one for each of the weights of positions that come with a part."""
    sums: dict[tuple[int, str], list[Tensor]] = {}
    for features, choices in parts:
        for choice, where in enumerate(choices):
            for layer, values in features.items():
                own = [*moment_sums(*weighted_rows(values, None if where is None else where[layer]))]
                so_far = sums.get((choice, layer))
                sums[choice, layer] = own if so_far is None else [a + b for a, b in zip(so_far, own, strict=True)]
    found: list[dict[str, Moments]] = [{} for _ in choices]
    for (choice, layer), (first, second, count) in sums.items():
        found[choice][layer] = moments_of_sums(first, second, count)
    return found


def moments_of_sums(first: Tensor, second: Tensor, count: Tensor) -> Moments:
    """Moments from the sums of f `(B, C)` and of f fᵀ `(B, C, C)` over what weighs `count` `(B, 1)`."""
    count = count.clamp(min=1e-12)
    return Moments(first / count, second / count[..., None])


def mixture(parts: Sequence[Mapping[str, Moments]], shares: Shares) -> dict[str, Moments]:
    """The moments of a picture that consists of these ones in these shares, which sum to 1."""
    by_layer = shares if isinstance(shares, Mapping) else dict.fromkeys(parts[0], shares)
    return {
        layer: Moments(
            _combined([part[layer].mean for part in parts], by_layer[layer]),
            _combined([part[layer].second for part in parts], by_layer[layer]),
        )
        for layer in parts[0]
    }


def _combined(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    products = [share * tensor for share, tensor in zip(shares, tensors, strict=True)]
    return sum(products[1:], start=products[0])


def as_rows(features: Tensor) -> Tensor:
    """`(B, C, H, W)` as float32 (or float64) `(B, H·W, C)`; free of copies for channels_last features."""
    wide = features if features.dtype == torch.float64 else features.float()
    return wide.permute(0, 2, 3, 1).flatten(1, 2)


def weighted_rows(features: Tensor, where: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The positions of features `(B, C, H, W)` as rows `(B, N, C)`, and what they weigh `(B, N, 1)`, if not alike."""
    return as_rows(features), None if where is None else as_rows(where)


def moment_sums(rows: Tensor, weights: Tensor | None) -> MomentSums:
    """Of rows `(B, N, C)` that weigh `(B, N, 1)`, or all alike."""
    return sum_of(rows, weights), sum_of_products(rows, weights), total_weight(rows, weights)


def total_weight(rows: Tensor, weights: Tensor | None) -> Tensor:
    """How many rows there are `(B, 1)`, or how much they weigh."""
    if weights is None:
        return rows.new_full((rows.shape[0], 1), rows.shape[1])
    return weights.sum(1)


def sum_of(rows: Tensor, weights: Tensor | None) -> Tensor:
    """The sum `(B, C)` of rows `(B, N, C)`, weighted by `(B, N, 1)`."""
    return rows.sum(1) if weights is None else (weights.transpose(1, 2) @ rows)[:, 0]


def sum_of_products(rows: Tensor, weights: Tensor | None) -> Tensor:
    """The sum of r rᵀ `(B, C, C)` over rows `(B, N, C)`, weighted by `(B, N, 1)`."""
    result: Tensor = _SumOfProducts.apply(rows, weights)  # type: ignore[no-untyped-call]
    return result


class _SumOfProducts(Function):
    """Symmetric, so that its gradient is one product and not two, nor their sum."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weights)
        return rows.transpose(1, 2) @ (rows if weights is None else rows * weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rows, weights = ctx.saved_tensors
        product = rows @ (gradient + gradient.transpose(1, 2))
        return product if weights is None else product.mul_(weights), None

"""Content: the features themselves (Gatys, Ecker, Bethge 2016, eq. 1), as a relative error."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from impasto.encoders.tiling import Tile
from impasto.losses.base import Features, SumLoss, Sums, Weights, cut, normalised_weights, weighted_sum


class ContentLoss(SumLoss):
    """Mean over layers of ‖F − P‖² / ‖P‖², F the features of the picture and P those of the content.

    0 for the content itself, 1 for a picture without features. Differs from Gatys et al. (½ Σ (F − P)²) by the
    division, which makes strengths the same at every size and for every encoder. `where` says which positions count,
    `strengths` how much more or less some of them count than others.
    """

    def __init__(
        self,
        content: Features,
        layer_weights: Mapping[str, float],
        where: Weights | None = None,
        strengths: Weights | None = None,
    ) -> None:
        self.layer_weights = normalised_weights(layer_weights)
        self.layers = tuple(self.layer_weights)
        self._target = {layer: content[layer].detach() for layer in self.layers}
        self._where, self._strengths = where, strengths
        self.count = 2 * len(self.layers)

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        found: list[Tensor] = []
        for layer in self.layers:
            target = wide(cut(self._target[layer], layer, tile))
            difference, power = (wide(features[layer]) - target).square(), target.square()
            if self._where is not None:
                where = cut(self._where[layer], layer, tile)
                difference, power = difference * where, power * where
            if self._strengths is not None:
                difference = difference * cut(self._strengths[layer], layer, tile)
            found += [difference.sum(), power.sum()]
        return tuple(found)

    def of_sums(self, sums: Sums) -> Tensor:
        pairs = zip(sums[::2], sums[1::2], strict=True)
        return weighted_sum(self.layer_weights, (difference / power.clamp(min=1e-12) for difference, power in pairs))


def relative_error(estimate: Tensor, target: Tensor) -> Tensor:
    """‖estimate − target‖² / ‖target‖².

    An estimate of zeros gives 1. A target of zeros gives a very large number, not NaN.
    """
    target = wide(target)
    return (wide(estimate) - target).square().sum() / target.square().sum().clamp(min=1e-12)


def wide(values: Tensor) -> Tensor:
    """In float32, or float64 where they are."""
    return values if values.dtype == torch.float64 else values.float()

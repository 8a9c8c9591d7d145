"""Several losses as one: of one kind, such as one for each style, or of regions of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from torch import Tensor

from impasto.encoders.tiling import Tile
from impasto.losses.base import Features, SumLoss, Sums, Weights, cut
from impasto.losses.gathering import Places, sums_of_regions
from impasto.losses.moments import MomentSums, block_length, precise
from impasto.losses.style import StyleLoss


class MixedLoss(StyleLoss):
    """Σ share × loss over losses that differ only in their targets; shares sum to 1.

    What they have in common, the sums over the picture, is made once, so that more of them cost next to nothing.
    """

    def __init__(self, losses: Sequence[StyleLoss], shares: Sequence[float]) -> None:
        self._losses, self._shares = tuple(losses), tuple(shares)
        self.layers, self.count, self.where = losses[0].layers, losses[0].count, losses[0].where

    def needed(self, sums: MomentSums) -> Sums:
        return self._losses[0].needed(sums)

    def of_sums(self, sums: Sums) -> Tensor:
        parts = [share * one.of_sums(sums) for share, one in zip(self._shares, self._losses, strict=True)]
        return sum(parts[1:], start=parts[0])


class RegionsLoss(SumLoss):
    """Σ factor × loss over losses of the same layers, each of which looks at a region of the picture.

    `regions` are weights of positions, one for each loss.
    """

    def __init__(self, losses: Sequence[StyleLoss], regions: Sequence[Weights], factors: Sequence[float]) -> None:
        self._losses, self._regions, self._factors = tuple(losses), tuple(regions), tuple(factors)
        self.layers = losses[0].layers
        self.count = sum(one.count for one in losses)
        self._whole: dict[str, Places] = {}

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        found: list[list[Tensor]] = [[] for _ in self._losses]
        for layer in self.layers:
            places = self._places(layer, features[layer], tile)
            for own, loss, sums in zip(found, self._losses, sums_of_regions(features[layer], places), strict=True):
                own += loss.needed(sums)
        return tuple(total for own in found for total in own)

    def _places(self, layer: str, features: Tensor, tile: Tile | None) -> Places:
        """Where the regions are; those of the whole picture are found once."""
        if tile is None and layer in self._whole:
            return self._whole[layer]
        weights = [cut(region[layer], layer, tile) for region in self._regions]
        places = Places.of(weights, precise(features.dtype), block_length(features.shape[1], features.device))
        if tile is None:
            self._whole[layer] = places
        return places

    def of_sums(self, sums: Sums) -> Tensor:
        rest = iter(sums)
        parts = [
            factor * one.of_sums(tuple(islice(rest, one.count)))
            for factor, one in zip(self._factors, self._losses, strict=True)
        ]
        return sum(parts[1:], start=parts[0])

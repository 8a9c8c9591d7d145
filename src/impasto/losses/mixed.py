"""Several losses as one: of one kind, such as one for each style, or of parts of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from torch import Tensor

from impasto.encoders.tiling import Tile
from impasto.losses.base import Features, SumLoss, Sums


class MixedLoss(SumLoss):
    """Σ share × loss over losses that differ only in their targets; shares sum to 1.

    What they have in common, the sums over the picture, is made once, so that more of them cost next to nothing.
    """

    def __init__(self, losses: Sequence[SumLoss], shares: Sequence[float]) -> None:
        self._losses, self._shares = tuple(losses), tuple(shares)
        self.layers, self.count = losses[0].layers, losses[0].count

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        return self._losses[0].sums(features, picture, tile)

    def of_sums(self, sums: Sums) -> Tensor:
        parts = [share * one.of_sums(sums) for share, one in zip(self._shares, self._losses, strict=True)]
        return sum(parts[1:], start=parts[0])


class RegionsLoss(SumLoss):
    """Σ factor × loss over losses that each look at a region of the picture."""

    def __init__(self, losses: Sequence[SumLoss], factors: Sequence[float]) -> None:
        self._losses, self._factors = tuple(losses), tuple(factors)
        self.layers = tuple(dict.fromkeys(layer for one in losses for layer in one.layers))
        self.count = sum(one.count for one in losses)

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        return tuple(total for one in self._losses for total in one.sums(features, picture, tile))

    def of_sums(self, sums: Sums) -> Tensor:
        rest = iter(sums)
        parts = [
            factor * one.of_sums(tuple(islice(rest, one.count)))
            for factor, one in zip(self._factors, self._losses, strict=True)
        ]
        return sum(parts[1:], start=parts[0])

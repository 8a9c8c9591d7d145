"""What losses of style have in common: they are functions of sums over positions, layer by layer."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from impasto.encoders.tiling import Tile
from impasto.losses.base import Features, SumLoss, Sums, Weights, cut
from impasto.losses.moments import MomentSums, moment_sums


class StyleLoss(SumLoss):
    """A loss that forgets places. `where` says which positions count; without it all do."""

    where: Weights | None = None

    @abstractmethod
    def needed(self, sums: MomentSums) -> Sums:
        """What the loss needs of the sums of one layer."""

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        found: list[Tensor] = []
        for layer in self.layers:
            where = None if self.where is None else cut(self.where[layer], layer, tile)
            found += self.needed(moment_sums(features[layer], where))
        return tuple(found)

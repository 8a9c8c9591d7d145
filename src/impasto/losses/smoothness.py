"""Smoothness of the picture itself: keeps the optimiser from hiding noise where the encoder does not look."""

from __future__ import annotations

from torch import Tensor

from impasto.encoders.tiling import Tile
from impasto.losses.base import Features, SumLoss, Sums


class Smoothness(SumLoss):
    """Mean square of the differences between neighbouring pixels, horizontally plus vertically (0..1 units).

    The square, not the absolute value, of Rudin, Osher & Fatemi's total variation (1992): it takes away single
    noisy pixels and leaves edges that the style asks for.
    """

    count = 4

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        rows, columns = (slice(None), slice(None)) if tile is None else tile.core
        found: list[Tensor] = []
        for seen in (picture[..., rows, :].diff(dim=3)[..., columns], picture[..., columns].diff(dim=2)[..., rows, :]):
            found += [seen.square().sum(), picture.new_tensor(seen.numel())]
        return tuple(found)

    def of_sums(self, sums: Sums) -> Tensor:
        return sums[0] / sums[1].clamp(min=1) + sums[2] / sums[3].clamp(min=1)


def smoothness(picture: Tensor) -> Tensor:
    """Mean square difference of neighbours of `(B, C, H, W)`; 0 along a side of one pixel."""
    return Smoothness()({}, picture)

"""Smoothness of the picture itself: keeps the optimiser from hiding noise where the encoder does not look."""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.encoders.tiling import Tile
from impasto.losses.base import Features, SumLoss, Sums


class Smoothness(SumLoss):
    """Mean square of the differences between neighbouring pixels, horizontally plus vertically (0..1 units).

    The square, not the absolute value, of Rudin, Osher & Fatemi's total variation (1992): it takes away single
    noisy pixels and leaves edges that the style asks for.
    """

    count = 4

    def __init__(self, wrap: tuple[bool, bool] = (False, False)) -> None:
        """`wrap`: whether the last row is a neighbour of the first, and the last column of the first (not in tiles)."""
        self._wrap = wrap

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        if tile is None:
            right, down = self._continued(picture, 3).diff(dim=3), self._continued(picture, 2).diff(dim=2)
        else:
            rows, columns = tile.core
            right = picture[..., rows, :].diff(dim=3)[..., columns]
            down = picture[..., columns].diff(dim=2)[..., rows, :]
        found: list[Tensor] = []
        for seen in (right, down):
            found += [seen.square().sum(), picture.new_tensor(seen.numel())]
        return tuple(found)

    def _continued(self, picture: Tensor, axis: int) -> Tensor:
        """The picture, and where it wraps its first row or column once more."""
        return torch.cat([picture, picture.narrow(axis, 0, 1)], axis) if self._wrap[axis - 2] else picture

    def of_sums(self, sums: Sums) -> Tensor:
        return sums[0] / sums[1].clamp(min=1) + sums[2] / sums[3].clamp(min=1)


def smoothness(picture: Tensor) -> Tensor:
    """Mean square difference of neighbours of `(B, C, H, W)`; 0 along a side of one pixel."""
    return Smoothness()({}, picture)

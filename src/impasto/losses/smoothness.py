"""Smoothness of the picture itself: keeps the optimiser from hiding noise where the encoder does not look."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from impasto.encoders.tiling import Tile
from impasto.losses.base import Features, SumLoss, Sums


class Smoothness(SumLoss):
    """Mean square of the differences between neighbouring pixels, horizontally plus vertically (0..1 units).

    The square, not the absolute value, of Rudin, Osher & Fatemi's total variation (1992): it takes away single
    noisy pixels and leaves edges that the style asks for.
    """

    count = 4

    def __init__(self, wrap: tuple[bool, bool] = (False, False)) -> None:
        """`wrap`: whether the last row is a neighbour of the first, and the last column of the first.

        In tiles that takes an encoder whose padding goes around there, too.
        """
        self._wrap = wrap

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        rows, columns = (slice(None), slice(None)) if tile is None else tile.core
        found: list[Tensor] = []
        for axis in (3, 2):
            seen = self._continued(picture, axis, tile)
            found += _SquaredDifferences.apply(seen, axis, (..., rows, columns))  # type: ignore[no-untyped-call]
        return tuple(found)

    def _continued(self, picture: Tensor, axis: int, tile: Tile | None) -> Tensor:
        """The picture, and where it wraps its first row or column once more; tiles along it have halos instead."""
        whole = tile is None or (tile.rows == (0, tile.height) if axis == 2 else tile.columns == (0, tile.width))
        return torch.cat([picture, picture.narrow(axis, 0, 1)], axis) if self._wrap[axis - 2] and whole else picture

    def of_sums(self, sums: Sums) -> Tensor:
        return sums[0] / sums[1].clamp(min=1) + sums[2] / sums[3].clamp(min=1)


class _SquaredDifferences(Function):
    """Sum of the squared differences along an axis, of some of them, and how many they are.

    PyTorch's own gradient is made in a dozen passes over pictures whose channels lie apart; this one in four.
    """

    @staticmethod
    def forward(ctx: Any, picture: Tensor, axis: int, place: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        differences = picture.diff(dim=axis)[place]
        count = picture.new_tensor(differences.numel())
        ctx.axis, ctx.place = axis, place
        ctx.save_for_backward(picture, differences)
        ctx.mark_non_differentiable(count)
        return differences.square().sum(), count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        picture, differences = ctx.saved_tensors
        result = torch.zeros_like(picture)
        change = differences * (2 * gradient)
        length = picture.shape[ctx.axis] - 1
        result.narrow(ctx.axis, 1, length)[ctx.place].add_(change)
        result.narrow(ctx.axis, 0, length)[ctx.place].sub_(change)
        return result, None, None


def smoothness(picture: Tensor) -> Tensor:
    """Mean square difference of neighbours of `(B, C, H, W)`; 0 along a side of one pixel."""
    return Smoothness()({}, picture)

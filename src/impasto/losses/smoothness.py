"""Smoothness of the picture itself: keeps the optimiser from hiding noise where the encoder does not look."""

from __future__ import annotations

from torch import Tensor

from impasto.losses.base import Features


class Smoothness:
    """Mean square of the differences between neighbouring pixels, horizontally plus vertically (0..1 units).

    The square, not the absolute value, of Rudin, Osher & Fatemi's total variation (1992): it takes away single
    noisy pixels and leaves edges that the style asks for.
    """

    layers: tuple[str, ...] = ()

    def __call__(self, features: Features, picture: Tensor) -> Tensor:
        return smoothness(picture)


def smoothness(picture: Tensor) -> Tensor:
    """Mean square difference of neighbours of `(B, C, H, W)`; 0 along a side of one pixel."""
    total = picture.new_zeros(())
    for axis in (2, 3):
        if picture.shape[axis] > 1:
            total = total + picture.diff(dim=axis).square().mean()
    return total

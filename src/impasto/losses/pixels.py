"""The pixels themselves: what is to stay as it is."""

from __future__ import annotations

from torch import Tensor

from impasto.encoders.tiling import Tile
from impasto.losses.base import Features, SumLoss, Sums


class PixelLoss(SumLoss):
    """‖x − p‖² / ‖p‖², weighted: x the picture and p the content, `(B, 3, H, W)`; weights `(B, 1, H, W)`.

    Divided by all of the content, so that a small part of it weighs what its area does.
    """

    count = 2

    def __init__(self, content: Tensor, where: Tensor) -> None:
        self._content, self._where = content, where

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        content, where = self._content, self._where
        if tile is not None:
            rows, columns = tile.core
            picture = picture[..., rows, columns]
            content, where = (one[..., slice(*tile.core_rows), slice(*tile.core_columns)] for one in (content, where))
        return ((picture - content).square() * where).sum(), content.square().sum()

    def of_sums(self, sums: Sums) -> Tensor:
        difference, power = sums
        return difference / power.clamp(min=1e-12)

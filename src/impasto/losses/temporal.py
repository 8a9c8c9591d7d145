"""Consistency in time: what was seen before is to look as it did, wherever it has moved."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from impasto.encoders.tiling import Tile
from impasto.losses.base import Features, SumLoss, Sums
from impasto.losses.pixels import PixelLoss


class TemporalLoss(SumLoss):
    """Σ_j Σ_p c_j ‖x − ω_j‖² / Σ_p ‖ω_j‖² (Ruder, Dosovitskiy & Brox 2016, equations 7 and 8), pixel by pixel.

    x is the picture; ω_j `(B, 3, H, W)` are earlier painted frames, warped to it; c_j `(B, 1, H, W)` in 0..1 say
    where they can be trusted. One of them is the short-term loss; several, with `long_term` weights, the long-term one.
    """

    def __init__(self, warped: Sequence[Tensor], where: Sequence[Tensor]) -> None:
        self._parts = [PixelLoss(*one) for one in zip(warped, where, strict=True)]
        self.count = sum(part.count for part in self._parts)

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        return tuple(one for part in self._parts for one in part.sums(features, picture, tile))

    def of_sums(self, sums: Sums) -> Tensor:
        losses = [part.of_sums(sums[2 * place : 2 * place + 2]) for place, part in enumerate(self._parts)]
        return sum(losses[1:], start=losses[0])


def long_term(seen: Sequence[Tensor]) -> list[Tensor]:
    """c_long of earlier frames, the nearest first (ibid., equation 9): each counts where no nearer one does.

    c_long^(i−j) = max(c^(i−j) − Σ_k c^(i−k), 0) over all k nearer than j.
    """
    weights: list[Tensor] = []
    for place, own in enumerate(seen):
        nearer = seen[:place]
        weights.append((own - sum(nearer[1:], start=nearer[0])).clamp(min=0) if nearer else own)
    return weights

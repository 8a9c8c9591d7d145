"""Sums over regions of features: what counts in each is gathered once, and so are the gradients.

Regions that share a picture out are then as much work as the picture in one piece, whatever their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from impasto.losses.moments import MomentSums, as_rows

LEAST_WEIGHT = 1e-3
"""Of a position; those that weigh less, far out on soft edges, are left out: they cost as much as any other."""


@dataclass(frozen=True)
class Places:
    """Where regions are among the N positions of a layer.

    The positions of each region, one region after the other, are `rows` `(K,)` with `weights` `(K, 1)`, which are
    `even` if all are 1; `sizes` says how many each has. `members` go the other way: the places in `rows` of each
    position, `(N,)` each, or K for none.
    """

    rows: Tensor
    weights: Tensor
    even: bool
    sizes: tuple[int, ...]
    members: tuple[Tensor, ...]

    @classmethod
    def of(cls, regions: Sequence[Tensor], dtype: torch.dtype) -> Places:
        """Of weights of positions `(1, 1, H, W)`, one for each region; what weighs next to nothing is left out."""
        weights = torch.stack([as_rows(region)[0, :, 0] for region in regions]).to(dtype)
        counted = weights >= LEAST_WEIGHT
        total = int(counted.sum())
        numbers = counted.flatten().cumsum(0).view_as(counted) - 1
        most = int(counted.sum(0).max()) if counted.numel() else 0
        rank = counted.cumsum(0) - 1  # which of the regions of a position it is
        members = [
            torch.where(chosen.any(0), (numbers * chosen).sum(0), total)
            for chosen in (counted & (rank == number) for number in range(max(1, most)))
        ]
        sizes = tuple(counted.sum(1).tolist())
        weights = weights[counted][:, None]
        return cls(counted.nonzero()[:, 1], weights, bool((weights == 1).all()), sizes, tuple(members))

    def parts(self, values: Tensor) -> tuple[Tensor, ...]:
        """What of values `(K, …)` belongs to each region."""
        return values.split(self.sizes)  # type: ignore[no-untyped-call,no-any-return]


def sums_of_regions(features: Tensor, places: Places) -> list[MomentSums]:
    """For each region the sums of f `(1, C)`, of f fᵀ `(1, C, C)` and of the weights, of features `(1, C, H, W)`."""
    flat: tuple[Tensor, ...] = _SumsOfRegions.apply(as_rows(features)[0], places)  # type: ignore[no-untyped-call]
    counts = [part.sum(0, keepdim=True) for part in places.parts(places.weights)]
    return list(zip(flat[::2], flat[1::2], counts, strict=True))


class _SumsOfRegions(Function):
    """Gradients are gathered, too, for scattering them is slow."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Places) -> tuple[Tensor, ...]:
        gathered = rows.index_select(0, places.rows)
        ctx.places = places
        ctx.save_for_backward(gathered)
        found: list[Tensor] = []
        for part, weights in zip(places.parts(gathered), places.parts(places.weights), strict=True):
            found += [weights.T @ part, (part.T @ (part if places.even else part * weights))[None]]
        return tuple(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gathered,) = ctx.saved_tensors
        places: Places = ctx.places
        own = gathered.new_empty(gathered.shape[0] + 1, gathered.shape[1])
        own[-1] = 0  # for positions that are nowhere
        parts = zip(places.parts(gathered), places.parts(own[:-1]), strict=True)
        for (part, target), first, second in zip(parts, gradients[::2], gradients[1::2], strict=True):
            torch.addmm(first, part, second[0] + second[0].T, out=target)
        if not places.even:
            own[:-1] *= places.weights
        result = own.index_select(0, places.members[0])
        for member in places.members[1:]:
            result += own.index_select(0, member)
        return result, None

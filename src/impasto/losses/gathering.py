"""Sums over regions of features: what counts in each is gathered once, and so are the gradients.

Regions that share a picture out are then as much work as the picture in one piece, whatever their number. On a CPU
this is done block by block, so that what is gathered stays in its cache and is never kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from impasto.losses.moments import MomentSums, add_products, as_rows, mirrored

LEAST_WEIGHT, FULL_WEIGHT = 0.01, 0.98
"""Of a position; those that weigh less, far out on soft edges, are left out: they cost as much as any other. And what
weighs as much as the other, far within, weighs 1, so that it need not be weighed."""

BYTES_OF_A_PLACE = 8 + 8 + 4
"""Of a position, for where it is gathered, for where that goes back to, and for its weight."""


@dataclass(frozen=True)
class Block:
    """Where regions are among the positions from `start` to `stop` of a layer.

    Of each of the regions that occur there, whose numbers are `regions`, the positions, one region after the other,
    are `rows` `(K,)`, and the roots of what they weigh `roots` `(K, 1)`; `sizes` says how many each has. Those that
    weigh 1 come first in each region, and `soft` says where the others are. `places` go the other way: the place in
    `rows` of each position `(stop - start,)`, or K for none; and of positions that are in several regions `further`
    ones, as such positions and their places. Where `rows` would be all positions, one after the other, there are none:
    nothing is to be gathered.
    """

    start: int
    stop: int
    regions: tuple[int, ...]
    rows: Tensor | None
    roots: Tensor
    soft: tuple[slice, ...]
    sizes: tuple[int, ...]
    places: Tensor
    further: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, weights: Tensor, start: int) -> Block:
        """Of weights of regions by position `(R, N)`."""
        counted = weights > 0
        regions = tuple(counted.any(1).nonzero()[:, 0].tolist())
        weights, counted = weights[list(regions)], counted[list(regions)]
        parts = torch.stack((counted & (weights == 1), counted & (weights != 1)), dim=1)
        sizes = parts.sum(2).tolist()
        ends = accumulate(map(sum, sizes))
        soft = tuple(slice(end - count, end) for end, (_, count) in zip(ends, sizes, strict=True) if count)
        total = sum(map(sum, sizes))
        numbers = parts.flatten().cumsum(0).view_as(parts) - 1
        rank = (counted.cumsum(0) - 1)[:, None]  # which of the regions of a position it is
        most = int(counted.sum(0).max()) if regions else 0
        members = [
            torch.where(chosen.any((0, 1)), (numbers * chosen).sum((0, 1)), total)
            for chosen in (parts & (rank == number) for number in range(max(1, most)))
        ]
        several = [(member < total).nonzero()[:, 0] for member in members[1:]]
        region, _, rows = parts.nonzero().unbind(1)
        roots = weights[region, rows][:, None].sqrt()
        in_order = bool(parts.all(2).any()) and total == weights.shape[1]
        return cls(
            start,
            start + weights.shape[1],
            regions,
            None if in_order else rows,
            roots,
            soft,
            tuple(map(sum, sizes)),
            members[0],
            tuple((own, member[own]) for own, member in zip(several, members[1:], strict=True)),
        )

    def gathered(self, values: Tensor) -> Tensor:
        """Those `(K, C)` of the values `(N, C)` of all positions that count."""
        own = values[self.start : self.stop]
        return own if self.rows is None else own.index_select(0, self.rows)

    def parts(self, gathered: Tensor) -> Sequence[Tensor]:
        """What of values `(K, …)` belongs to each of the regions."""
        return gathered.split(self.sizes)  # type: ignore[no-untyped-call,no-any-return]

    def add_sums(self, values: Tensor, first: Tensor, second: Tensor) -> None:
        """Add those of each region, `(R, 1, C)` and `(R, C, C)`, of values `(N, C)`; as precise as the weights.

        The second ones are still to be `mirrored`.
        """
        gathered = self.gathered(values).to(self.roots.dtype, copy=bool(self.soft))
        for soft in self.soft:
            gathered[soft] *= self.roots[soft]
        for region, part, roots in zip(self.regions, self.parts(gathered), self.parts(self.roots), strict=True):
            first[region].addmm_(roots.T, part)
            add_products(second[region], part, values.dtype)

    def gradient(self, values: Tensor, first: Tensor, second: Tensor, result: Tensor) -> None:
        """Set here, in `result` `(N, C)`, what sums' gradients `(R, 1, C)` and `(R, C, C)`, symmetric, come to.

        All are of one kind, the features'.
        """
        gathered = self.gathered(values)
        count, channels = gathered.shape
        spread = gathered.new_empty(count + 1, channels)
        found, spread[count] = spread[:count], 0  # the last row is for positions that are nowhere
        for region, part, target in zip(self.regions, self.parts(gathered), self.parts(found), strict=True):
            torch.addmm(first[region], part, second[region], out=target)
        for soft in self.soft:  # in float32: bfloat16 is several times slower
            found[soft] = found[soft].to(self.roots.dtype) * self.roots[soft].square()
        own = result[self.start : self.stop]
        if self.rows is None:
            own.copy_(found)
            return
        torch.index_select(spread, 0, self.places, out=own)
        for positions, places in self.further:
            own.index_add_(0, positions, spread.index_select(0, places))


@dataclass(frozen=True)
class Places:
    """Where regions are among the positions of a layer, block by block, and what each weighs, `(R, 1)`."""

    weights: Tensor
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, regions: Sequence[Tensor], dtype: torch.dtype, length: int) -> Places:
        """Of weights of positions `(1, 1, H, W)`, one for each region, in blocks of so many positions."""
        weights = torch.stack([as_rows(region)[0, :, 0] for region in regions]).to(dtype)
        weights[weights < LEAST_WEIGHT] = 0
        weights[weights > FULL_WEIGHT] = 1
        starts = range(0, weights.shape[1], length)
        blocks = (Block.of(weights[:, start : start + length], start) for start in starts)
        return cls(weights.sum(1, keepdim=True), tuple(blocks))


def sums_of_regions(features: Tensor, places: Places) -> list[MomentSums]:
    """For each region the sums of f `(1, C)`, of f fᵀ `(1, C, C)` and of the weights, of features `(1, C, H, W)`."""
    first, second = _SumsOfRegions.apply(as_rows(features).flatten(0, 1), places)  # type: ignore[no-untyped-call]
    return [(first[n], second[n, None], places.weights[n, None]) for n in range(len(places.weights))]


class _SumsOfRegions(Function):
    """Gradients are gathered, too: scattering is slow. Sums are as precise as weights are, gradients as features."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        ctx.places = places
        ctx.save_for_backward(rows)
        regions, channels = len(places.weights), rows.shape[1]
        first = places.weights.new_zeros(regions, 1, channels)
        second = places.weights.new_zeros(regions, channels, channels)
        for block in places.blocks:
            block.add_sums(rows, first, second)
        return first, mirrored(second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        result = torch.empty_like(rows)
        own, both = first.to(rows.dtype), (second + second.mT).to(rows.dtype)
        for block in ctx.places.blocks:
            block.gradient(rows, own, both, result)
        return result, None

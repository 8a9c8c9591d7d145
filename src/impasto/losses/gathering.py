"""Sums over regions of features: what counts in each is gathered once, and so are the gradients.

Regions that share a picture out are then as much work as the picture in one piece, whatever their number. On a CPU
this is done block by block, so that what is gathered stays in its cache and is never kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from impasto.losses.moments import MomentSums, add_products, as_rows, mirrored

LEAST_WEIGHT, FULL_WEIGHT = 0.01, 0.98
"""Of a position; those that weigh less, far out on soft edges, are left out: they cost as much as any other. And what
weighs as much as the other, far within, weighs 1, so that it need not be weighed."""

STEPS_OF_SIZE = 32
"""How many sizes parts of a block can have: libraries keep a kernel for each size of a product."""

BYTES_OF_KERNELS = 120_000_000
"""What they keep for all of these, in bfloat16: measured (decision 7)."""

BYTES_OF_A_PLACE = 5 * 4
"""Of a position, for where it is gathered, for where that goes back to, and for its weights."""


@dataclass(frozen=True)
class Block:
    """Where regions are among the positions from `start` to `stop` of a layer.

    Of each of the regions that occur there the positions, one region after the other, are `rows` `(K,)`, and the roots
    of what they weigh `roots` `(K, 1)`; `parts` are the regions' numbers, and where they are. Those that weigh 1 come
    first in each region, and `soft` says where the others are: last, some that weigh nothing, for parts are to be of
    few sizes. The other way, a position is at those of `places` that are between its number in `bounds`
    `(stop - start + 1,)` and the next, with so many `weights`. Within one region all are rows, one after the other:
    nothing is to be gathered, and there are none.
    """

    start: int
    stop: int
    rows: Tensor | None
    roots: Tensor
    parts: tuple[tuple[int, slice], ...]
    soft: tuple[slice, ...]
    places: Tensor
    bounds: Tensor
    weights: Tensor

    @classmethod
    def of(cls, weights: Tensor, start: int, unit: int) -> Block:
        """Of weights of regions by position `(R, N)`; parts are of multiples of `unit`, where anything is gathered."""
        regions = (weights > 0).any(1).nonzero()[:, 0].tolist()
        weights = weights[regions]
        counted, full = weights > 0, weights == 1
        kinds = torch.stack((full, counted & ~full), dim=1)
        region, _, position = kinds.nonzero().unbind(1)
        in_order = len(regions) == 1 and bool(full.all())
        counts = kinds.sum(2)
        sizes = counts.sum(1) if in_order else -(-counts.sum(1) // unit) * unit
        spare, stops = sizes - counts.sum(1), sizes.cumsum(0)
        numbers = torch.arange(len(position), device=weights.device) + (spare.cumsum(0) - spare)[region]
        rows, roots = position.new_zeros(int(sizes.sum())), weights.new_zeros(int(sizes.sum()))
        rows[numbers], roots[numbers] = position, weights[region, position].sqrt()
        places = torch.zeros_like(weights, dtype=torch.int32)
        places[region, position] = numbers.int()
        firsts, softs, ends = (stops - sizes).tolist(), (stops - sizes + counts[:, 0]).tolist(), stops.tolist()
        return cls(
            start,
            start + weights.shape[1],
            None if in_order else rows.int(),
            roots[:, None],
            tuple(zip(regions, map(slice, firsts, ends), strict=True)),
            tuple(slice(soft, end) for soft, end in zip(softs, ends, strict=True) if soft < end),
            places.T[counted.T],
            F.pad(counted.sum(0).cumsum(0), (1, 0)).int(),
            weights.T[counted.T],
        )

    def gathered(self, values: Tensor) -> Tensor:
        """Those `(K, C)` of the values `(N, C)` of all positions that count."""
        own = values[self.start : self.stop]
        return own if self.rows is None else own.index_select(0, self.rows)

    def brought_back(self, gathered: Tensor) -> Tensor:
        """For each position `(stop - start, C)` the weighted sum of what was found for it `(K, C)`."""
        if self.rows is not None and gathered.device.type == "mps":  # older PyTorch has no bags there
            result = gathered.new_zeros(self.stop - self.start, gathered.shape[1])
            return result.index_add_(0, self.rows, gathered * self.roots.square().to(gathered.dtype))
        return F.embedding_bag(
            self.places,
            gathered,
            self.bounds,
            mode="sum",
            per_sample_weights=self.weights.to(gathered.dtype),
            include_last_offset=True,
        )

    def add_sums(self, values: Tensor, first: Tensor, second: Tensor) -> None:
        """Add those of each region, `(R, 1, C)` and `(R, C, C)`, of values `(N, C)`; as precise as the weights.

        The second ones are still to be `mirrored`.
        """
        gathered = self.gathered(values).to(self.roots.dtype)
        for soft in self.soft:
            gathered[soft] *= self.roots[soft]
        for region, part in self.parts:
            first[region].addmm_(self.roots[part].T, gathered[part])
            add_products(second[region], gathered[part], values.dtype)

    def gradient(self, values: Tensor, first: Tensor, second: Tensor, result: Tensor) -> None:
        """Set here, in `result` `(N, C)`, what sums' gradients `(R, 1, C)` and `(R, C, C)`, symmetric, come to.

        All are of one kind, the features'.
        """
        own, gathered = result[self.start : self.stop], self.gathered(values)
        found = own if self.rows is None else torch.empty_like(gathered)
        for region, part in self.parts:
            torch.addmm(first[region], gathered[part], second[region], out=found[part])
        if not self.parts:
            own.zero_()
        elif self.rows is not None:
            own.copy_(self.brought_back(found))


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
        unit = max(1, length // STEPS_OF_SIZE)
        blocks = (Block.of(weights[:, start : start + length], start, unit) for start in starts)
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

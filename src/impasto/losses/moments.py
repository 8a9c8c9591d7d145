"""Raw moments of features: what of a picture is style, once its places are forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from impasto.losses.base import Features, Weights

MomentSums = tuple[Tensor, Tensor, Tensor]
"""The sums of f `(B, C)`, of f fᵀ `(B, C, C)` and of what positions weigh `(B, 1)`."""

Shares = Sequence[float] | Mapping[str, Sequence[float]]
"""Of pictures in a mixture: the same in all layers, or by layer."""

BLOCK, LARGE_BLOCK = 2**20, 2**27
"""Numbers looked at together: on a CPU what stays in its cache; elsewhere more, for launches take time."""

STRIPS, NARROWEST = 4, 32
"""Into how many strips symmetric products are cut, each from the diagonal on, and their least width in channels."""


@dataclass(frozen=True)
class Moments:
    """Mean `(B, C)` and second moment E[f fᵀ] `(B, C, C)`, float32. Those of a collage are its parts' mean."""

    mean: Tensor
    second: Tensor

    @property
    def covariance(self) -> Tensor:
        return self.second - self.mean[:, :, None] * self.mean[:, None, :]


def moments(features: Features, where: Weights | None = None) -> dict[str, Moments]:
    """The moments of each layer, of the positions that count."""
    return moments_of_parts([(features, [where])])[0]


def moments_of_parts(parts: Iterable[tuple[Features, Sequence[Weights | None]]]) -> list[dict[str, Moments]]:
    """The moments of what consists of these parts: one for each of the weights of positions that come with a part."""
    sums: dict[tuple[int, str], list[Tensor]] = {}
    for features, choices in parts:
        for choice, where in enumerate(choices):
            for layer, values in features.items():
                own = [*moment_sums(values, None if where is None else where[layer])]
                so_far = sums.get((choice, layer))
                sums[choice, layer] = own if so_far is None else [a + b for a, b in zip(so_far, own, strict=True)]
    found: list[dict[str, Moments]] = [{} for _ in choices]
    for (choice, layer), (first, second, count) in sums.items():
        found[choice][layer] = moments_of_sums(first, second, count)
    return found


def moments_of_sums(first: Tensor, second: Tensor, count: Tensor) -> Moments:
    """Moments from the sums of f `(B, C)` and of f fᵀ `(B, C, C)` over what weighs `count` `(B, 1)`."""
    count = count.clamp(min=1e-12)
    return Moments(first / count, second / count[..., None])


def mixture(parts: Sequence[Mapping[str, Moments]], shares: Shares) -> dict[str, Moments]:
    """The moments of a picture that consists of these ones in these shares, which sum to 1."""
    by_layer = shares if isinstance(shares, Mapping) else dict.fromkeys(parts[0], shares)
    return {
        layer: Moments(
            _combined([part[layer].mean for part in parts], by_layer[layer]),
            _combined([part[layer].second for part in parts], by_layer[layer]),
        )
        for layer in parts[0]
    }


def _combined(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    products = [share * tensor for share, tensor in zip(shares, tensors, strict=True)]
    return sum(products[1:], start=products[0])


def as_rows(features: Tensor) -> Tensor:
    """`(B, C, H, W)` as `(B, H·W, C)`; free of copies for channels_last features."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def precise(kind: torch.dtype) -> torch.dtype:
    """In what features of this kind are added up: float32, or float64 of such features."""
    return torch.float64 if kind == torch.float64 else torch.float32


def block_length(channels: int, device: torch.device) -> int:
    """How many rows are looked at together."""
    return max(1, (BLOCK if device.type == "cpu" else LARGE_BLOCK) // channels)


def moment_sums(features: Tensor, where: Tensor | None = None) -> MomentSums:
    """Of features `(B, C, H, W)` whose positions weigh `where` `(B, 1, H, W)`, or all alike."""
    rows = as_rows(features)
    kind = precise(rows.dtype)
    if where is None:
        weights, count = None, rows.new_full((rows.shape[0], 1), rows.shape[1], dtype=kind)
    else:
        weights = as_rows(where).to(kind)
        count = weights.sum(1)
    first, second = _MomentSums.apply(rows, weights)  # type: ignore[no-untyped-call]
    return first, second, count


class _MomentSums(Function):
    """Block by block, so that on a CPU what is more precise than the features stays in its cache and is never kept.

    The second moments are symmetric, so that their gradient is one product and not two, nor their sum; it is as
    precise as the features, for it becomes theirs.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(rows, weights)
        batch, _, channels = rows.shape
        kind = precise(rows.dtype)
        first = rows.new_zeros(batch, channels, dtype=kind)
        second = rows.new_zeros(batch, channels, channels, dtype=kind)
        for place in _places(rows):
            part = rows[place].to(kind)
            if weights is None:
                first[place[0]] += part.sum(0)
            else:
                root = weights[place].sqrt()
                part = part * root
                first[place[0]] += (part * root).sum(0)
            add_products(second[place[0]], part, rows.dtype)
        return first, mirrored(second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor, None]:
        rows, weights = ctx.saved_tensors
        own, both = first.to(rows.dtype), (second + second.mT).to(rows.dtype)
        parts = [affine(*picture) for picture in zip(rows, both, own, strict=True)]
        result = torch.stack(parts) if len(parts) > 1 else parts[0][None]
        if weights is not None:
            result.mul_(weights.to(rows.dtype))
        return result, None


def affine(rows: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """`rows @ matrix + offset` of rows `(N, C)`: on a CPU as a convolution, which is faster, twice so in float32."""
    if rows.device.type != "cpu" or not len(rows):
        return torch.addmm(offset, rows, matrix)
    return F.conv2d(rows[None, None].permute(0, 3, 1, 2), matrix.T[:, :, None, None], offset)[0, :, 0].T


def _places(rows: Tensor) -> Iterator[tuple[int, slice]]:
    """Where blocks are in rows `(B, N, C)`: the number of a picture, and some of its positions."""
    length = block_length(rows.shape[2], rows.device)
    return product(range(rows.shape[0]), (slice(start, start + length) for start in range(0, rows.shape[1], length)))


def add_products(sums: Tensor, rows: Tensor, kind: torch.dtype) -> None:
    """Add the sum of f fᵀ over rows f `(N, C)` to `sums` `(C, C)`, both as precise; the features were of this kind.

    What is multiplied is no more precise than these, what is added up as the sums are. Below the diagonal, not all
    is added: what is there says `mirrored`.
    """
    channels = rows.shape[1]
    width = max(NARROWEST, -(-channels // STRIPS))
    with _multiplied_as_bfloat16() if kind == torch.bfloat16 and rows.device.type == "cpu" else nullcontext():
        for start in range(0, channels, width):
            own = slice(start, start + width)
            sums[own, start:].addmm_(rows[:, own].T, rows[:, start:])


def mirrored(sums: Tensor) -> Tensor:
    """Symmetric matrices `(…, C, C)` from what they are on the diagonal and above."""
    return sums.triu() + sums.triu(1).mT


@contextmanager
def _multiplied_as_bfloat16() -> Iterator[None]:
    """Products of float32 matrices by oneDNN, which may round what it multiplies to bfloat16, and adds up in float32.

    No change of what was bfloat16 before, in half of the time; precise products are another library's.
    """
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is None:  # PyTorch before 2.9
        yield
        return
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before

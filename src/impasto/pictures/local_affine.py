"""The colours of one picture with the edges of another: local affine maps, fitted and applied.

K. He, J. Sun, X. Tang, "Guided Image Filtering" (PAMI 2013), section 3.5: the guided filter with a guide in colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.pictures.cholesky import cholesky_roots, cholesky_solve

TILE, ROWS = 256, 64
"""Pixels a side of the parts that are worked on, at least; rows that are added up at a time."""


def locally_affine(result: Tensor, content: Tensor, radius: int, eps: float, tile: int | None = None) -> Tensor:
    """What of `result` is a locally affine function of the colours of `content`: its colours, the content's edges.

    Both pictures, and the one returned, are `(1, 3, H, W)` in 0..1. In each square window of 2 · `radius` + 1 pixels
    (`radius` 1 …) a map a·I + b from content to result is fitted (He et al., eq. 19 and 20); each pixel is given the
    mean of the maps of its windows (eq. 21). `eps` (above 0, squares of 0..1 units) is the variance below which the
    content counts as flat. There He et al. draw slopes towards 0, and faint clouds are blurred away; here it is
    towards those of the one map that fits the whole picture (with the same `eps`), and they stay.

    In float64, part by part: what memory it takes beyond the picture returned depends on `radius` and `tile` (pixels).
    """
    slopes, offset = _overall_map(result, content, eps)
    filtered = torch.empty_like(result)
    side = tile or max(TILE, 4 * radius)
    for rows, columns in product(*(_spans(length, side, 2 * radius) for length in result.shape[-2:])):
        guide, target = (of[0, :, rows.seen, columns.seen].double() for of in (content, result))
        expected = torch.einsum("ck,khw->chw", slopes, guide) + offset
        found = expected + guided(target - expected, guide, radius, eps)
        filtered[0, :, rows.core, columns.core] = found[:, rows.inside, columns.inside].clamp(0, 1).to(filtered)
    return filtered


def _overall_map(result: Tensor, content: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Slopes `(3, 3)` and offset `(3, 1, 1)` of the map in one window as large as the picture (eq. 19 and 20)."""
    pixels = result.shape[-2] * result.shape[-1]
    sums, squares = torch.zeros(6, dtype=torch.float64), torch.zeros(6, 6, dtype=torch.float64)
    for start in range(0, result.shape[-2], ROWS):
        both = torch.cat([of[0, :, start : start + ROWS].flatten(1) for of in (content, result)]).double()
        sums += both.sum(1)
        squares += both @ both.T
    mean = sums / pixels
    covariance = squares / pixels - torch.outer(mean, mean)
    variance = covariance[:3, :3] + eps * torch.eye(3, dtype=torch.float64)
    slopes = torch.linalg.solve(variance, covariance[:3, 3:]).T
    return slopes, (mean[3:] - slopes @ mean[:3])[:, None, None]


def guided(target: Tensor, guide: Tensor, radius: int, eps: float) -> Tensor:
    """The guided filter (eq. 19 to 21) of `target` by `guide`, both `(3, H, W)`, float64."""
    guide = guide - guide.mean((1, 2), keepdim=True)
    mean = _box_mean(guide, radius)
    variance = torch.stack([_box_mean(guide * one, radius) - mean * its for one, its in zip(guide, mean, strict=True)])
    variance.diagonal().add_(eps)
    roots = cholesky_roots(variance)
    del variance
    return torch.stack([_guided_channel(channel, guide, mean, roots, radius) for channel in target])


def _guided_channel(target: Tensor, guide: Tensor, mean: Tensor, roots: Tensor, radius: int) -> Tensor:
    target_mean = _box_mean(target, radius)
    slopes = cholesky_solve(roots, _box_mean(guide * target, radius) - mean * target_mean)
    offset = target_mean - (slopes * mean).sum(0)
    return (_box_mean(slopes, radius) * guide).sum(0) + _box_mean(offset, radius)


def _box_mean(values: Tensor, radius: int) -> Tensor:
    """Means of `(…, H, W)` over windows of 2 · `radius` + 1 pixels a side, or what of them lies in the picture."""
    for dim in (-2, -1):
        side = values.shape[dim]
        reach = min(radius, side)
        padding = (reach + 1, reach) if dim == -1 else (0, 0, reach + 1, reach)
        sums = F.pad(values, padding).cumsum(dim)
        place = torch.arange(side)
        count = (place + reach).clamp(max=side - 1) - (place - reach).clamp(min=0) + 1
        values = sums.narrow(dim, 2 * reach + 1, side) - sums.narrow(dim, 0, side)
        values /= count.view(-1, *[1] * (-1 - dim))
    return values


class _Span(NamedTuple):
    """A part of a side: its core and what it sees, in the picture, and the core in what it sees."""

    core: slice
    seen: slice
    inside: slice


def _spans(side: int, tile: int, halo: int) -> Iterator[_Span]:
    for start in range(0, side, tile):
        end, origin = min(start + tile, side), max(0, start - halo)
        yield _Span(slice(start, end), slice(origin, min(end + halo, side)), slice(start - origin, end - origin))

"""Pictures and what belongs to them at other sizes, also where a side continues on the opposite one."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

Wrap = tuple[bool, bool]
"""Whether a picture continues from its last row to its first, and from its last column to its first."""

NO_WRAP: Wrap = (False, False)
SUPPORT = 8
"""Positions around one on which its resampled value depends, at most."""


def resampled(
    values: Tensor, size: tuple[int, int], mode: str, *, antialias: bool = False, wrap: Wrap = NO_WRAP
) -> Tensor:
    """Values `(B, C, H, W)` at another size, as `F.interpolate`, across the sides that wrap."""
    if not any(wrap):
        return F.interpolate(values, size, mode=mode, antialias=antialias)
    (top, above), (left, before) = (
        _margins(old, new) if wraps else (0, 0) for old, new, wraps in zip(values.shape[-2:], size, wrap, strict=True)
    )
    larger = F.pad(values, (left, left, top, top), mode="circular")
    height, width = size
    enlarged = F.interpolate(larger, (height + 2 * above, width + 2 * before), mode=mode, antialias=antialias)
    return enlarged[..., above : above + height, before : before + width]


def _margins(old: int, new: int) -> tuple[int, int]:
    """How much of the opposite side to add, before and after resampling: whole positions in both."""
    step = old // math.gcd(old, new)
    margin = min(old, step * -(-SUPPORT // step))
    return margin, margin * new // old

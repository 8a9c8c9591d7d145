"""Pictures and masks at other sizes."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F


def resize(pixels: Tensor, height: int, width: int) -> Tensor:
    """Pixels `(B, C, H, W)`, 0..1, at another size: bicubic, low-passed where it shrinks, kept in 0..1."""
    if pixels.shape[-2:] == (height, width):
        return pixels
    return F.interpolate(pixels, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def resize_squares(pixels: Tensor, height: int, width: int) -> Tensor:
    """The same for pixel art: where it grows, its pixels stay squares."""
    times = max(math.ceil(height / pixels.shape[-2]), math.ceil(width / pixels.shape[-1]))
    return resize(F.interpolate(pixels, scale_factor=times, mode="nearest") if times > 1 else pixels, height, width)


def resize_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """A soft mask `(B, 1, H, W)` at another size: each value the mean of the area it stands for."""
    if mask.shape[-2:] == (height, width):
        return mask
    return F.interpolate(mask, (height, width), mode="area")


def fit(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width with longest side `size`, in pixels, and the same aspect; at least one pixel each."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def equal_area(height: int, width: int, area: float) -> tuple[int, int]:
    """Height and width of about `area` pixels and the same aspect; at least one pixel each."""
    scale = (area / (height * width)) ** 0.5
    return max(1, round(height * scale)), max(1, round(width * scale))

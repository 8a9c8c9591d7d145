"""Pictures moved along a flow, and flows at other sizes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Mode = Literal["bilinear", "bicubic"]
"""How values between pixels are found."""


def warp(values: Tensor, flow: Tensor, mode: Mode = "bilinear") -> Tensor:
    """Backward warp out(p) = values(p + flow(p)) of values `(B, C, H, W)` by a flow `(B, 2, H, W)` in pixels, (dx, dy).

    Positions outside are moved to the border; where the flow is unknown (NaN), values stay in place. `bicubic` is
    R. Keys' cubic convolution with a = -1/2 ("Cubic convolution interpolation for digital image processing", 1981,
    eq. 15), kept within the range of the four pixels around: for what is warped again and again. `grid_sample` would
    do neither: its a = -3/4 amplifies what is finer than a few pixels, a little more with every warp, and its
    coordinates are rounded, so that what does not move would change. Here whole pixels are moved exactly.
    """
    x, y = _positions(flow)
    left, top = x.floor(), y.floor()
    weights, reach = (_linear, range(2)) if mode == "bilinear" else (_cubic, range(-1, 3))
    columns, rows = weights(x - left), weights(y - top)
    pixels = _Pixels(values, left.long(), top.long())
    warped = torch.zeros_like(values)
    for row, dy in zip(rows, reach, strict=True):
        for column, dx in zip(columns, reach, strict=True):
            warped = warped + (row * column)[:, None] * pixels.at(dx, dy)
    return warped if mode == "bilinear" else _within(warped, pixels)


def inside(flow: Tensor) -> Tensor:
    """Mask `(B, 1, H, W)`: 1 where p + flow(p) lies in the frame, 0 where it does not or is unknown (NaN)."""
    x, y = _targets(flow)
    height, width = flow.shape[-2:]
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))[:, None].to(flow.dtype)


def resized_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """A flow `(B, 2, H, W)` for frames of another size: vectors grow with the sides that they run along."""
    before = flow.shape[-2:]
    if before == (height, width):
        return flow
    scale = flow.new_tensor([width / before[1], height / before[0]]).view(1, 2, 1, 1)
    return F.interpolate(flow, (height, width), mode="bilinear", antialias=True) * scale


def _targets(flow: Tensor) -> tuple[Tensor, Tensor]:
    """x and y `(B, H, W)`, in pixels, of p + flow(p)."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)
    return x + flow[:, 0], y[:, None] + flow[:, 1]


def _positions(flow: Tensor) -> tuple[Tensor, Tensor]:
    """The same, within the frame."""
    x, y = _targets(flow.nan_to_num(0))
    return x.clamp(0, flow.shape[-1] - 1), y.clamp(0, flow.shape[-2] - 1)


def _linear(t: Tensor) -> tuple[Tensor, ...]:
    """Weights of the pixels at 0 and 1 for a position t between them."""
    return 1 - t, t


def _cubic(t: Tensor) -> tuple[Tensor, ...]:
    """Weights of the pixels at -1, 0, 1 and 2 (Keys, eq. 15)."""
    return (
        t * (t * (1 - 0.5 * t) - 0.5),
        t * t * (1.5 * t - 2.5) + 1,
        t * (t * (2 - 1.5 * t) + 0.5),
        t * t * (0.5 * t - 0.5),
    )


class _Pixels:
    """The pixels of values `(B, C, H, W)` around positions `(B, H, W)`; beyond the border those at it."""

    def __init__(self, values: Tensor, left: Tensor, top: Tensor) -> None:
        self._values, self._left, self._top = values, left, top

    def at(self, dx: int, dy: int) -> Tensor:
        """Those `dx` to the right of and `dy` below the one at the upper left, `(B, C, H, W)`."""
        height, width = self._values.shape[-2:]
        place = (self._top + dy).clamp(0, height - 1) * width + (self._left + dx).clamp(0, width - 1)
        chosen = place.flatten(1)[:, None].expand(-1, self._values.shape[1], -1)
        return self._values.flatten(2).gather(2, chosen).view_as(self._values)


def _within(warped: Tensor, pixels: _Pixels) -> Tensor:
    """What was interpolated, within the range of the four pixels around."""
    lowest = highest = pixels.at(0, 0)
    for dx, dy in ((1, 0), (0, 1), (1, 1)):
        pixel = pixels.at(dx, dy)
        lowest, highest = lowest.minimum(pixel), highest.maximum(pixel)
    return warped.maximum(lowest).minimum(highest)

"""Convolution, pooling and cropping for a trunk whose weights stay as they are, keeping only what gradients need.

For the gradient of its input a convolution needs its weights alone, and a maximum only where it was found; PyTorch
keeps every (padded) input, and an int64 for every maximum, which is several times as much memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SOURCES = {"replicate": (1, -2), "reflect": (2, -3), "circular": (-2, 1)}
"""By padding mode, which rows of a padded picture its first and its last row repeat; columns alike."""

AXES = {
    **{mode: (mode, mode) for mode in SOURCES},
    "circular-x": ("replicate", "circular"),
    "circular-y": ("circular", "replicate"),
}
"""By padding, the modes of rows (above and below) and of columns."""


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: str) -> Tensor:
    """The convolution of `x` `(B, C, H, W)`, padded by one position on each side except with padding `none`."""
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        padded: Tensor = _Padding.apply(x, padding)  # type: ignore[no-untyped-call]
        return F.conv2d(padded, weight, bias, padding=_own_padding(padding))
    result: Tensor = _Convolution.apply(x, weight, bias, padding)  # type: ignore[no-untyped-call]
    return result


def rectified_max_pool(x: Tensor) -> Tensor:
    """The rectified maximum of every 2x2 positions `(B, C, H // 2, W // 2)`; no need to rectify `x` before."""
    result: Tensor = _RectifiedMaxPool.apply(x)  # type: ignore[no-untyped-call]
    return result


def crop(x: Tensor, rows: slice, columns: slice) -> Tensor:
    """Some rows and columns of features `(B, C, H, W)`."""
    result: Tensor = _Crop.apply(x, rows, columns)  # type: ignore[no-untyped-call]
    return result


class _Padding(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: str) -> Tensor:
        ctx.padding = padding
        return _padded(x, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _unpadded(gradient.clone(), ctx.padding), None


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: str) -> Tensor:
        ctx.padding, ctx.kind = padding, x.dtype
        ctx.save_for_backward(weight)
        return F.conv2d(_padded(x, padding), weight, bias, padding=_own_padding(padding))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        padded = F.conv_transpose2d(gradient, weight.to(gradient.dtype), padding=_own_padding(ctx.padding))
        return _unpadded(padded, ctx.padding).to(ctx.kind), None, None, None


def _padded(x: Tensor, padding: str) -> Tensor:
    """With one more position on each side, in one pass: PyTorch's own padding goes through other layouts.

    Raises ValueError where there is nothing to reflect.
    """
    if padding not in AXES:
        return x
    batch, channels, height, width = x.shape
    if padding == "reflect" and min(height, width) < 2:
        raise ValueError(f"{width}×{height} positions have nothing to reflect")
    shape = batch, channels, height + 2, width + 2
    whole = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    whole[..., 1:-1, 1:-1] = x
    for axis, mode in zip((-2, -1), AXES[padding], strict=True):
        first, last = SOURCES[mode]
        whole.select(axis, 0).copy_(whole.select(axis, first))
        whole.select(axis, -1).copy_(whole.select(axis, last))
    return whole


def _own_padding(padding: str) -> int:
    """What the convolution itself adds, zeros."""
    return 1 if padding == "zeros" else 0


def _unpadded(gradient: Tensor, padding: str) -> Tensor:
    """The gradient of a picture from that of its padded form, which is overwritten."""
    if padding not in AXES:
        return gradient
    for axis, mode in zip((-2, -1), AXES[padding], strict=True):
        first, last = SOURCES[mode]
        gradient.select(axis, first).add_(gradient.select(axis, 0))
        gradient.select(axis, last).add_(gradient.select(axis, -1))
    return gradient[..., 1:-1, 1:-1]


class _RectifiedMaxPool(Function):
    """Of each square, which position was the largest is kept as a number, 1 to 4, or 0 where none is positive.

    Numbers of the features' own kind, compared where they lie densely: PyTorch compares views of few channels, makes
    booleans and multiplies by them several times slower.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        a, b, c, d = _quarters(x)
        top, bottom = torch.maximum(a, b), torch.maximum(c, d)
        pooled = torch.maximum(top, bottom)
        upper, lower = torch.empty_like(top).copy_(a), torch.empty_like(top).copy_(c)
        upper_right, lower_right = torch.gt(top, upper, out=upper), torch.gt(bottom, lower, out=lower)
        is_lower, is_active = torch.gt(bottom, top, out=bottom), torch.gt(pooled, 0, out=top)
        is_right = lower_right.sub_(upper_right).mul_(is_lower).add_(upper_right)
        ctx.save_for_backward(is_right.add_(is_lower, alpha=2).add_(1).mul_(is_active))
        return pooled.clamp_(min=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (largest,) = ctx.saved_tensors
        spread = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last)
        height, width = (2 * side for side in gradient.shape[-2:])
        spread[..., height:, :] = 0
        spread[..., width:] = 0
        chosen = torch.empty_like(largest)
        for number, quarter in enumerate(_quarters(spread), 1):
            torch.mul(gradient, torch.eq(largest, number, out=chosen), out=quarter)
        return spread


class _Crop(Function):
    """PyTorch's own has a gradient that lies channel by channel in memory, which makes those before it slow."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: slice, columns: slice) -> Tensor:
        ctx.shape, ctx.place = x.shape, (..., rows, columns)
        return x[ctx.place]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        kind, device = gradient.dtype, gradient.device
        whole = torch.empty(ctx.shape, dtype=kind, device=device, memory_format=torch.channels_last).zero_()
        whole[ctx.place] = gradient
        return whole, None, None


def _quarters(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Views of the four positions of every 2x2 square, row by row; a last odd row or column is left out."""
    even = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    return even[..., ::2, ::2], even[..., ::2, 1::2], even[..., 1::2, ::2], even[..., 1::2, 1::2]

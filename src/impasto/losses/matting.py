"""The matting Laplacian: what of a picture is no locally affine function of a photograph's colours.

F. Luan, S. Paris, E. Shechtman, K. Bala, "Deep Photo Style Transfer" (CVPR 2017), eq. 2, with the Laplacian of
A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form Solution to Natural Image Matting" (PAMI 2008), eq. 10 to 12.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from impasto.encoders.tiling import Span, Tile
from impasto.losses.base import Features, SumLoss, Sums
from impasto.losses.content import wide
from impasto.pictures.cholesky import cholesky_roots, cholesky_solve

EPSILON = 1e-4
"""What a slope costs, and a window's least contrast: windows that vary by half a step of 8 bits count as flat."""

BAND = 128
"""Rows of windows that are factorised at a time, in float64."""

WINDOWS = 2**15
"""Looked at together: what is computed of them stays in a processor's cache."""


class MattingLoss(SumLoss):
    """Σ_c V_c(x)ᵀ M V_c(x), M the matting Laplacian of the content, over the content's own local contrast.

    M is a sum over 3×3 windows, and it is evaluated as what it stands for, without a matrix: the error of the best
    affine map from the content's colours I to the picture's x there, min over (a, b) of Σ_i (x_i − a·I_i − b)² + ε|a|²
    in each channel c. (Levin et al. divide the same ε by the 9 pixels where they add it to a covariance.)

    0 for a picture of one colour, almost 0 (by ε) for an affine map of the content's colours, and at most 1 for a
    picture with as much contrast as the content, which is where the content explains nothing. Differs from Luan et al.
    in two things. The division, by the sum over windows of Σ_i |I_i − mean|²: at a larger size neighbours differ less
    in both, so that a strength means the same at every size. And `epsilon`, 1e-4 where theirs is 1e-7: slopes that
    cost nothing turn the rounding and compression of a smooth sky into blotches.

    `content` is `(1, 3, H, W)`, of the size of the picture, in 0..1; `where` `(1, 1, H, W)` weighs its pixels, 0..1:
    the least weight in a window is the window's, so that hidden pixels have no influence. In tiles a window belongs
    to the core in which its centre lies, which takes a halo of one pixel. Without windows, in pictures less than
    three pixels high or wide, the loss is 0.
    """

    count = 1

    def __init__(self, content: Tensor, where: Tensor | None = None, epsilon: float = EPSILON) -> None:
        self._content = wide(content.detach())
        self._roots, contrast = window_roots(self._content, epsilon)
        self._where = torch.ones_like(contrast) if where is None else least_of_windows(wide(where.detach()))
        self._contrast = (contrast.clamp(min=epsilon) * self._where).sum().clamp(min=1e-12)

    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        height, width = self._content.shape[-2:]
        cores = ((0, height), (0, width)) if tile is None else (tile.core_rows, tile.core_columns)
        top, left = (0, 0) if tile is None else (tile.rows[0], tile.columns[0])
        rows, columns = _windows(cores[0], height), _windows(cores[1], width)
        error: Tensor = _QuadraticForm.apply(  # type: ignore[no-untyped-call]
            wide(picture)[..., _pixels(rows, top), _pixels(columns, left)],
            self._content[..., _pixels(rows), _pixels(columns)],
            self._roots[..., rows, columns],
            self._where[..., rows, columns],
        )
        return (error,)

    def of_sums(self, sums: Sums) -> Tensor:
        return sums[0] / self._contrast.to(sums[0].dtype)


class _QuadraticForm(Function):
    """The gradient comes with the value: by the envelope theorem that of a window's error is twice its residual."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, content: Tensor, roots: Tensor, where: Tensor) -> Tensor:
        value, product_with_picture = quadratic_form(picture, content, roots, where)
        ctx.save_for_backward(product_with_picture)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (product_with_picture,) = ctx.saved_tensors
        return 2 * gradient * product_with_picture, None, None, None


def quadratic_form(picture: Tensor, content: Tensor, roots: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """xᵀMx, a scalar, and Mx `(B, 3, H, W)`, for a picture x `(B, 3, H, W)` and a content `(1, 3, H, W)`.

    `roots` are the content's `window_roots`, `where` `(1, 1, H − 2, W − 2)` the windows' weights.
    """
    total, result = picture.new_zeros(()), torch.zeros_like(picture, memory_format=torch.contiguous_format)
    height, width = where.shape[-2:]
    rows = height if picture.device.type != "cpu" else max(1, WINDOWS // max(1, width))
    for start in range(0, height, rows):
        band, seen = slice(start, start + rows), slice(start, start + rows + 2)
        error, own = _form_of_band(
            picture[..., seen, :].contiguous(),  # channel by channel: neighbours lie densely
            content[..., seen, :].contiguous(),
            roots[..., band, :],
            where[..., band, :],
        )
        total += error
        result[..., seen, :] += own
    return total, result


def _form_of_band(picture: Tensor, content: Tensor, roots: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """All that is summed are differences from the centres of windows, so that smooth skies do not drown in rounding."""
    value_sum = torch.zeros_like(_shifted(picture, 1, 1))
    colour_sum = torch.zeros_like(_shifted(content, 1, 1))
    covariance = (value_sum[:, :, None] * colour_sum[:, None]).contiguous()
    for value, colour in zip(_neighbours(picture), _neighbours(content), strict=True):
        value_sum += value
        colour_sum += colour
        covariance.addcmul_(value[:, :, None], colour[:, None])
    covariance.addcmul_(value_sum[:, :, None], colour_sum[:, None], value=-1 / 9)
    slopes = cholesky_solve(roots, covariance)
    offset = (value_sum - _applied(slopes, colour_sum)) / 9

    error = torch.zeros_like(value_sum)
    result = torch.zeros_like(picture)
    for shift, value, colour in zip(SHIFTS, _neighbours(picture), _neighbours(content), strict=True):
        residual = (value - _applied(slopes, colour) - offset) * where
        error.addcmul_(value, residual)
        _shifted(result, *shift).add_(residual)
    return error.sum(), result


def window_roots(content: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Of a content `(1, 3, H, W)` the Cholesky factors of Σ_i (I_i − mean)(I_i − mean)ᵀ + ε in each 3×3 window.

    Returns the six entries of the lower triangles, row by row, `(6, H − 2, W − 2)`, and the traces without ε
    `(1, 1, H − 2, W − 2)`. Where colours are grey or flat an inverse would lose all its digits in float32; its root,
    found in float64, keeps them.
    """
    exact = content.cpu()
    bands = [
        _roots_of_band(exact[0, :, start : start + BAND + 2].double(), epsilon)
        for start in range(0, max(1, content.shape[-2] - 2), BAND)
    ]
    roots, traces = (torch.cat(parts, dim=-2).to(content) for parts in zip(*bands, strict=True))
    return roots, traces[None, None]


def _roots_of_band(colours: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    total = sum(_neighbours(colours), start=torch.zeros_like(_shifted(colours, 1, 1)))
    scatter = total[:, None] * total / -9
    for colour in _neighbours(colours):
        scatter.addcmul_(colour[:, None], colour)
    diagonal = scatter.diagonal()
    trace = diagonal.sum(-1)
    diagonal += epsilon
    return cholesky_roots(scatter), trace


def _applied(slopes: Tensor, colours: Tensor) -> Tensor:
    """Slopes `(B, C, 3, H, W)` times colours `(1, 3, H, W)`."""
    red, green, blue = slopes.unbind(2)
    return (red * colours[:, :1]).addcmul_(green, colours[:, 1:2]).addcmul_(blue, colours[:, 2:])


def least_of_windows(values: Tensor) -> Tensor:
    """The least value `(…, H − 2, W − 2)` in each 3×3 window."""
    return reduce(torch.minimum, (_shifted(values, *shift) for shift in SHIFTS))


SHIFTS = tuple(product(range(3), range(3)))


def _neighbours(values: Tensor) -> Iterator[Tensor]:
    """The nine pixels of each 3×3 window, less the middle one: nine times `(…, H − 2, W − 2)`."""
    for shift in SHIFTS:
        yield _shifted(values, *shift) - _shifted(values, 1, 1)


def _shifted(values: Tensor, down: int, right: int) -> Tensor:
    """One pixel of each 3×3 window."""
    height, width = (max(0, side - 2) for side in values.shape[-2:])
    return values[..., down : down + height, right : right + width]


def _windows(core: Span, side: int) -> slice:
    """The 3×3 windows whose centres lie in a core, numbered along a side."""
    first = max(core[0], 1) - 1
    return slice(first, max(first, min(core[1], side - 1) - 1))


def _pixels(windows: slice, origin: int = 0) -> slice:
    """What windows see, counted from `origin`."""
    return slice(windows.start - origin, windows.stop + 2 - origin)

"""Symmetric 3×3 systems, one for each pixel: what fits of colours to colours come down to."""

from __future__ import annotations

import torch
from torch import Tensor


def cholesky_roots(matrices: Tensor) -> Tensor:
    """The lower triangles R of matrices R Rᵀ `(3, 3, H, W)`, row by row `(6, H, W)`; only lower triangles are read."""
    (rr, _, _), (gr, gg, _), (br, bg, bb) = matrices
    a = rr.sqrt()
    b, d = gr / a, br / a
    c = (gg - b * b).sqrt()
    e = (bg - b * d) / c
    f = (bb - d * d - e * e).sqrt()
    return torch.stack((a, b, c, d, e, f))


def cholesky_solve(roots: Tensor, right: Tensor) -> Tensor:
    """The solutions v of R Rᵀ v = `right`, both `(…, 3, H, W)`, by substitution."""
    a, b, c, d, e, f = roots
    x, y, z = right.unbind(-3)
    x = x / a
    y = (y - b * x) / c
    z = (z - d * x - e * y) / (f * f)
    y = (y - e * z) / c
    x = (x - b * y - d * z) / a
    return torch.stack((x, y, z), dim=-3)

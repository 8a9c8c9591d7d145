"""Where a flow can be trusted: neither covered nor at the edge of what moves.

N. Sundaram, T. Brox, K. Keutzer, "Dense point trajectories by GPU-accelerated large displacement optical flow"
(ECCV 2010), sections 3.2 and 3.3, as used by M. Ruder, A. Dosovitskiy, T. Brox, "Artistic style transfer for videos"
(2016), section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.motion.warping import inside, warp

RELATIVE, ABSOLUTE = 0.01, 0.5
"""How far two flows may disagree: the share of their squared lengths, and squared pixels (Sundaram et al., eq. 5)."""
BOUNDARY_RELATIVE, BOUNDARY_ABSOLUTE = 0.01, 0.002
"""How steep a flow may be: the share of its squared length, and squared pixels per pixel (Sundaram et al., eq. 6)."""
UNMOVED = 0.5
"""Pixels of motion that are none: who moves less covers nothing."""
MARGIN = 1
"""Pixels by which what cannot be trusted grows, before it fades over as many."""


def consistency(backward: Tensor, forward: Tensor) -> Tensor:
    """Mask `(B, 1, H, W)` in 0..1, on the grid of a frame i: 1 where an earlier frame j, warped to it, can be trusted.

    `backward`, ŵ, is the flow from i to j on the grid of i, along which j is warped; `forward`, w, that from j to i
    on the grid of j; both `(B, 2, H, W)` in pixels. 0 where a pixel of i cannot be seen in j, at the boundaries of
    motion, outside the frame and where a flow is unknown; soft around them, never above `consistent`.
    """
    trusted = consistent(backward, forward)
    side = 2 * MARGIN + 1
    eroded = -F.max_pool2d(-trusted, side, stride=1, padding=MARGIN)
    return trusted.minimum(F.avg_pool2d(eroded, side, stride=1, padding=MARGIN, count_include_pad=False))


def consistent(backward: Tensor, forward: Tensor) -> Tensor:
    """The same mask before it is softened: 0 or 1."""
    smooth = smooth_motion(backward).maximum(unmoved(backward))
    return agreement(backward, forward) * smooth * inside(backward)


def agreement(backward: Tensor, forward: Tensor) -> Tensor:
    """1 where |w̃ + ŵ|² ≤ 0.01 (|w̃|² + |ŵ|²) + 0.5, with w̃(p) = w(p + ŵ(p)): who goes there and back arrives.

    Elsewhere 0: occluded (Sundaram et al., eq. 5).
    """
    there = warp(forward, backward)
    difference = _squared_length(there + backward)
    return _trusted(difference, RELATIVE * (_squared_length(there) + _squared_length(backward)) + ABSOLUTE)


def smooth_motion(backward: Tensor) -> Tensor:
    """1 where |∇û|² + |∇v̂|² ≤ 0.01 |ŵ|² + 0.002, for ŵ = (û, v̂); 0 at boundaries of motion (Sundaram et al., eq. 6).

    ∇ are central differences.
    """
    padded = F.pad(backward, (1, 1, 1, 1), mode="replicate")
    right = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    steepness = _squared_length(torch.cat([right, down], dim=1))
    return _trusted(steepness, BOUNDARY_RELATIVE * _squared_length(backward) + BOUNDARY_ABSOLUTE)


def unmoved(backward: Tensor) -> Tensor:
    """1 where nothing near moves by more than half a pixel: there are no boundaries of motion, however steep the flow.

    In the noise of a film that stands still it is as steep as at boundaries in a tenth of each frame, which would be
    painted anew each time, in ever other colours.
    """
    nearby = F.max_pool2d(_squared_length(backward), 3, stride=1, padding=1)
    return (nearby <= UNMOVED**2).to(backward.dtype)


def _squared_length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(1, keepdim=True)


def _trusted(error: Tensor, bound: Tensor) -> Tensor:
    """1 where the error is known and within its bound: NaN is not."""
    return (error <= bound).to(error.dtype)

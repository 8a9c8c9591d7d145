"""How steady a film is, and how good a flow."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from impasto.motion.warping import warp


def warping_error(now: Tensor, before: Tensor, flow: Tensor, visible: Tensor) -> float:
    """Σ c ‖x_i - ω(x_{i-1})‖² / Σ c, where ‖·‖² is the mean square over channels; in 0..1, NaN if nothing is visible.

    x_i, `now`, and x_{i-1}, `before`, are frames `(B, 3, H, W)` in 0..1; ω warps along `flow` `(B, 2, H, W)`, from now
    to before on the grid of now; c is `visible` `(B, 1, H, W)` in 0..1. It is the temporal loss of Ruder et al. (2016),
    eq. 7, per pixel that is seen in both. A blurred film is the steadiest: say the style distance beside it.
    """
    error = (now - warp(before, flow)).square().mean(1, keepdim=True)
    return _mean(error, visible)


def endpoint_error(flow: Tensor, truth: Tensor, valid: Tensor) -> float:
    """Mean of |w - w*| in pixels over where `valid` `(B, 1, H, W)` is not 0; flows `(B, 2, H, W)`; NaN if nowhere."""
    error = (flow - truth).square().sum(1, keepdim=True).sqrt()
    return _mean(error.where(valid > 0, 0), valid)


def colour_drift(frames: Iterable[Tensor]) -> float:
    """How far the mean colour of a sequence of frames `(1, 3, H, W)` goes from that of the first: the largest change
    of a channel, in 1/255; 0 for no frames. Of a shot that stands still it is to stay below 1 or 2.
    """
    drift, first = 0.0, None
    for frame in frames:
        colour = frame.double().mean((0, 2, 3))
        first = colour if first is None else first
        drift = max(drift, float((colour - first).abs().max()))
    return 255 * drift


def _mean(values: Tensor, weights: Tensor) -> float:
    """Σ weights · values / Σ weights."""
    total = float(weights.double().sum())
    return float((weights.double() * values).sum()) / total if total > 0 else math.nan

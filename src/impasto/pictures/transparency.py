"""Colours under full transparency: a continuation of what is visible."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def continue_visible_colours(pixels: Tensor, alpha: Tensor) -> Tensor:
    """Replace colours where `alpha` is 0 by a smooth continuation of their visible surroundings.

    `pixels` `(1, 3, H, W)` and `alpha` `(1, 1, H, W)` in 0..1, somewhere above 0; visible pixels stay as they are
    and hidden ones have no influence. Push-pull: S. J. Gortler et al., "The Lumigraph", 1996, section 3.3, on a
    pyramid of premultiplied colours.
    """
    levels = [(pixels * alpha, alpha)]
    while max(levels[-1][1].shape[-2:]) > 1:
        colours, weights = levels[-1]
        levels.append((_halved(colours), _halved(weights)))
    filled = levels[-1][0] / levels[-1][1]
    for colours, weights in reversed(levels[:-1]):
        coarse = F.interpolate(filled, size=weights.shape[-2:], mode="bilinear", align_corners=False)
        own = colours / weights.clamp_min(torch.finfo(weights.dtype).tiny)
        filled = torch.where(weights > 0, own, coarse)
    return torch.where(alpha > 0, pixels, filled.clamp(0, 1))


def _halved(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)

"""Grain: what of a picture is finer than any stroke."""

from __future__ import annotations

import math

from torch import Tensor

RADIUS = 1.2
"""Standard deviation, in pixels, of the blur that takes grain away."""
AROUND = 4.0
"""Standard deviation, in pixels, of the surroundings in which it is measured how much of the grain is there already."""
NEXT_TO_NOTHING = 1e-8
"""Variance of what is no grain at all."""


def with_grain_of(pixels: Tensor, content: Tensor, strength: float) -> Tensor:
    """`pixels` with the fine detail of the content's luminance, both `(1, 3, H, W)` in 0..1; `strength` 0..1.

    What of that detail is there already, where a picture was hardly changed, does not come twice.
    """
    from impasto.pictures.color import in_gamut

    wanted, present = _fine(content), _fine(pixels)
    share = _around(wanted * present) / (_around(wanted.square()) + NEXT_TO_NOTHING)
    return in_gamut(pixels + strength * (1 - share.clamp(0, 1)) * wanted)


def _fine(pixels: Tensor) -> Tensor:
    """The fine detail of the luminance `(1, 1, H, W)`."""
    from impasto.pictures.color import luminance

    light = luminance(pixels)[:, :1]
    return light - _blurred(light, RADIUS)


def _around(values: Tensor) -> Tensor:
    return _blurred(values, AROUND)


def _blurred(values: Tensor, radius: float) -> Tensor:
    from kornia.filters import gaussian_blur2d

    return gaussian_blur2d(values, 2 * math.ceil(2.5 * radius) + 1, (radius, radius), border_type="replicate")

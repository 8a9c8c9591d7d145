"""Grain: what of a picture is finer than any stroke."""

from __future__ import annotations

from torch import Tensor

RADIUS = 1.2
"""Standard deviation, in pixels, of the blur that takes grain away."""


def with_grain_of(pixels: Tensor, content: Tensor, strength: float) -> Tensor:
    """`pixels` with the fine detail of the content's luminance, both `(1, 3, H, W)` in 0..1; `strength` 0..1."""
    from kornia.filters import gaussian_blur2d

    from impasto.pictures.color import in_gamut, luminance

    light = luminance(content)[:, :1]
    fine = light - gaussian_blur2d(light, 7, (RADIUS, RADIUS), border_type="replicate")
    return in_gamut(pixels + strength * fine)

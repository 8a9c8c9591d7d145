"""Decoded pixels on their way to a `Picture`: still in the file's colours, depth and orientation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.errors import PictureError
from impasto.pictures.profiles import (
    BrokenProfileError,
    ColourSpace,
    convert_to_srgb,
    convert_unprofiled_to_rgb,
    unit_range,
)
from impasto.pictures.transparency import continue_visible_colours

Palette = tuple[tuple[int, ...], ...]
"""Colours `(3,)`, 0..255, of the numbers that a file has in their place; empty for those that have none."""

SizeCheck = Callable[[int, int], None]
"""Raises PictureError if width × height is more than the caller allows."""


@dataclass(frozen=True, eq=False)
class Raster:
    """`values` `(H, W, 1|3|4)` and `alpha` `(H, W, 1)` or None; uint8, uint16 over their full range or float32 in 0..1.

    CMYK: the largest value is full ink. `orientation` is EXIF's 1..8; `remarks` are sentences the user should read.
    """

    values: NDArray[Any]
    space: ColourSpace
    alpha: NDArray[Any] | None = None
    profile: bytes | None = None
    orientation: int = 1
    bits: int = 8
    remarks: tuple[str, ...] = ()
    palette: Palette = ()


def raster_of_channels(values: NDArray[Any], bits: int) -> Raster:
    """Split `(H, W, 1..4)` into colours and alpha: 1 is grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
    channels = values.shape[-1]
    colours = channels - 1 if channels in (2, 4) else channels
    alpha = values[..., colours:] if colours < channels else None
    return Raster(values[..., :colours], "gray" if colours == 1 else "rgb", alpha, bits=bits)


def in_srgb(raster: Raster, name: str) -> Raster:
    """The raster as sRGB without a profile: uint16 or float32 where it had one. A damaged profile becomes a remark."""
    remarks = raster.remarks
    if raster.profile:
        try:
            values = convert_to_srgb(raster.values, raster.profile, raster.space)
            return replace(raster, values=values, space="rgb", profile=None)
        except BrokenProfileError:
            remarks = (*remarks, f"{name}: its colour profile is damaged, so its colours are read as sRGB")
    values = convert_unprofiled_to_rgb(raster.values, raster.space)
    return replace(raster, values=values, space="rgb", profile=None, remarks=remarks)


def develop(raster: Raster, name: str) -> tuple[Tensor, Tensor | None]:
    """Pixels `(1, 3, H, W)` and alpha `(1, 1, H, W)` or None of an sRGB raster: upright, float32 in 0..1.

    Alpha is None where the raster is opaque everywhere; hidden colours continue visible ones. Raises PictureError
    if nothing is visible.
    """
    pixels = _as_tensor(raster.values, raster.orientation)
    if raster.alpha is None:
        return pixels, None
    alpha = _as_tensor(raster.alpha, raster.orientation)
    if bool((alpha == 1).all()):
        return pixels, None
    hidden = alpha == 0
    if bool(hidden.all()):
        raise PictureError(f"{name}: nothing visible, every pixel is fully transparent; remove its transparency first")
    return (continue_visible_colours(pixels, alpha) if bool(hidden.any()) else pixels), alpha


def _as_tensor(values: NDArray[Any], orientation: int) -> Tensor:
    upright = np.ascontiguousarray(_upright(unit_range(values), orientation).transpose(2, 0, 1))
    return torch.from_numpy(upright)[None].clamp_(0, 1)  # float colours of a wide profile may lie beyond


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo EXIF orientation 1..8 (Exif 2.32, tag 274); other numbers, which damaged files have, change nothing."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values

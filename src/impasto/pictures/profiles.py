"""Colour profiles: everything becomes sRGB, without steps coarser than 16 bits."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ColourSpace = Literal["gray", "rgb", "cmyk"]


class BrokenProfileError(Exception):
    """The profile is damaged or belongs to another kind of picture."""


@cache
def srgb_profile() -> bytes:
    """A small sRGB ICC profile (588 bytes), the same bytes at every call and on every day."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    year_2000 = bytes((0x07, 0xD0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))
    return profile[:24] + year_2000 + profile[36:]  # bytes 24..35 of an ICC header are the time of its making


def convert_to_srgb(values: NDArray[Any], profile: bytes, space: ColourSpace) -> NDArray[Any]:
    """Colours `(H, W, 1|3|4)` of a profile as sRGB `(H, W, 3)`, relative colorimetric with black point compensation.

    uint8 and uint16 become uint16 over their full range (so 8-bit sources lose nothing to a second rounding),
    float32 in 0..1 stays float32. CMYK: the largest value is full ink. Raises BrokenProfileError.
    """
    import imagecodecs

    if values.dtype.kind == "f" and space == "cmyk":
        values = np.rint(values * 65535).astype(np.uint16)  # Little CMS counts float inks from 0 to 100
    flat = values[..., 0] if space == "gray" else values
    try:
        converted = imagecodecs.cms_transform(
            np.ascontiguousarray(flat),
            profile,
            srgb_profile(),
            colorspace=space,
            outcolorspace="rgb",
            outdtype="float32" if values.dtype.kind == "f" else "uint16",
            intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
            flags=imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION,
        )
    except (imagecodecs.CmsError, ValueError) as error:
        raise BrokenProfileError(str(error)) from error
    return np.asarray(converted)


def convert_unprofiled_to_rgb(values: NDArray[Any], space: ColourSpace) -> NDArray[Any]:
    """Colours `(H, W, 1|3|4)` without a profile as RGB `(H, W, 3)`: grey repeated, CMYK as ideal inks (float32)."""
    if space == "cmyk":
        inks = unit_range(values)
        return (1 - inks[..., :3]) * (1 - inks[..., 3:])
    return np.repeat(values, 3, axis=-1) if space == "gray" else values


def unit_range(values: NDArray[Any]) -> NDArray[np.float32]:
    """uint8 and uint16 divided by their largest value, floats as they are: float32 in 0..1."""
    if values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)

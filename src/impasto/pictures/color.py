"""Colours as lightness and chroma: five spaces, the chroma of another picture, and the way back into the gamut.

Everything is float32 from end to end. What a colour space cannot show is never cut off channel by channel, which
would turn hues: chroma gives way to lightness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from kornia.color import (
    lab_to_rgb,
    linear_rgb_to_rgb,
    luv_to_rgb,
    rgb_to_lab,
    rgb_to_linear_rgb,
    rgb_to_luv,
    rgb_to_y,
    rgb_to_ycbcr,
    rgb_to_yuv,
    yuv_to_rgb,
)
from torch import Tensor

Space = Literal["yuv", "ycbcr", "lab", "luv", "oklab"]

LMS = torch.tensor(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    dtype=torch.float64,
)
"""Linear sRGB to cone responses: B. Ottosson, "A perceptual color space for image processing", 2020."""

OKLAB = torch.tensor(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    dtype=torch.float64,
)
"""Cube roots of cone responses to Oklab, ibid."""

SHOULDER = 0.1
"""Width of the soft ends of the tonal range, within which lightness from outside finds room."""

ROUNDING = 1e-4
"""What conversions may leave the range 0..1 by and still be in gamut."""

CHUNK = 2**20
"""Positions worked on at a time."""


def to_space(pixels: Tensor, space: Space) -> Tensor:
    """Lightness (channel 0) and chroma (1 and 2, zero for grey) of pixels `(B, 3, H, W)`; values may leave 0..1.

    Lightness is 0..1 in yuv, ycbcr (both Rec. 601 luma) and oklab, 0..100 in lab and luv (CIE 1976, white D65).
    """
    return _SPACES[space][0](pixels)


def from_space(values: Tensor, space: Space) -> Tensor:
    """Pixels `(B, 3, H, W)` of lightness and chroma; what is out of gamut leaves 0..1 and is not clipped.

    The inverse of `to_space` within 1e-4. Only Lab below Z = −0.018, much darker in blue than any colour, stays there.
    """
    return _SPACES[space][1](values)


def with_chroma_of(pixels: Tensor, content: Tensor, space: Space = "oklab", strength: float = 1.0) -> Tensor:
    """The lightness of `pixels` with the chroma of `content`, both `(1, 3, H, W)` in 0..1, and so is the result.

    `strength`, 0..1, goes from the chroma of `pixels` to that of `content`. Where a lightness has no room for a
    chroma, the chroma becomes smaller by what is needed; its hue stays, by the measure of `space`. With "yuv" and the
    result of a transfer on luminance, this is the last step of L. A. Gatys et al., "Preserving Color in Neural
    Artistic Style Transfer", 2016, section 3.2.
    """

    def combined(pixels: Tensor, content: Tensor) -> Tensor:
        values = to_space(pixels, space)
        values[:, 1:] = values[:, 1:].lerp(to_space(content, space)[:, 1:], strength)
        return _with_less_chroma(values, space)

    return pixelwise(combined, pixels, content)


def luminance(pixels: Tensor) -> Tensor:
    """The luma Y (Rec. 601) of pixels `(B, 3, H, W)`, in all three channels."""
    return rgb_to_y(pixels).repeat(1, 3, 1, 1)


def in_gamut(pixels: Tensor, where: Tensor | None = None) -> Tensor:
    """Pixels `(1, 3, H, W)` of any values, in 0..1: first their luma finds room, then chroma gives way as needed.

    If luma leaves 0..1, its outer tenths bend smoothly until its extremes are 0 and 1, so that what was beyond them
    keeps its detail. Then colours still outside move straight towards the grey of their luma until they touch the
    gamut: the direction from the neutral axis, the hue, stays. Continuous; colours inside, with luma in 0.1..0.9 or
    in a picture whose luma is in range, stay exactly as they are, so a second time changes nothing. Positions where
    `where` `(1, 1, H, W)` is 0 do not bend anything.
    """
    luma = rgb_to_y(pixels)
    visible = luma if where is None else luma.where(where > 0, 0.5)
    lowest, highest = visible.aminmax()

    def inside(pixels: Tensor, luma: Tensor) -> Tensor:
        soft = luma - _excess(luma - (1 - SHOULDER), highest - (1 - SHOULDER))
        soft = (soft + _excess(SHOULDER - luma, SHOULDER - lowest)).clamp(0, 1)
        chroma = pixels - luma
        room = torch.where(chroma > 0, 1 - soft, soft) / chroma.abs().clamp(min=1e-12)
        reach = room.amin(1, keepdim=True).clamp(max=1)
        moved = (reach < 1) | (soft != luma)
        return torch.where(moved, soft + reach * chroma, pixels).clamp(0, 1)  # clamps what was rounded

    return pixelwise(inside, pixels, luma)


def pixelwise(function: Callable[..., Tensor], *pictures: Tensor) -> Tensor:
    """A function of pixels applied to pictures `(1, C, H, W)` of one size in parts `(1, C, 1, N)`, to save memory."""
    result = torch.empty_like(pictures[0], memory_format=torch.contiguous_format)
    rows = [torch.split(picture.flatten(2).unsqueeze(2), CHUNK, dim=3) for picture in (result, *pictures)]
    for target, *parts in zip(*rows, strict=True):
        target.copy_(function(*parts))
    return result


def _excess(beyond: Tensor, furthest: Tensor) -> Tensor:
    """What to take from values `beyond` the shoulder's begin so that `furthest` comes to its end.

    x becomes x / (1 + b x): slope 1 at the begin, rising everywhere, the identity if nothing is too far.
    """
    beyond = beyond.clamp(min=0)
    bend = 1 / SHOULDER - 1 / furthest.clamp(min=SHOULDER)
    return beyond - beyond / (1 + bend * beyond)


def _with_less_chroma(values: Tensor, space: Space) -> Tensor:
    """Pixels `(1, 3, 1, N)` in 0..1 of these lightnesses, with as much of the chroma as there is room for."""
    pixels = from_space(values, space)
    outside = ~_shown(pixels).flatten()
    values = values[..., outside]
    least, most = torch.zeros_like(values[:, :1]), torch.ones_like(values[:, :1])
    for _ in range(16):
        share = (least + most) / 2
        shown = _shown(_with_share_of_chroma(values, share, space))
        least, most = torch.where(shown, share, least), torch.where(shown, most, share)
    pixels[..., outside] = _with_share_of_chroma(values, least, space)
    return pixels.clamp(0, 1)  # what was rounded


def _with_share_of_chroma(values: Tensor, share: Tensor, space: Space) -> Tensor:
    return from_space(torch.cat([values[:, :1], share * values[:, 1:]], 1), space)


def _shown(pixels: Tensor) -> Tensor:
    return ((pixels >= -ROUNDING) & (pixels <= 1 + ROUNDING)).all(1, keepdim=True)


def _to_ycbcr(pixels: Tensor) -> Tensor:
    return rgb_to_ycbcr(pixels) - pixels.new_tensor([0, 0.5, 0.5]).view(3, 1, 1)


def _from_ycbcr(values: Tensor) -> Tensor:
    """Written out because that of kornia clips."""
    luma, blue, red = values.unbind(1)
    red, blue = luma + red / 0.713, luma + blue / 0.564
    return torch.stack([red, (luma - 0.299 * red - 0.114 * blue) / 0.587, blue], 1)


def _from_lab(values: Tensor) -> Tensor:
    return lab_to_rgb(values, clip=False)


def _to_oklab(pixels: Tensor) -> Tensor:
    cones = mixed(rgb_to_linear_rgb(pixels), LMS)
    return mixed(cones.sign() * cones.abs() ** (1 / 3), OKLAB)


def _from_oklab(values: Tensor) -> Tensor:
    return linear_rgb_to_rgb(mixed(mixed(values, OKLAB.inverse()) ** 3, LMS.inverse()))


def mixed(values: Tensor, matrix: Tensor) -> Tensor:
    """A 3×3 matrix times the colours of `(B, 3, H, W)`."""
    return torch.einsum("ij,bjhw->bihw", matrix.to(values.dtype).to(values.device), values)


_SPACES: dict[Space, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "yuv": (rgb_to_yuv, yuv_to_rgb),
    "ycbcr": (_to_ycbcr, _from_ycbcr),
    "lab": (rgb_to_lab, _from_lab),
    "luv": (rgb_to_luv, luv_to_rgb),
    "oklab": (_to_oklab, _from_oklab),
}

"""Colours of a result: whose they are, settled before the work and after it.

Gatys et al., "Preserving Color in Neural Artistic Style Transfer" (2016), and "Controlling Perceptual Factors in Neural
Style Transfer" (CVPR 2017), section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from impasto.errors import UsageError
from impasto.methods.settings import Settings, setting
from impasto.pictures.picture import Picture


class ColorSettings(Settings):
    """Settings of methods whose results may keep the content's colours."""

    keep_color: Literal["none", "luminance", "after", "match"] = setting(
        "none",
        "colour",
        "The content's colours: painting in grey (`luminance`), taking its chroma in the end (`after`), or giving its "
        "colours to the style first (`match`).",
    )
    color_space: Literal["yuv", "ycbcr", "lab", "luv", "oklab"] = setting(
        "oklab", "colour", "In which space `after` takes the content's chroma."
    )
    color_match: Literal["cholesky", "pca", "monge-kantorovich", "histogram", "sliced"] = setting(
        "monge-kantorovich", "colour", "How `match` and --color-only move colours: by moments, or all of them (sliced)."
    )
    color_strength: Annotated[float, Field(ge=0, le=1)] = setting(
        1.0, "colour", "How far --keep-color after or match and --color-only go (0 … 1)."
    )
    color_only: bool = setting(False, "colour", "Take the style's colours alone, and paint nothing.")

    @model_validator(mode="after")
    def _uses_its_options(self) -> Self:
        matches = self.color_only or self.keep_color == "match"
        for field, counts, where in (
            ("color_space", self.keep_color == "after", "--keep-color after"),
            ("color_match", matches, "--keep-color match and --color-only"),
            ("color_strength", matches or self.keep_color == "after", "--keep-color after or match and --color-only"),
        ):
            if not counts and getattr(self, field) != ColorSettings.model_fields[field].default:
                raise ValueError(f"{field}: counts with {where} alone: leave it out")
        return self


def before(content: Picture, styles: Sequence[Picture], settings: ColorSettings) -> tuple[Picture, tuple[Picture, ...]]:
    """Content and styles in the colours in which the work is done."""
    if settings.color_only:
        if len(styles) > 1:
            raise UsageError(f"color_only: takes the colours of one style, {len(styles)} were given")
        return _recolored(content, styles[0], settings), tuple(styles)
    if settings.keep_color == "luminance":
        from impasto.pictures.color_matching import match_luminance

        matched = (match_luminance(one.pixels, content.pixels, one.alpha, content.alpha) for one in styles)
        return (
            start_of(content, settings),
            tuple(replace(one, pixels=pixels) for one, pixels in zip(styles, matched, strict=True)),
        )
    if settings.keep_color == "match":
        return content, tuple(_recolored(one, content, settings) for one in styles)
    return content, tuple(styles)


def start_of(picture: Picture, settings: ColorSettings) -> Picture:
    """A picture to begin with, in grey where the work is done in grey."""
    if settings.keep_color != "luminance":
        return picture
    from impasto.pictures.color import luminance

    return replace(picture, pixels=luminance(picture.pixels))


def after(pixels: Tensor, content: Tensor, settings: ColorSettings) -> Tensor:
    """A result in its own colours; it and the content are `(1, 3, H, W)` in 0..1."""
    if settings.color_only or settings.keep_color not in ("luminance", "after"):
        return pixels
    from impasto.pictures.color import with_chroma_of

    space = "yuv" if settings.keep_color == "luminance" else settings.color_space
    return with_chroma_of(pixels, content, space, settings.color_strength)


def _recolored(picture: Picture, other: Picture, settings: ColorSettings) -> Picture:
    """A picture in the colours of another."""
    from impasto.pictures.color_matching import match_colors

    pixels = match_colors(
        picture.pixels, other.pixels, settings.color_match, settings.color_strength, picture.alpha, other.alpha
    )
    return replace(picture, pixels=pixels)

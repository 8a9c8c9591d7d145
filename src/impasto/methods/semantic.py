"""One picture in the style of another that knows what is where: skin is painted like skin, sky like sky.

Champandard, "Semantic Style Transfer and Turning Two-Bit Doodles into Fine Artworks" (2016), on the patches of Li &
Wand (CVPR 2016). What differs here: maps are compared on a sphere, so that black, grey and white differ; their
strength is relative; even parts are walls; the picture is optimised as in `transfer`, with all its options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from impasto.encoders import load_encoder
from impasto.machine import Machine
from impasto.methods.clusters import FEWEST, MOST, joint_maps
from impasto.methods.maps import GapWords, MapSettings, maps_of, understood_maps
from impasto.methods.patches import SMOOTHER
from impasto.methods.regions import RegionSettings
from impasto.methods.settings import Strength, Words, setting
from impasto.methods.transfer import TransferSettings, transfer
from impasto.methods.work import Work
from impasto.pictures.maps import Maps
from impasto.pictures.picture import Picture

AUTO, NONE = "auto", "none"
FOUND = GapWords(
    "{picture}: nothing in {others} looks like {share:.0%} of it, which is made of whatever is most like it",
    "{picture}: {share:.0%} of it looks like nothing in {others}, and is not used",
)
"""Of maps that were found."""


class SemanticSettings(MapSettings, TransferSettings):
    """Settings of `semantic`."""

    picture_fields: ClassVar[Mapping[str, str]] = {**TransferSettings.picture_fields, "maps": "map"}
    unseen: ClassVar[frozenset[str]] = frozenset(RegionSettings.model_fields) | {
        "style_loss",
        "style_weights",
        "mix",
        "color_only",
    }

    maps: Words = setting(
        (AUTO,),
        "maps",
        "Maps of the content and of each style: a.png,b.png; `auto` finds what looks alike, auto:4 four parts; `none`.",
        common=True,
    )
    smoothness: Strength = setting(SMOOTHER, "style", "How strongly noise is suppressed (0 … 1000).")
    style_loss: Literal["patches"] = setting("patches", "style", "What of the style is compared: patches.")

    @property
    def parts(self) -> int | None:
        """How many parts automatic maps are to have; None for as many as stand out, and for other maps."""
        number = self.maps[0].removeprefix(AUTO).removeprefix(":")
        return int(number) if self.has_automatic_maps and number else None

    @property
    def has_automatic_maps(self) -> bool:
        return _is_automatic(self.maps[0])

    @model_validator(mode="after")
    def _counts_parts(self) -> Self:
        if self.has_automatic_maps:
            number = self.maps[0].removeprefix(AUTO).removeprefix(":") or str(FEWEST)
            if len(self.maps) > 1 or not number.isdecimal() or not FEWEST <= int(number) <= MOST:
                raise ValueError(f"maps: {AUTO} stands alone, or with {FEWEST} to {MOST} parts, as in {AUTO}:4")
        return self

    @model_validator(mode="after")
    def _lets_all_settings_act(self) -> Self:
        idle = self.unusual(MapSettings.model_fields)
        if idle and self.maps == (NONE,):
            raise ValueError(f"{', '.join(idle)}: count with maps alone: leave them out, or {NONE} for maps")
        return self

    @model_validator(mode="after")
    def _says_what_is_where(self) -> Self:
        if self.has_regions:
            raise ValueError(
                "masks and segmentation: say what is where with maps, or use transfer --style-loss patches"
            )
        if self.color_only:
            raise ValueError("color_only: paints nothing, and has no use for maps: use transfer --color-only")
        return self

    def _path_of(self, field: str, word: str) -> str:
        is_path = field != "maps" or not (word == NONE or _is_automatic(word))
        return super()._path_of(field, word) if is_path else ""


def _is_automatic(word: str) -> bool:
    return word == AUTO or word.startswith(f"{AUTO}:")


def semantic(
    content: Picture,
    styles: Sequence[Picture],
    settings: SemanticSettings,
    machine: Machine,
    pictures: Mapping[str, Picture] | None = None,
    known: dict[Any, Any] | None = None,
) -> Work:
    """Repaint `content` in the manner of `styles`, patch by patch, each from where the same is.

    Raises `UsageError` as `transfer` does, and for maps that make no sense.
    """
    maps = None
    if settings.has_automatic_maps:
        maps = _automatic_maps(content, styles, settings, machine)
    elif settings.maps != (NONE,):
        own, *theirs = maps_of(settings, "maps", pictures or {}, [content, *styles])
        maps = understood_maps(own, theirs, settings)
    return transfer(content, styles, settings, machine, pictures, known, maps=maps, map_strength=settings.map_strength)


def _automatic_maps(content: Picture, styles: Sequence[Picture], settings: SemanticSettings, machine: Machine) -> Maps:
    """Of what looks alike; warns of what does so on one side only."""
    encoder = load_encoder(settings.encoder, pooling=settings.pooling, device=machine.device)
    pictures = [content, *styles]
    found = joint_maps(encoder, pictures, settings.parts, settings.seed)
    own, *theirs = (replace(one, name=picture.name) for one, picture in zip(found, pictures, strict=True))
    return understood_maps(own, theirs, settings, FOUND)

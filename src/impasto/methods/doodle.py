"""A painting from a doodle: a few colours say what is where, and all is painted as in a work with such a map.

Champandard, "Semantic Style Transfer and Turning Two-Bit Doodles into Fine Artworks" (2016), section 4: the style loss
with maps alone, an image analogy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from impasto.errors import UsageError
from impasto.machine import Machine
from impasto.methods import numbered
from impasto.methods.maps import MapSettings, files_of, joined, maps_of, understood_maps
from impasto.methods.optimisation import OptimisationSettings
from impasto.methods.patches import SMOOTHER, PatchSettings
from impasto.methods.settings import Layers, Paths, Strength, setting
from impasto.methods.start import StartSettings
from impasto.methods.transfer import TransferSettings, transfer
from impasto.methods.work import Work
from impasto.pictures.picture import Picture


class DoodleSettings(MapSettings, PatchSettings, StartSettings, OptimisationSettings):
    """Settings of `doodle`."""

    picture_fields: ClassVar[Mapping[str, str]] = {
        **StartSettings.picture_fields,
        "style_map": "style_map",
        "layout_also": "layout_also",
    }

    layout_also: Paths | None = setting(
        None, "maps", "More files of the doodle, where it is several, such as masks: water.png,boat.png."
    )
    style_map: Paths | None = setting(
        None, "maps", "The map of each style, in the doodle's colours: style-map.png.", common=True
    )
    size: Annotated[int, Field(ge=16, le=65_536)] | Literal["full"] = setting(
        512, "picture", "Longest side of the result, in pixels (16 …), or `full`: the doodle's own size.", common=True
    )
    style_scale: Annotated[float, Field(ge=0.05, le=20)] = setting(
        1.0, "style", "Size of the strokes (0.05 … 20; 1: the style picture as large as the doodle).", common=True
    )
    style_layers: Layers | None = setting(
        None, "style", "Layers whose patches are compared, with weights (default: relu3_1 and relu4_1)."
    )
    pixel_art: bool = setting(False, "style", "The styles are pixel art: enlarged, their pixels stay squares.")
    map_strength: Annotated[float, Field(ge=0, le=100)] = setting(
        3.0,
        "maps",
        "How much maps count beside what is seen (0 … 100; 1: as much; from there on even parts are walls).",
        common=True,
    )
    smoothness: Strength = setting(SMOOTHER, "style", "How strongly noise is suppressed (0 … 1000).")
    start: str = setting("noise", "picture", "Where to begin: `noise`, `style`, `gray` or the path of a picture.")
    coarsest: Annotated[int, Field(ge=16, le=65_536)] = setting(
        64, "optimisation", "Longest side of the first scale, in pixels (16 …)."
    )

    @model_validator(mode="after")
    def _begins_somewhere(self) -> Self:
        if self.start == "content":
            raise ValueError("start: a doodle has no content to begin with: use noise, style, gray or a picture's path")
        return self


def doodle(
    layout: Picture,
    styles: Sequence[Picture],
    settings: DoodleSettings,
    machine: Machine,
    pictures: Mapping[str, Picture] | None = None,
    known: dict[Any, Any] | None = None,
) -> Work:
    """Paint what a `layout` says as `styles` have it, whose maps are in `pictures`.

    Raises `UsageError` as `transfer` does, and for maps that are not there or make no sense.
    """
    pictures = pictures or {}
    count = sum(len(files_of(word)) for word in settings.layout_also or ())
    layout = joined([layout, *(pictures[role] for role in numbered("layout_also", count))])
    if settings.style_map is None:
        raise UsageError(
            f"doodle needs a map of {styles[0].name}, in the colours of {layout.name}: give it as --style-map"
        )
    theirs = maps_of(settings, "style_map", pictures, styles)
    maps = understood_maps(layout, theirs, settings)
    own = settings.model_dump(exclude=MapSettings.model_fields.keys() | {"style_map", "layout_also"})
    return transfer(
        _canvas(layout),
        styles,
        TransferSettings.of(**own, style_loss="patches", content_strength=0.0),
        machine,
        pictures,
        known,
        maps=maps,
        map_strength=settings.map_strength,
    )


def _canvas(layout: Picture) -> Picture:
    """What a layout of any channels is as a picture: its shape and what is transparent."""
    return replace(layout, pixels=layout.pixels.new_zeros(1, 3, layout.height, layout.width))

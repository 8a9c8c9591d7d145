"""What a film is painted by: settings of time beside all those of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from impasto.errors import UsageError, counted
from impasto.methods.blend import MixtureSettings
from impasto.methods.maps import MapSettings
from impasto.methods.settings import Strength, Words, setting, words_of
from impasto.methods.transfer import TransferSettings

NONE = "none"
ESTIMATED = ("dis", "half", "fast")
"""Ways to find flows; others are names of files."""
OF_BLENDS = ("character", "shrinkage", "max_works", "joint")
"""Settings of mixtures alone."""
OF_MAPS = tuple(MapSettings.model_fields)
"""Settings of maps alone."""
OF_WHOLE_FILMS = ("between", "passes", "loop")
"""Settings of films that are there from the first frame to the last."""


def _check_distances(distances: tuple[int, ...]) -> tuple[int, ...]:
    if list(distances) != sorted({*distances}) or distances[0] != 1:
        raise ValueError("needs rising whole numbers from 1 on, such as 1,2,4")
    return distances


def _check_times(times: tuple[float, ...]) -> tuple[float, ...]:
    if list(times) != sorted(times):
        raise ValueError("needs rising times, in seconds, such as 0,4")
    return times


def _numbers(value: Any) -> Any:
    """Numbers from `"0s,4s"`, or a sequence of them as it is."""
    return [word.removesuffix("s") for word in words_of(value)] if isinstance(value, str) else value


Distances = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1000)], ...],
    BeforeValidator(_numbers),
    AfterValidator(_check_distances),
]
Times = Annotated[
    tuple[Annotated[float, Field(ge=0)], ...],
    BeforeValidator(_numbers),
    AfterValidator(_check_times),
]


class FilmSettings(MapSettings, MixtureSettings, TransferSettings):
    """Settings of `film`."""

    picture_fields: ClassVar[Mapping[str, str]] = {**TransferSettings.picture_fields, "maps": "map"}

    temporal_strength: Strength = setting(
        1.0, "time", "How strongly what was seen before stays as it was (0 … 1000).", common=True
    )
    frame_steps: Annotated[int, Field(ge=1, le=100_000)] = setting(
        7,
        "time",
        "Steps for each frame after the first of its shot, twice as many at half the size (1 …).",
        common=True,
    )
    frame_start: Literal["warped", "previous", "frame"] = setting(
        "warped", "time", "Where such a frame begins: the last painted one moved along (`warped`) or not, or itself."
    )
    distances: Distances = setting(
        (1,), "time", "How many frames back are compared, as in 1,10,20: the nearest that shows a place counts."
    )
    flow: Annotated[str, Field(min_length=1)] = setting(
        "dis",
        "time",
        "Motion by `dis`, `half` (at half the size), `fast`, or files: flow_{}_{}.flo, frames from and to.",
    )
    flow_cache: Annotated[str, Field(min_length=1)] | None = setting(
        None, "time", "Keeps motion in a folder, to be used again by another style or after changes."
    )
    cuts: Annotated[str, Field(min_length=1)] = setting(
        "auto", "time", "Where shots begin: found (`auto`), `none`, or a file of frame numbers or times like 3.5s."
    )
    between: Times | None = setting(
        None, "time", "Only a part of the film, from one time to another, in seconds: 2,5.", common=True
    )
    rate: Annotated[float, Field(gt=0, le=1000)] | None = setting(
        None, "time", "Frames a second of numbered pictures (default: 25); other films know their own."
    )
    passes: Annotated[int, Field(ge=1, le=1000)] = setting(
        1, "time", "How often the film is gone through, to and fro (1 …): 3 removes what came into view half painted."
    )
    loop: bool = setting(False, "time", "The last frame is followed by the first, as in a GIF; needs 2 passes or more.")
    style_times: Times | None = setting(
        None, "time", "When each style is reached, in seconds: 0,4; between them one turns into the next."
    )
    character: Annotated[float, Field(ge=0, le=1)] = setting(
        0.0, "style", "With --blend: from the style nearest to the film (0) to the mean of all works (1)."
    )
    shrinkage: Annotated[float, Field(ge=0, le=1000)] = setting(
        0.01, "style", "With --blend: how much more works than the nearest take part (0 … 1000)."
    )
    map_strength: Annotated[float, Field(ge=0, le=100)] = setting(
        1.0, "maps", "With --maps: how much they count beside what is seen (0 … 100; from 1 on even parts are walls)."
    )
    blend: bool = setting(
        False, "style", "The style that all of them share, nearest to the first frame of each shot, as `blend`."
    )
    maps: Words = setting(
        (NONE,), "maps", "Maps for --style-loss patches: of the film (a film or folder), and of each style; or `none`."
    )

    @property
    def has_maps(self) -> bool:
        return self.maps != (NONE,)

    @model_validator(mode="after")
    def _has_a_beginning_and_an_end(self) -> Self:
        if self.between is not None and (len(self.between) != 2 or self.between[0] == self.between[1]):
            raise ValueError("between: needs two times, the first one earlier, such as 2,5")
        if self.loop and self.passes == 1:
            raise ValueError("loop: is closed by going through the film again: add --passes 3")
        if self.passes > 1 and self.blend:
            raise ValueError("blend: has a mixture for each shot, and is painted in one pass: leave out passes")
        return self

    @model_validator(mode="after")
    def _is_one_style(self) -> Self:
        if self.blend and (self.has_regions or self.has_maps or self.style_loss == "patches" or self.color_only):
            raise ValueError("blend: paints the whole film in one style: leave out masks, maps, patches and color_only")
        if self.blend and self.style_times is not None:
            raise ValueError("style_times: a blend has one style; leave out one of the two")
        if self.blend and self.mix == "losses" and not self.joint:
            raise ValueError("mix: losses need the same weights for all layers: add joint, or leave it out")
        return self

    @model_validator(mode="after")
    def _compares_patches(self) -> Self:
        if self.has_maps and self.style_loss != "patches":
            raise ValueError("maps: say where patches come from: add --style-loss patches")
        if self.has_maps and self.has_regions:
            raise ValueError("masks and segmentation: say what is where with maps, or leave maps out")
        if self.style_times is not None and (self.style_weights is not None or self.style_loss == "patches"):
            raise ValueError("style_times: says how styles are mixed: leave out style_weights and patches")
        return self

    @model_validator(mode="after")
    def _lets_all_settings_act(self) -> Self:
        for option, is_there, names in (("blend", self.blend, OF_BLENDS), ("maps", self.has_maps, OF_MAPS)):
            idle = self.unusual(names)
            if idle and not is_there:
                raise ValueError(f"{', '.join(idle)}: count with --{option} alone: add it, or leave them out")
        if self.flow_cache is not None and self.flow not in ESTIMATED:
            found = ", ".join(ESTIMATED)
            raise ValueError(f"flow_cache: keeps motion of {found}, and flow names files: leave out one of the two")
        return self

    @property
    def files(self) -> dict[str, Path]:
        named = {"cuts": self.cuts, "flow": self.flow, "flow_cache": self.flow_cache}
        words = (NONE, "auto", *ESTIMATED)
        return {field: Path(word) for field, word in named.items() if word is not None and word not in words}

    def _path_of(self, field: str, word: str) -> str:
        return "" if field == "maps" and word == NONE else super()._path_of(field, word)

    def at(self, time: float, styles: int) -> FilmSettings:
        """The settings at a time, in seconds, with the shares that the styles have then.

        Raises `UsageError` for a wrong number of times.
        """
        if self.style_times is None:
            return self
        if len(self.style_times) != styles:
            raise UsageError(
                f"style_times: {counted(len(self.style_times), 'time')} for {counted(styles, 'style')}: "
                "give one for each"
            )
        shares = [float(np.interp(time, self.style_times, row)) for row in np.eye(styles)]
        return self.changed(style_times=None, style_weights=tuple(shares))

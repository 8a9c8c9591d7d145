"""Maps of what is where, as settings and as they are understood."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from impasto.errors import UsageError, counted
from impasto.methods import numbered
from impasto.methods.regions import check_aspect
from impasto.methods.settings import Named, Settings, setting
from impasto.pictures.maps import EVERYWHERE, MapKind, Maps, is_grey, understood
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize_mask

BESIDE = "+"
"""Between the paths of several files that are one map together."""


class MapSettings(Settings):
    """Settings of methods that know what is where."""

    map_roles: ClassVar[frozenset[str]] = frozenset({"map", "style_map", "layout", "layout_also"})

    map_strength: Annotated[float, Field(ge=0, le=100)] = setting(
        1.0,
        "maps",
        "How much maps count beside what is seen (0 … 100; 1: as much; from there on even parts are walls).",
        common=True,
    )
    map_kind: MapKind = setting(
        "auto", "maps", "What a map's values mean: `colours`, the more alike the nearer, or `labels`, equal or not."
    )
    match: Named | None = setting(
        None, "maps", "Parts of the content's map that have another name in the styles': sky:blue,#40ff00:red."
    )

    def _paths_in(self, field: str, word: str) -> list[str]:
        paths = super()._paths_in(field, word)
        return [part for path in paths for part in files_of(path)]


def files_of(word: str) -> list[str]:
    """The paths in a word: `sky.png+skin.png` are two, unless there is a file of that name; raises `UsageError`."""
    found = [word] if Path(word).exists() else word.split(BESIDE)
    if word and not all(found):
        raise UsageError(f"{word}: has nothing on one side of a {BESIDE}: name a file there, or leave it out")
    return found


def maps_of(
    settings: MapSettings, field: str, pictures: Mapping[str, Picture], shapes: Sequence[Picture]
) -> list[Picture]:
    """The maps that a field of the settings names, one for each of some pictures, whose shapes they need to have.

    Raises `UsageError` for a wrong number of maps, and for one of another shape.
    """
    role, words = settings.picture_fields[field], getattr(settings, field)
    if len(words) != len(shapes):
        raise UsageError(
            f"{field}: {counted(len(words), 'map')} for {counted(len(shapes), 'picture')}: give one for each, with "
            f"{BESIDE} between several files of one"
        )
    counts = [len(files_of(word)) for word in words]
    files: Iterator[Picture] = (pictures[one] for one in numbered(role, sum(counts)))
    found = [joined([*islice(files, count)]) for count in counts]
    for one, shape in zip(found, shapes, strict=True):
        check_aspect(one, shape, "map")
    return found


@dataclass(frozen=True)
class GapWords:
    """What is said of a part that is on one side only: templates of `picture`, `part`, `share`, `others`."""

    of_content: str
    of_style: str


DRAWN = GapWords(
    "{picture}: {part}, {share:.0%} of it, is in no map of a style, so that it is made of whatever looks most like it; "
    "say what it is with --match",
    "{picture}: {part}, {share:.0%} of it, is not in {others}, so that nothing is made of it",
)
"""Of maps that somebody made."""


def understood_maps(
    content: Picture, styles: Sequence[Picture], settings: MapSettings, words: GapWords = DRAWN
) -> Maps:
    """What maps say; warns of parts that are on one side only, raises `UsageError` as `understood` does."""
    maps = understood(content, styles, settings.map_kind, settings.match)
    unlike = [one for one in styles if is_grey(one) != is_grey(content)]
    if unlike and maps.labels is not None and bool((maps.labels == EVERYWHERE).any()):
        grey, coloured = (content, unlike[0]) if is_grey(content) else (unlike[0], content)
        warnings.warn(
            f"{grey.name} is grey and {coloured.name} has colours, and only equal ones are the same part: say which "
            "are with --match",
            stacklevel=2,
        )
        return maps
    for gap in maps.gaps:
        picture, template = (content, words.of_content) if gap.number is None else (styles[gap.number], words.of_style)
        others = " or ".join(one.name for one in styles) if gap.number is None else content.name
        message = template.format(picture=picture.name, part=gap.part.name, share=gap.part.share, others=others)
        warnings.warn(message, stacklevel=2)
    return maps


def joined(files: Sequence[Picture]) -> Picture:
    """Several maps as one, of all their channels; grey ones have one each. Raises `UsageError` for another shape."""
    if len(files) == 1:
        return files[0]
    first = files[0]
    for one in files[1:]:
        check_aspect(one, first, "map")
    channels = [resize_mask(_channels(one), first.height, first.width) for one in files]
    return replace(first, pixels=torch.cat(channels, 1), alpha=None, name=BESIDE.join(one.name for one in files))


def _channels(picture: Picture) -> Any:
    return picture.pixels[:, :1] if is_grey(picture) else picture.pixels

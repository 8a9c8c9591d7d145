"""Semantic maps: what is where in a picture and in others, by colours, labels or whatever numbers there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from impasto.errors import UsageError, near_match
from impasto.pictures.picture import Picture
from impasto.pictures.regions import Segment, alike, segments, stacked_segments
from impasto.pictures.resize import resize_mask

MapKind = Literal["auto", "colours", "labels"]
"""What a map's values mean: `colours` are the more alike the nearer they are, `labels` are equal or not."""

EVERYWHERE, NOWHERE = -1, -2
"""Labels of what may match anything, and of what nothing may match."""
MOST_COLOURS = 1000
"""In a map, at 5 bits a channel; photographs have more, and no even parts."""
RELATED = 96
"""Largest difference per channel (0..255) of colours that mean something similar."""
LARGEST_NUMBER = 64 / 255
"""Range of values within which they are numbers of labels, and no shades."""


@dataclass(frozen=True, eq=False)
class Gap:
    """A `part` of a map that has no like: of the content's, so that anything may be it, or of a style's `number`."""

    part: Segment
    number: int | None = None


@dataclass(frozen=True, eq=False)
class Maps:
    """What is where in a content and in styles: vectors of length 1 `(1, M, H, W)`, of any size.

    `labels` `(1, 1, H, W)`, int16, are there if all maps have even parts: numbers of the content's, `EVERYWHERE` and
    `NOWHERE`; `names` are what they are called, `gaps` those that are on one side only.
    """

    content: Tensor
    styles: tuple[Tensor, ...]
    labels: Tensor | None = None
    style_labels: tuple[Tensor, ...] = ()
    names: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()


def understood(
    content: Picture,
    styles: Sequence[Picture],
    kind: MapKind = "auto",
    match: Mapping[str, str] | None = None,
) -> Maps:
    """What maps of a content and of styles say; `match` names a style's label for each of the content's that differs.

    Raises `UsageError` for maps of different channels, for photographs that are no maps, and for names of labels that
    there are not.
    """
    channels = {picture.pixels.shape[1] for picture in (content, *styles)}
    if len(channels) > 1:
        counts = ", ".join(f"{one.name} has {one.pixels.shape[1]} channels" for one in (content, *styles))
        raise UsageError(f"maps: {counts}: all need the same")
    parts = [_segments_of(picture, kind, match) for picture in (content, *styles)]
    if any(one is None for one in parts):
        return Maps(*_spherical([_values_of(picture) for picture in (content, *styles)]))
    own, *theirs = (one for one in parts if one is not None)
    known, of_styles = _Names([content], [own]), _Names(styles, theirs)
    named = {
        known.meant(name, f"{content.name} has no"): of_styles.meant(other, "no map of a style has")
        for name, other in (match or {}).items()
    }
    labels, style_labels, gaps = _matched(own, theirs, named)
    names = tuple(segment.name for segment in own)
    if kind == "labels" or match or (kind == "auto" and _are_numbers((content, *styles))):
        values = [_one_hot(one, len(own)) for one in (labels, *style_labels)]
    else:
        values = [_values_of(picture) for picture in (content, *styles)]
    return Maps(*_spherical(values), labels, tuple(style_labels), names, gaps)


def labels_at(labels: Tensor, height: int, width: int) -> Tensor:
    """The labels `(height, width)` that take up most of the area that each position stands for."""
    known: Tensor = labels.unique()  # type: ignore[no-untyped-call]
    shares = [resize_mask((labels == one).float(), height, width)[0, 0] for one in known]
    found: Tensor = known[torch.stack(shares).argmax(0)]
    return found


def is_grey(picture: Picture) -> bool:
    """Whether it has three channels that are the same."""
    return picture.pixels.shape[1] == 3 and bool((picture.pixels == picture.pixels[:, :1]).all())


def on_a_sphere(maps: Sequence[Tensor]) -> list[Tensor]:
    """Maps `(1, M, H, W)` of equal channels with one more, so that all their vectors have length 1.

    Products of vectors are then as high as the vectors are near, whatever the channels: black, grey and white differ.
    """
    lowest = torch.stack([one.amin((0, 2, 3)) for one in maps]).amin(0)
    highest = torch.stack([one.amax((0, 2, 3)) for one in maps]).amax(0)
    middle = ((lowest + highest) / 2)[None, :, None, None]
    centred = [one - middle for one in maps]
    radius = max(float(one.square().sum(1).max()) for one in centred) ** 0.5 or 1.0
    return [
        torch.cat((one, (radius**2 - one.square().sum(1, keepdim=True)).clamp(min=0).sqrt()), 1) / radius
        for one in centred
    ]


def _spherical(values: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    content, *styles = on_a_sphere(values)
    return content, tuple(styles)


def _values_of(picture: Picture) -> Tensor:
    """A map's channels; what is transparent is a channel, too."""
    return picture.pixels if picture.alpha is None else torch.cat((picture.pixels, picture.alpha), 1)


def _segments_of(picture: Picture, kind: MapKind, match: Mapping[str, str] | None) -> list[Segment] | None:
    """The even parts of a map; None if it has none and need not have any."""
    if picture.pixels.shape[1] != 3:
        found = stacked_segments(picture)
        if found is None and (kind == "labels" or match):
            raise UsageError(
                f"{picture.name}: is an array of numbers, or soft masks, and has no labels that could be matched: "
                "give one picture in a few colours"
            )
        return found
    try:
        return segments(picture)
    except UsageError as error:
        if kind == "labels" or match:
            raise
        if kind == "auto" and (colours := _count_of_colours(picture)) > MOST_COLOURS:
            raise UsageError(
                f"{picture.name}: has {colours:,} colours and no even parts, so it is a photograph and no map: paint "
                "one in a few colours, or let --maps auto make one"
            ) from error
        return None


def _count_of_colours(picture: Picture) -> int:
    levels = (picture.pixels[0] * 31.99).int()
    return len(torch.unique(levels[0] * 1024 + levels[1] * 32 + levels[2]))


def _are_numbers(pictures: Sequence[Picture]) -> bool:
    """Whether maps are grey, and darker than any shade that is meant to be seen."""
    return all(is_grey(one) and float(one.pixels.max()) <= LARGEST_NUMBER for one in pictures)


def _matched(
    own: Sequence[Segment], theirs: Sequence[Sequence[Segment]], match: Mapping[str, str]
) -> tuple[Tensor, list[Tensor], tuple[Gap, ...]]:
    """Labels of the content, numbers of its segments, and the same for what is equal to them in styles; what is not.

    Segments with the same counterpart have the lowest of their numbers.
    """
    number_of, matched = [*range(len(own))], set[int]()
    of_parts: list[dict[str, int]] = []
    for parts in theirs:
        first: dict[str, int] = {}
        for number, segment in enumerate(own):
            partner = _counterpart(segment, parts, own, match)
            if partner is not None:
                number_of[number] = number_of[first.setdefault(partner.name, number)]
                matched.add(number)
        of_parts.append(first)
    found = []
    for parts, numbers in zip(theirs, of_parts, strict=True):
        known = {name: number_of[number] for name, number in numbers.items()}
        found.append(_painted(parts, [known.get(part.name, len(own)) for part in parts], NOWHERE))
    labels = [number_of[number] if number in matched else EVERYWHERE for number in range(len(own))]
    alone = [segment for number, segment in enumerate(own) if number not in matched]
    return _painted(own, labels, EVERYWHERE), found, tuple(_gaps(alone, theirs, of_parts))


def _gaps(
    alone: Sequence[Segment], theirs: Sequence[Sequence[Segment]], of_parts: Sequence[Mapping[str, int]]
) -> Iterator[Gap]:
    """Of the content what has not even a related colour in a style; if it has all it needs, the rest of the styles."""
    for segment in alone:
        if min(segment.distance(part) for parts in theirs for part in parts) > RELATED:
            yield Gap(segment)
    if not alone:
        for number, (parts, known) in enumerate(zip(theirs, of_parts, strict=True)):
            yield from (Gap(part, number) for part in parts if part.name not in known)


class _Names:
    """What the parts of maps may be called: by name, by colour in other words, or by the number of a label."""

    def __init__(self, pictures: Sequence[Picture], parts: Sequence[Sequence[Segment]]) -> None:
        self.names = list(dict.fromkeys(part.name for own in parts for part in own))
        self.by_number: dict[str, str] = {}
        for picture, own in zip(pictures, parts, strict=True):
            for number, name in _numbers(picture, own):
                self.by_number.setdefault(str(number), name)

    def meant(self, word: str, lacking: str) -> str:
        """The name of the part that a word means; raises `UsageError`, which begins with what is `lacking`."""
        found = word if word in self.names else self.by_number.get(word, alike(word, self.names))
        if found is None:
            near = near_match(word, self.names)
            raise UsageError(f"match: {lacking} {word}{near}; there are {', '.join(self.names)}")
        return found


def _numbers(picture: Picture, parts: Sequence[Segment]) -> Iterator[tuple[int, str]]:
    """Of a map with a palette the numbers in its file, else grey values, with the names of what they stand for."""
    if picture.palette:
        names = {part.colour: part.name for part in parts}
        yield from ((number, names[colour]) for number, colour in enumerate(picture.palette) if colour in names)
    else:
        yield from ((part.colour[0], part.name) for part in parts if len(set(part.colour)) == 1)


def _counterpart(
    segment: Segment, parts: Sequence[Segment], own: Sequence[Segment], match: Mapping[str, str]
) -> Segment | None:
    if segment.name in match:
        return next((part for part in parts if part.name == match[segment.name]), None)
    return segment.counterpart(parts, own)


def _painted(parts: Sequence[Segment], numbers: Sequence[int], rest: int) -> Tensor:
    labels = torch.full(parts[0].mask.shape, rest, dtype=torch.int16)
    for part, number in zip(parts, numbers, strict=True):
        labels[part.mask] = number
    return labels


def _one_hot(labels: Tensor, count: int) -> Tensor:
    """`(1, count, H, W)`."""
    return torch.cat([(labels == number).float() for number in range(count)], 1)

"""Regions of a picture: the settings that describe them, and what they come to.

Masked ("weighted") transfer after Chan & Bhargava (2016), spatial control after Gatys et al., "Controlling Perceptual
Factors in Neural Style Transfer" (CVPR 2017), section 4. Masks act inside the network; every region's style is
measured over the region alone, so that its size does not matter.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from impasto.errors import UsageError, counted, near_match
from impasto.losses import Shares
from impasto.methods import numbered
from impasto.methods.settings import Named, Paths, Settings, Strengths, setting
from impasto.pictures.picture import Picture
from impasto.pictures.regions import Guidance, Segment, alike, feathered, is_colour, mask_of, segments, without_overlap
from impasto.pictures.resize import resize_mask

T = TypeVar("T")

INVERTED = "not:"
"""Before the path of a mask that is to be turned round."""
KEEP = "keep"
REST = "rest"
"""What no region covers."""
EVERYWHERE = torch.ones(1, 1, 1, 1)
"""The mask of all of a picture."""
NOTHING = 1e-3
"""A mask that is nowhere above it is rounding."""
SAME_ASPECT = 0.02
"""Largest relative difference between the aspects of a picture and its mask."""


class RegionSettings(Settings):
    """Settings of methods that can treat parts of a picture differently."""

    picture_fields: ClassVar[Mapping[str, str]] = {
        "masks": "mask",
        "segmentation": "segmentation",
        "style_segmentations": "style_segmentation",
    }

    masks: Paths | None = setting(
        None, "regions", "A grey mask for each style, white where it acts: a.png,not:a.png (`not:` turns it round)."
    )
    segmentation: Annotated[str, Field(min_length=1)] | None = setting(
        None, "regions", "Colour-coded map of the content; each colour is a region."
    )
    style_segmentations: Paths | None = setting(
        None, "regions", "Such a map for each style: a region takes what has its own colour there."
    )
    region_styles: Named | None = setting(
        None, "regions", "Styles of a segmentation's regions, by number: blue:1,#40ff00:2,red:keep."
    )
    region_strengths: Strengths | None = setting(
        None, "regions", "Style strength of single regions, times the strength of all: sky:0.5,ground:2."
    )
    region_content: Strengths | None = setting(
        None, "regions", "Content strength of single regions, times that of all: face:4."
    )
    rest: Literal["keep", "last"] = setting(
        "keep", "regions", "What no region covers: keeps the content (`keep`), or has the last style (`last`)."
    )
    feather: Annotated[float, Field(ge=0, le=0.5)] = setting(
        0.0, "regions", "Softens the edges of regions: a share of the longest side (0 … 0.5)."
    )
    guidance: Guidance = setting(
        "inside", "regions", "Where a region acts in deep layers: what sees nothing else (`inside`), `simple` or `all`."
    )

    @model_validator(mode="after")
    def _names_masks(self) -> Self:
        if INVERTED in (self.masks or ()):
            raise ValueError(f"masks: {INVERTED} needs the mask's file right after it, as in {INVERTED}sky.png")
        return self

    def _path_of(self, field: str, word: str) -> str:
        return word.removeprefix(INVERTED) if field == "masks" else super()._path_of(field, word)

    @property
    def has_regions(self) -> bool:
        return self.masks is not None or self.segmentation is not None

    def without_regions(self) -> Self:
        """The same for a picture that is everywhere treated alike."""
        return self.changed(**{name: field.default for name, field in RegionSettings.model_fields.items()})


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the content and what happens there.

    `mask` is `(1, 1, H, W)`, bool or 0..1, of any size. `styles` are indices of styles, none where the content stays;
    `style_masks`, one for each of them, say which part of it counts (None: all), `shares`, of sum 1, how much, in all
    layers or by layer. `strength` and `content` are factors of the strengths of style and content.
    """

    name: str
    mask: Tensor
    styles: tuple[int, ...]
    style_masks: tuple[Tensor | None, ...]
    shares: Shares = ()
    strength: float = 1.0
    content: float = 1.0

    @classmethod
    def everything(cls, styles: Sequence[int], style_masks: Sequence[Tensor | None], shares: Shares) -> Self:
        """The whole picture as one region."""
        return cls("everything", EVERYWHERE, tuple(styles), tuple(style_masks), shares)

    @property
    def is_everything(self) -> bool:
        return self.mask is EVERYWHERE


def understood(
    settings: RegionSettings,
    content: Picture,
    styles: Sequence[Picture],
    pictures: Mapping[str, Picture],
    moving: Collection[str] = (),
) -> tuple[Region, ...]:
    """The regions that settings and the pictures they name describe; none if they speak of none.

    `pictures` by role: mask, mask2 …, segmentation, style_segmentation …; of those `moving`, which are others in each
    frame of a film, regions may be absent. Raises `UsageError` for whatever does not fit together, and warns of masks
    that are resized and of colours that occur in a style alone.
    """
    refuse_contradictions(settings)
    if settings.masks is not None:
        found = _of_masks(settings.masks, pictures, content, styles, moving)
    elif settings.segmentation is not None:
        maps = [pictures[role] for role in numbered("style_segmentation", len(settings.style_segmentations or ()))]
        comes_and_goes = "segmentation" in moving
        found = _of_segmentation(settings, pictures["segmentation"], maps, content, styles, comes_and_goes)
    else:
        return ()
    names = [region.name for region in found]
    strengths, contents = (
        _by_region(field, values, names, bool(moving))
        for field, values in (
            ("region_strengths", settings.region_strengths),
            ("region_content", settings.region_content),
        )
    )
    regions = tuple(
        replace(region, strength=strengths.get(region.name, 1.0), content=contents.get(region.name, 1.0))
        if strengths.get(region.name, 1.0) > 0
        else replace(region, styles=(), style_masks=(), content=contents.get(region.name, 1.0))
        for region in found
    )
    present = tuple(region for region in regions if bool(region.mask.any()))
    if moving and not any(region.styles for region in present):
        return (_without_regions(settings, styles),)
    if not any(region.styles for region in regions):
        field = "region_strengths" if any(region.styles for region in found) else "region_styles"
        raise UsageError(f"{field}: every region keeps the content, so that there is nothing to paint")
    return present


def _without_regions(settings: RegionSettings, styles: Sequence[Picture]) -> Region:
    """What a frame is in which none of the regions is that have a style."""
    if settings.rest == "keep":
        return Region(REST, EVERYWHERE.clone(), (), ())
    return Region.everything((len(styles) - 1,), (None,), ())


def at_scale(regions: Sequence[Region], settings: RegionSettings, height: int, width: int) -> list[Region]:
    """The regions with masks of a scale's size: feathered, without overlap, and one more for the rest if it is kept."""
    radius = settings.feather * max(height, width)
    masks = without_overlap([feathered(resize_mask(r.mask.float(), height, width), radius) for r in regions])
    left = (1 - sum(masks[1:], start=masks[0])).clamp(min=0)
    scaled = [replace(region, mask=mask) for region, mask in zip(regions, masks, strict=True)]
    if settings.rest == "last":
        last = max(range(len(scaled)), key=lambda i: max(scaled[i].styles, default=-1))
        scaled[last] = replace(scaled[last], mask=scaled[last].mask + left)
        return scaled
    if float(left.max()) < NOTHING:
        return scaled
    content = (settings.region_content or {}).get(REST, 1.0)
    return [*scaled, Region(REST, left, (), (), content=content)]


def kept(regions: Sequence[Region]) -> Tensor | None:
    """Where scaled regions leave the content as it is, `(1, 1, H, W)`; None if they do so nowhere."""
    masks = [region.mask for region in regions if not region.styles]
    return sum(masks[1:], start=masks[0]) if masks else None


def refuse_contradictions(settings: RegionSettings) -> None:
    """Raise `UsageError` for options of regions that do not go together, or where there are no regions."""
    if settings.masks is not None and settings.segmentation is not None:
        raise UsageError("masks and segmentation: give one of them, both say where styles act")
    if settings.segmentation is None:
        for field in ("style_segmentations", "region_styles"):
            if getattr(settings, field) is not None:
                raise UsageError(f"{field}: needs a segmentation of the content beside it")
    if not settings.has_regions:
        for field in ("region_strengths", "region_content", "feather", "rest", "guidance"):
            if getattr(settings, field) != RegionSettings.model_fields[field].default:
                raise UsageError(f"{field}: there are no regions: give masks or a segmentation, or leave it out")


def _of_masks(
    paths: Sequence[str],
    pictures: Mapping[str, Picture],
    content: Picture,
    styles: Sequence[Picture],
    moving: Collection[str],
) -> list[Region]:
    if len(paths) != len(styles):
        raise UsageError(f"masks: {counted(len(paths), 'mask')} for {counted(len(styles), 'style')}: give one for each")
    regions: list[Region] = []
    for number, (path, role) in enumerate(zip(paths, numbered("mask", len(paths)), strict=True)):
        picture = pictures[role]
        check_aspect(picture, content)
        stem = picture.path.stem if picture.path else picture.name
        if role in moving:  # frames have names of their own
            stem = Path(path.removeprefix(INVERTED)).stem
        inverted = path.startswith(INVERTED)
        name = _free(f"not {stem}" if inverted else stem, [region.name for region in regions])
        regions.append(Region(name, mask_of(picture, inverted, role in moving), (number,), (None,)))
    return regions


def _of_segmentation(
    settings: RegionSettings,
    segmentation: Picture,
    maps: Sequence[Picture],
    content: Picture,
    styles: Sequence[Picture],
    moves: bool,
) -> list[Region]:
    if maps and len(maps) != len(styles):
        raise UsageError(
            f"style_segmentations: {counted(len(maps), 'map')} for {counted(len(styles), 'style')}: give one for each"
        )
    check_aspect(segmentation, content, "segmentation")
    for one, style in zip(maps, styles, strict=False):
        check_aspect(one, style, "segmentation")
    own = segments(segmentation)
    names = [segment.name for segment in own]
    chosen = _by_region("region_styles", settings.region_styles, names, moves)
    if not maps and len(styles) > 1:
        _require_all(chosen, own, len(styles))
    elsewhere = [segments(one) for one in maps]
    regions = []
    for segment in own:
        numbers = _style_numbers(segment.name, chosen.get(segment.name), len(styles))
        if maps and numbers:
            parts = {number: segment.counterpart(elsewhere[number], own) for number in numbers}
            found = {number: part.mask for number, part in parts.items() if part is not None}
            if not found:
                raise UsageError(
                    f"{segmentation.name}: {segment.name} covers {segment.share:.0%} of the content and nothing of "
                    f"{' or '.join(maps[n].name for n in numbers)}: paint it there, or keep that region with "
                    f"--region-styles {segment.name}:keep"
                )
            regions.append(Region(segment.name, segment.mask, tuple(found), tuple(found.values())))
        else:
            regions.append(Region(segment.name, segment.mask, numbers, (None,) * len(numbers)))
    for one, found_there in zip(maps, elsewhere, strict=True):
        for segment in found_there:
            if segment.counterpart(own, found_there) is None:
                part = f"{segment.name}, {segment.share:.0%} of it,"
                warnings.warn(f"{one.name}: {part} is not in the content's map and goes unused", stacklevel=2)
    return regions


def _require_all(chosen: Mapping[str, str], own: Sequence[Segment], count: int) -> None:
    missing = [segment for segment in own if segment.name not in chosen]
    if missing:
        listed = ", ".join(f"{segment.name} {segment.share:.0%}" for segment in own)
        example = ",".join(f"{one.name}:{number if number <= count else KEEP}" for number, one in enumerate(own, 1))
        raise UsageError(
            f"region_styles: which of {count} styles is for {', '.join(one.name for one in missing)}? the segmentation "
            f"has {listed}: say it as --region-styles {example}"
        )


def _style_numbers(name: str, chosen: str | None, count: int) -> tuple[int, ...]:
    """Indices of the styles of a region: all of them, those chosen as `2` or `1+3`, or none for `keep`."""
    if chosen is None:
        return tuple(range(count))
    if chosen == KEEP:
        return ()
    words = chosen.split("+")
    if not all(word.isdecimal() and 1 <= int(word) <= count for word in words):
        numbers = "1, as there is one style," if count == 1 else f"the number of a style (1 … {count}, or 1+2 for both)"
        raise UsageError(f"region_styles: {name}:{chosen} is neither {numbers} nor keep")
    return tuple(sorted({int(word) - 1 for word in words}))


def _by_region(field: str, values: Mapping[str, T] | None, names: Sequence[str], moves: bool) -> Mapping[str, T]:
    """The values by the names of regions; colours may be named nearly, and those of regions that move be absent."""
    known = [*names, *([REST] if field == "region_content" else [])]
    found = {}
    for name, value in (values or {}).items():
        region = name if name in known else alike(name, names)
        if region is not None:
            found[region] = value
        elif not (moves and is_colour(name)):
            there = ", ".join(f"'{one}'" if " " in one else one for one in known)
            raise UsageError(f"{field}: {name} is no region{near_match(name, known)}; there are {there}")
    return found


def check_aspect(mask: Picture, picture: Picture, kind: str = "mask") -> None:
    """A mask may have another size, of which one is told, not another shape."""
    if (mask.height, mask.width) == (picture.height, picture.width):
        return
    sizes = f"{mask.width}×{mask.height}, and {picture.name} is {picture.width}×{picture.height}"
    if abs(mask.width * picture.height / (mask.height * picture.width) - 1) > SAME_ASPECT:
        raise UsageError(
            f"{mask.name}: is {sizes}: a {kind} needs the shape of its picture: crop it, or make one of that size"
        )
    if kind != "map":  # maps are as coarse as whoever draws them likes
        warnings.warn(f"{mask.name}: is {sizes}: the {kind} is resized", stacklevel=2)


def _free(name: str, taken: Sequence[str]) -> str:
    number, free = 2, name
    while free in taken or free == REST:
        number, free = number + 1, f"{name}-{number}"
    return free

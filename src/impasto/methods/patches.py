"""The patch loss of what is painted in some styles: freely, within regions, or guided by maps.

Regions and flat maps are labels: patches come from where a style has the same one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn import functional as F

from impasto.encoders.vgg import VGG
from impasto.losses import Features, PatchLoss, Weights
from impasto.losses.patches import Guide, as_grid
from impasto.methods.reading import Reader
from impasto.methods.regions import Region
from impasto.methods.settings import Settings, setting, words_of
from impasto.origins import Origins
from impasto.pictures.maps import EVERYWHERE, NOWHERE, Maps, labels_at
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize_mask
from impasto.synthesis import Scale

Variant = Literal["turns", "tilts", "sizes"]

WALLS = 1.0
"""Strength of flat maps from which on no patch comes from another label."""
MATCHING = 2e-5
"""Of the time of a step with as many pixels, in a style of the same size, for each of them (a CPU's)."""
TILT, LARGER = math.pi / 24, 1.05
"""By how much variants of a style are tilted, and how much larger or smaller they are."""

EVERY = 3
"""Steps from match to match: content and style come out as near as with one at every step."""
SMOOTHER = 4.0
"""Smoothness where patches of deep layers are all that is compared: they say little of single pixels."""
LOOKS: Mapping[Variant, int] = {"turns": 3, "tilts": 2, "sizes": 2}
"""How many there are of each kind of variants."""
COPIES = 3
"""Of features, that are held while patches are compared."""
HALF = 0.5
"""What of a soft mask is in, or seen."""
ANYTHING = torch.full((1, 1, 1, 1), EVERYWHERE)
"""Labels of a picture without any."""
SIZE_OF_A_PLACE = 4
"""In pixels, where origins are told apart."""


class PatchSettings(Settings):
    """Settings of the patch loss."""

    variety: Annotated[float, Field(ge=0, le=1)] = setting(
        0.5, "style", "Patches: how dear those become that are used again and again (0 … 1)."
    )
    match_every: Annotated[int, Field(ge=1, le=1000)] = setting(
        EVERY, "style", "Patches: the nearest ones are looked for at every so many steps (1 …)."
    )
    style_variants: Annotated[tuple[Variant, ...], BeforeValidator(words_of)] = setting(
        (),
        "style",
        "Patches: also those of the style by quarters turned, tilted, of other sizes: turns,tilts,sizes.",
    )


@dataclass(frozen=True, eq=False)
class Look:
    """A style as it is looked at: pixels `(1, 3, H, W)` and, of any size, its alpha, maps, parts and labels.

    `origin` `(1, 3, H, W)` says where it all comes from: the number of the style, the row and the column, 0..1. A look
    may be used several times, each time with other `labels`.
    """

    pixels: Tensor
    origin: Tensor
    alpha: Tensor | None = None
    maps: Tensor | None = None
    parts: Tensor | None = None
    labels: tuple[Tensor, ...] = ()

    def with_variants(self, kinds: Sequence[Variant]) -> Iterator[Look]:
        """It, and others made of it."""
        yield self
        if "turns" in kinds:
            for quarters in (1, 2, 3):
                yield self._changed(partial(_turned, quarters=quarters))
        if "tilts" in kinds:
            for angle in (TILT, -TILT):
                yield self._changed(partial(_tilted, angle=angle))
        if "sizes" in kinds:
            for factor in (LARGER, 1 / LARGER):
                yield self._changed(partial(_sized, factor=factor))

    def _changed(self, change: Callable[[Tensor, str], Tensor]) -> Look:
        """With all that it consists of changed, and of labels the nearest."""
        pixels, origin = (change(one, "bilinear") for one in (self.pixels, self.origin))
        alpha, maps = (None if one is None else change(one, "bilinear") for one in (self.alpha, self.maps))
        labels = tuple(change(one.float(), "nearest").to(one.dtype) for one in self.labels)
        parts = None if self.parts is None else change(self.parts.float(), "nearest").to(self.parts.dtype)
        return Look(pixels.clamp(0, 1), origin, alpha, maps, parts, labels)


def _turned(values: Tensor, _mode: str, quarters: int) -> Tensor:
    return values.rot90(quarters, (-2, -1))


def _sized(values: Tensor, mode: str, factor: float) -> Tensor:
    size = [max(1, round(factor * side)) for side in values.shape[-2:]]
    return F.interpolate(values, size, mode=mode)


def _tilted(values: Tensor, mode: str, angle: float) -> Tensor:
    """What lies within values `(1, C, H, W)` when they are tilted, in the same proportions."""
    height, width = values.shape[-2:]
    cosine, sine = math.cos(angle), math.sin(angle)
    inner = 1 / (cosine + abs(sine) * max(height / width, width / height))
    turn = inner * torch.tensor([[cosine, -sine * height / width, 0], [sine * width / height, cosine, 0]])
    size = [1, 1, max(1, round(height * inner)), max(1, round(width * inner))]
    grid = F.affine_grid(turn[None], size, align_corners=False).to(values)
    return F.grid_sample(values, grid, mode=mode, padding_mode="border", align_corners=False)


@dataclass(frozen=True, eq=False)
class PatchStyle:
    """What the patch losses of all scales have in common. `strength` is that of `maps` beside features."""

    reader: Reader
    layers: Mapping[str, float]
    settings: PatchSettings
    maps: Maps | None = None
    strength: float = 1.0

    @property
    def has_walls(self) -> bool:
        """Whether patches come from equal labels of the maps alone."""
        return self.maps is not None and self.maps.labels is not None and self.strength >= WALLS

    def look(self, number: int, style: Picture, pixels: Tensor, regions: Sequence[Region]) -> Look:
        """A style, by its number, in the size of its pixels."""
        labels: tuple[Tensor, ...] = ()
        if not regions[0].is_everything:
            found = (_labels_of_region(place, number, region) for place, region in enumerate(regions))
            labels = tuple(one for one in found if one is not None)
        elif self.has_walls and self.maps is not None:
            labels = (self.maps.style_labels[number],)
        maps, parts = None, None
        if self.maps is not None:
            maps = self.maps.styles[number]
            parts = self.maps.style_labels[number] if self.maps.style_labels else None
        return Look(pixels, _origin(number, *pixels.shape[-2:]), style.alpha, maps, parts, labels)

    def loss(
        self, looks: Sequence[Look], height: int, width: int, regions: Sequence[Region], visible: Tensor | None
    ) -> PatchLoss:
        """The loss of a picture of `height` × `width` in styles as they are looked at.

        `regions` say what of the picture has which of them, in the order in which looks have labels, and `visible`
        `(1, 1, H, W)` what of it counts.
        """
        variants = [one for look in looks for one in look.with_variants(self.settings.style_variants)]
        features = [self.reader.features(one.pixels, self.layers) for one in variants]
        powers = {layer: _root_mean_power([one[layer] for one in features]) for layer in self.layers}
        styles: list[Features] = []
        guides: list[dict[str, Guide]] = []
        for look, own in zip(variants, features, strict=True):
            sizes = {layer: tuple(values.shape[-2:]) for layer, values in own.items()}
            for labels in look.labels or (None,):
                found = self._guides(sizes, powers, look.maps, labels, look.parts, look.alpha)
                guides.append(
                    {layer: replace(one, origin=_at(look.origin, sizes[layer])) for layer, one in found.items()}
                )
                styles.append(own)
        whole = self.reader.encoder.sizes(height, width)
        labels, where = self._of_content(regions, visible)
        maps, parts = (None, None) if self.maps is None else (self.maps.content, self.maps.labels)
        content = self._guides({layer: whole[layer] for layer in self.layers}, powers, maps, labels, parts)
        return PatchLoss(styles, self.layers, content, guides, where, self.settings.variety, self.settings.match_every)

    def _of_content(self, regions: Sequence[Region], visible: Tensor | None) -> tuple[Tensor | None, Weights | None]:
        """The labels of the picture `(1, 1, H, W)`, and what its positions weigh."""
        if regions[0].is_everything:
            labels = self.maps.labels if self.maps is not None and self.has_walls else None
            return labels, None if visible is None else self.reader.weights(visible, self.layers)
        painted = [region.strength * region.mask if region.styles else 0 * region.mask for region in regions]
        weights = sum(painted[1:], start=painted[0]) * (1.0 if visible is None else visible)
        labels = torch.cat([region.mask for region in regions], 1).argmax(1, keepdim=True)
        return labels, self.reader.weights(weights, self.layers)

    def _guides(
        self,
        sizes: Mapping[str, Sequence[int]],
        powers: Mapping[str, Tensor],
        maps: Tensor | None,
        labels: Tensor | None,
        parts: Tensor | None,
        alpha: Tensor | None = None,
    ) -> dict[str, Guide]:
        """Maps, labels and parts of a picture at layers of these sizes; nothing is to come from what is hidden."""
        found = {}
        for layer, size in sizes.items():
            own = None if maps is None or not self.strength else _at(maps, size) * powers[layer].cpu() * self.strength
            seen = labels_at(ANYTHING if labels is None else labels, *size)
            if alpha is not None:
                seen[_at(alpha, size)[..., 0] < HALF] = NOWHERE
            places = (own, seen, None if parts is None else labels_at(parts, *size))
            found[layer] = Guide(*(None if one is None else one.to(self.reader.machine.device) for one in places))
        return found


def _at(values: Tensor, size: Sequence[int]) -> Tensor:
    """Values `(1, C, H, W)` at positions of a layer `(height, width, C)`."""
    return as_grid(resize_mask(values, *size))


def _origin(number: int, height: int, width: int) -> Tensor:
    """The number of a style, and rows and columns in 0..1, `(1, 3, H, W)`, of about the size of a layer."""
    rows, columns = (max(2, round(side / SIZE_OF_A_PLACE)) for side in (height, width))
    row = (torch.arange(rows) + 0.5)[:, None].expand(rows, columns) / rows
    column = (torch.arange(columns) + 0.5).expand(rows, columns) / columns
    return torch.stack((torch.full((rows, columns), float(number)), row, column))[None]


def with_matching(
    schedule: Sequence[Scale], settings: PatchSettings, style_scale: float, styles: int
) -> tuple[Scale, ...]:
    """The scales, knowing what it takes to compare all patches with all."""
    share = MATCHING * _looks(settings, style_scale, styles) / settings.match_every
    return tuple(replace(one, effort=one.effort * (1 + share * one.pixels)) for one in schedule)


def bytes_of_patches(
    settings: PatchSettings, encoder: VGG, layers: Iterable[str], style_scale: float, styles: int
) -> float:
    """Per pixel of the result: features of styles, beside maps and by themselves, and the same of what is wanted."""
    features = sum(4 * encoder.channels(layer) / encoder.geometry[layer].stride ** 2 for layer in layers)
    return COPIES * features * (1 + _looks(settings, style_scale, styles))


def _looks(settings: PatchSettings, style_scale: float, styles: int) -> float:
    """How many times as many patches there are as in a style of the result's size."""
    return styles * (1 + sum(LOOKS[one] for one in settings.style_variants)) * style_scale**2


def origins_of(loss: PatchLoss, styles: Sequence[Picture]) -> Origins | None:
    """Where the patches of the last match come from: those of the layer with the most."""
    facts = {layer: {"usage": loss.usage(layer), "purity": loss.purity(layer)} for layer in loss.layers}
    finest = max(loss.layers, key=lambda layer: loss.fields[layer].place.numel())
    places = loss.origins(finest)
    return None if places is None else Origins(finest, places.cpu(), facts, styles)


def _labels_of_region(place: int, number: int, region: Region) -> Tensor | None:
    """Which part of a style, by its number, a region takes; None if it is none of its styles."""
    if number not in region.styles:
        return None
    mask = region.style_masks[region.styles.index(number)]
    if mask is None:
        return torch.full((1, 1, 1, 1), place)
    return torch.where(mask >= HALF, place, NOWHERE)


def _root_mean_power(features: Sequence[Tensor]) -> Tensor:
    """The length of the mean feature vector of several pictures `(1, C, H, W)`, by the mean of squares."""
    return torch.cat([one.float().square().sum(1).flatten() for one in features]).mean().sqrt()

"""One picture in the style of another, by optimisation.

Gatys, Ecker & Bethge, "A Neural Algorithm of Artistic Style" (2015) and "Image Style Transfer Using Convolutional
Neural Networks" (CVPR 2016). What differs here: losses are relative errors, so that strengths mean the same at every
size and for every style; the picture is optimised coarse to fine by projected Adam; the result is an average of the
iterates; a little smoothness keeps noise out of what the encoder does not see.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from impasto.encoders import load_encoder
from impasto.encoders.vgg import VGG
from impasto.errors import UsageError
from impasto.losses import (
    ContentLoss,
    Loss,
    MattingLoss,
    Moments,
    PatchLoss,
    PixelLoss,
    RegionsLoss,
    Smoothness,
    Weights,
)
from impasto.losses.gathering import BYTES_OF_A_PLACE, BYTES_OF_KERNELS
from impasto.machine import BYTES_OF_A_PICTURE, Machine, budget
from impasto.methods import color
from impasto.methods.color import ColorSettings
from impasto.methods.optimisation import OptimisationSettings
from impasto.methods.patches import PatchSettings, PatchStyle, bytes_of_patches, origins_of, with_matching
from impasto.methods.reading import Reader
from impasto.methods.regions import Region, RegionSettings, at_scale, kept, understood
from impasto.methods.settings import Layers, Strength, setting
from impasto.methods.start import NOISE, STARTS, StartSettings
from impasto.methods.style import STYLE, StyleSettings, style_loss
from impasto.methods.work import Work
from impasto.origins import Origins
from impasto.pictures.grain import with_grain_of
from impasto.pictures.local_affine import locally_affine
from impasto.pictures.maps import Maps
from impasto.pictures.picture import Picture
from impasto.pictures.resize import equal_area, fit, resize, resize_mask
from impasto.synthesis import Objective, Scale, Synthesis, Term, coarse_to_fine
from impasto.synthesis.noise import natural_noise

CONTENT, SMOOTHNESS, KEPT, PHOTOREAL = 1.0, 2.0, 100.0, 100.0
"""Strengths behind strengths: what 1 stands for, calibrated by eye and number (docs/decisions/0002-calibration.md)."""

FIT_RADIUS, FIT_RIDGE = 0.02, 1e-3
"""Share of the longest side, and the filter's ε: skies are smooth, lines sharp (by eye, ibid.)."""

LARGEST = 65_536
OF_PAINTING = ("preset", "style_strength", "content_strength", "style_scale")
"""Settings that somebody who takes colours alone may expect to act."""


class TransferSettings(
    RegionSettings, StyleSettings, PatchSettings, StartSettings, ColorSettings, OptimisationSettings
):
    """Settings of `transfer`."""

    picture_fields: ClassVar[Mapping[str, str]] = {**RegionSettings.picture_fields, **StartSettings.picture_fields}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "sketch": {"steps": 8},
        "balanced": {},
        "painterly": {"style_strength": 2.0, "steps": 36},
        "bold": {"style_strength": 4.0, "style_scale": 1.6, "steps": 36},
    }

    size: Annotated[int, Field(ge=16, le=LARGEST)] | Literal["full"] = setting(
        512, "picture", "Longest side of the result, in pixels (16 …), or `full`: the content's own size.", common=True
    )
    preset: Literal["sketch", "balanced", "painterly", "bold"] = setting(
        "balanced",
        "style",
        "Values to begin with: `sketch` (8 steps), `balanced`, `painterly` (strength 2), `bold` (strength 4, large "
        "strokes); options given beside it count more.",
        common=True,
    )
    style_strength: Strength = setting(
        1.0, "style", "How strongly the style acts (0 … 1000; 1 is balanced, 4 is bold).", common=True
    )
    style_scale: Annotated[float, Field(ge=0.05, le=20)] = setting(
        1.0, "style", "Size of the strokes (0.05 … 20; 1: the style picture as large as the content).", common=True
    )
    content_strength: Strength = setting(
        1.0, "content", "How strongly the content holds (0 … 1000; 0.3 is free, 3 is strict)."
    )
    content_layers: Layers = setting({"relu4_2": 1.0}, "content", "Layers that carry the content, with weights.")
    photoreal: Literal["off", "fit", "full"] = setting(
        "off",
        "content",
        "For photographs in the light of others: straight lines stay straight (`fit`: afterwards, cheap; `full`: all "
        "the time).",
    )
    photoreal_strength: Strength = setting(1.0, "content", "How strongly `--photoreal full` acts (0 … 1000).")
    grain: Annotated[float, Field(ge=0, le=1)] = setting(
        0.0, "picture", "How much of the content's finest detail, its grain, comes back in the end (0 … 1)."
    )

    @model_validator(mode="after")
    def _recolours_or_paints(self) -> Self:
        if self.color_only and (self.has_regions or self.keep_color != "none" or self.photoreal != "off"):
            raise ValueError(
                "color_only: takes the colours of one style for the whole picture, and paints nothing: leave out "
                "keep_color, photoreal, masks and segmentation"
            )
        if self.color_only and (idle := self.unusual(OF_PAINTING)):
            raise ValueError(
                f"{', '.join(idle)}: count where something is painted: leave out either them or color_only"
            )
        if self.photoreal != "full" and self.photoreal_strength != 1:
            raise ValueError("photoreal_strength: counts with --photoreal full alone: leave it out")
        if self.style_loss != "patches" and (idle := self.unusual(PatchSettings.model_fields)):
            raise ValueError(f"{', '.join(idle)}: count with --style-loss patches alone: add it, or leave them out")
        return self

    @model_validator(mode="after")
    def _wants_something(self) -> Self:
        if not (self.style_strength or self.content_strength or self.smoothness):
            raise ValueError("style_strength, content_strength and smoothness are all 0: one of them must act")
        return self

    @property
    def layers(self) -> set[str]:
        """All the layers that are read: none where colours are all that is taken."""
        return set() if self.color_only else {*self.content_layers, *self.style_layer_weights}


def transfer(
    content: Picture,
    styles: Sequence[Picture],
    settings: TransferSettings,
    machine: Machine,
    pictures: Mapping[str, Picture] | None = None,
    known: dict[Any, Any] | None = None,
    regions: Sequence[Region] | None = None,
    maps: Maps | None = None,
    map_strength: float = 1.0,
) -> Work:
    """Repaint `content` in the manner of `styles`: x* = argmin content + style + smoothness.

    `pictures` are those that the settings name, by role; `known` keeps the targets of styles, for further work with
    the same ones; `regions` count in place of the settings'. Raises `UsageError` for layers that the encoder lacks, for
    pictures too small for them, for a wrong number of weights and for regions that make no sense.
    """
    pictures = pictures or {}
    regions = regions_of(settings, content, styles, pictures) if regions is None else tuple(regions)
    encoder = _encoder(settings, machine, known)
    encoder.check_layers(settings.layers)
    smallest = encoder.smallest_side(settings.layers)
    height, width = _result_size(content, settings, smallest)
    schedule = coarse_to_fine(
        height,
        width,
        steps=settings.steps,
        coarsest=settings.coarsest,
        ratio=settings.scale_ratio,
        smallest_side=smallest,
    )
    if settings.color_only or not any(region.styles for region in regions):
        schedule = (Scale(height, width, steps=0),)
    held = BYTES_OF_A_PICTURE + _bytes_of_targets(settings, encoder, regions, len(styles))
    kernels = 0 if regions[0].is_everything or not machine.bfloat16 else BYTES_OF_KERNELS
    memory = budget(machine, held, kernels=kernels)
    reader = Reader(encoder, machine, memory, reserved=memory.beside_reading * height * width)
    seen, seen_styles = color.before(content, styles, settings)
    known = {} if known is None or seen_styles != tuple(styles) else known
    start = color.start_of(pictures["start"], settings) if "start" in pictures else None
    scene = _Scene(seen, seen_styles, regions, start, settings, reader, known, maps, map_strength)
    schedule = reader.with_effort(schedule, settings.layers)
    if settings.style_loss == "patches":
        reader.require_one_piece(settings.layers, height, width, "patches are compared all with all")
        schedule = with_matching(schedule, settings, settings.style_scale, len(styles))
    if schedule[-1].steps:
        scene.require_room(schedule[-1])
    synthesis = Synthesis(schedule, scene.objective, scene.start, settings.optimisation_of())
    finishing = partial(_finished, content, settings, regions)
    origins = scene.origins if settings.style_loss == "patches" and not settings.color_only else None
    return Work(synthesis, encoder, settings.layers, content, memory, finishing, origins=origins)


def _encoder(settings: TransferSettings, machine: Machine, known: dict[Any, Any] | None) -> VGG:
    """The encoder, read once for all the work that shares what is known: films have thousands of frames."""
    key = ("encoder", settings.encoder, settings.pooling, str(machine.device))
    known = {} if known is None else known
    if key not in known:
        known[key] = load_encoder(settings.encoder, pooling=settings.pooling, device=machine.device)
    found: VGG = known[key]
    return found


def regions_of(
    settings: TransferSettings,
    content: Picture,
    styles: Sequence[Picture],
    pictures: Mapping[str, Picture],
    moving: Collection[str] = (),
) -> tuple[Region, ...]:
    """The regions, as `understood`, their styles with shares; everything is one where there are none."""
    shares = settings.shares(len(styles))
    found = understood(settings, content, styles, pictures, moving)
    if not found:
        return (Region.everything(range(len(styles)), [None] * len(styles), shares),)
    return tuple(replace(region, shares=_part(shares, region.styles)) for region in found)


def _bytes_of_targets(settings: TransferSettings, encoder: VGG, regions: Sequence[Region], styles: int) -> float:
    """Per pixel of the result: the content's features, and where regions are or patches, at the size of each layer."""
    features = sum(4 * encoder.channels(one) / encoder.geometry[one].stride ** 2 for one in settings.content_layers)
    held = features + 40 * (settings.photoreal == "full")
    if settings.style_loss == "patches":
        held += bytes_of_patches(settings, encoder, settings.style_layer_weights, settings.style_scale, styles)
    if regions[0].is_everything:
        return held
    positions = sum(1 / encoder.geometry[layer].stride ** 2 for layer in settings.layers)
    left = 16 * (settings.rest == "keep" or any(not region.styles for region in regions))
    return held + left + (4 + 4 * positions) * len(regions) + BYTES_OF_A_PLACE * positions


def _finished(content: Picture, settings: TransferSettings, regions: Sequence[Region], pixels: Tensor) -> Tensor:
    """A result with the content's edges, in its final colours, with its grain: as far as each is wanted.

    Where the content is kept, it is there again to the last bit.
    """
    height, width = pixels.shape[-2:]
    original = resize(content.pixels, height, width)
    if settings.photoreal != "off":
        radius = max(1, round(FIT_RADIUS * max(pixels.shape[-2:])))
        pixels = locally_affine(pixels, original, radius, FIT_RIDGE)
    pixels = color.after(pixels, original, settings)
    pixels = with_grain_of(pixels, original, settings.grain) if settings.grain else pixels
    mask = None if regions[0].is_everything else kept(at_scale(regions, settings, height, width))
    return pixels if mask is None else pixels.lerp(original, mask)


def _result_size(content: Picture, settings: TransferSettings, smallest: int) -> tuple[int, int]:
    """Height and width of the result; raises `UsageError` where the layers need a larger one."""
    size = max(content.height, content.width) if settings.size == "full" else settings.size
    height, width = fit(content.height, content.width, size)
    if min(height, width) < smallest:
        longest, shortest = max(content.height, content.width), min(content.height, content.width)
        needed = math.ceil(smallest * longest / shortest)
        remedy = f"use --size {needed} or larger" if needed <= LARGEST else "crop it to a fuller shape"
        raise UsageError(
            f"{content.name}: size {size} makes it {width}×{height}, and the layers need {smallest} pixels on the "
            f"shorter side: {remedy}, or use shallower layers"
        )
    return height, width


@dataclass(frozen=True)
class _Scene:
    """The inputs, and what becomes of them at a scale."""

    content: Picture
    styles: tuple[Picture, ...]
    regions: tuple[Region, ...]
    start_picture: Picture | None
    settings: TransferSettings
    reader: Reader
    known: dict[Any, Any]
    maps: Maps | None = None
    map_strength: float = 1.0
    made: list[PatchLoss] = field(default_factory=list)
    """The patch loss of the scale at work."""

    def origins(self) -> Origins | None:
        """Where patches come from; None before the first step."""
        return origins_of(self.made[0], self.styles) if self.made and self.made[0].fields else None

    def objective(self, scale: Scale) -> Objective:
        """Content, style and smoothness, with their targets at this scale."""
        settings = self.settings
        regions = self._regions(scale)
        pixels = resize(self.content.pixels, scale.height, scale.width)
        visible = self._visible(scale)
        style_strength = settings.style_strength * STYLE[settings.style_loss]
        terms = [
            Term("content", self._content_loss(pixels, visible, regions), settings.content_strength * CONTENT),
            Term("style", self._style_loss(scale, visible, regions), style_strength),
            Term("smoothness", Smoothness(), settings.smoothness * SMOOTHNESS),
        ]
        if settings.photoreal == "full":
            where = None if visible is None else self.reader.on_device(visible)
            matting = MattingLoss(self.reader.on_device(pixels), where)
            terms.append(Term("photoreal", matting, settings.photoreal_strength * PHOTOREAL))
        mask = kept(regions)
        if mask is not None:
            mask = mask if visible is None else mask * visible
            loss = PixelLoss(self.reader.on_device(pixels), self.reader.on_device(mask))
            terms.append(Term("kept", loss, KEPT))
        return Objective(
            self.reader.encoder,
            terms,
            bfloat16=self.reader.machine.bfloat16,
            tile=self.reader.core_side(settings.layers, scale.height, scale.width),
        )

    def _regions(self, scale: Scale) -> Sequence[Region]:
        if self.regions[0].is_everything:
            return self.regions
        return at_scale(self.regions, self.settings, scale.height, scale.width)

    def _visible(self, scale: Scale) -> Tensor | None:
        """The content's alpha `(1, 1, H, W)`; None if it is opaque."""
        return None if self.content.alpha is None else resize_mask(self.content.alpha, scale.height, scale.width)

    def _content_loss(self, pixels: Tensor, visible: Tensor | None, regions: Sequence[Region]) -> ContentLoss:
        layers = self.settings.content_layers
        where = None if visible is None else self.reader.weights(visible, layers)
        strengths = None
        if any(region.content != 1 for region in regions):
            masks = [region.content * region.mask for region in regions]
            strengths = self.reader.weights(sum(masks[1:], start=masks[0]), layers)
        return ContentLoss(self.reader.features(pixels, layers), layers, where, strengths)

    def _style_loss(self, scale: Scale, visible: Tensor | None, regions: Sequence[Region]) -> Loss:
        """One loss of the whole picture, or one of each region by its area, so that all are painted alike."""
        layers = self.settings.style_layer_weights
        if self.settings.style_loss == "patches":
            return self._patch_loss(scale, visible, regions)
        if regions[0].is_everything:
            where = None if visible is None else self.reader.weights(visible, layers)
            return style_loss(self._targets(scale, regions)[0], regions[0].shares, self.settings, where)
        painted = [region for region in regions if region.styles]
        losses, places = [], []
        for region, targets in zip(painted, self._targets(scale, painted), strict=True):
            mask = region.mask if visible is None else region.mask * visible
            places.append(self.reader.weights(mask, layers, self.settings.guidance, power=2))  # (T∘F)(T∘F)ᵀ
            losses.append(style_loss(targets, region.shares, self.settings))
        return RegionsLoss(losses, places, [region.strength * float(region.mask.mean()) for region in painted])

    def _patch_loss(self, scale: Scale, visible: Tensor | None, regions: Sequence[Region]) -> PatchLoss:
        settings = self.settings
        patches = PatchStyle(self.reader, settings.style_layer_weights, settings, self.maps, self.map_strength)
        looks = [
            patches.look(number, style, settings.style_at(style, *self._style_size(style, scale)), regions)
            for number, style in enumerate(self.styles)
        ]
        self.made[:] = [patches.loss(looks, scale.height, scale.width, regions, visible)]
        return self.made[0]

    def _targets(self, scale: Scale, painted: Sequence[Region]) -> list[list[dict[str, Moments]]]:
        """The moments of the styles of each region."""
        parts: dict[int, dict[int, Tensor | None]] = {}  # masks of each style, by identity
        for region in painted:
            for number, mask in zip(region.styles, region.style_masks, strict=True):
                parts.setdefault(number, {})[id(mask)] = mask
        found: dict[tuple[int, int], dict[str, Moments]] = {}
        for number, masks in parts.items():
            own = self._style_moments(self.styles[number], [*masks.values()], scale)
            found |= {(number, one): moments for one, moments in zip(masks, own, strict=True)}
        return [
            [found[number, id(mask)] for number, mask in zip(region.styles, region.style_masks, strict=True)]
            for region in painted
        ]

    def _style_moments(self, style: Picture, masks: Sequence[Tensor | None], scale: Scale) -> list[dict[str, Moments]]:
        """The moments of a style: of all of it, or of what each of the masks shows."""
        layers = self.settings.style_layer_weights
        height, width = self._style_size(style, scale)
        looks = self.settings.encoder, self.settings.pooling, self.settings.pixel_art, *sorted(layers)
        key = (style.sha256 or style, height, width, *looks)
        if masks == [None] and key in self.known:
            return [self.known[key]]
        visible = None if style.alpha is None else resize_mask(style.alpha, height, width)
        choices: list[Weights | None] = []
        for mask in masks:
            if mask is None:
                choices.append(None if visible is None else self.reader.weights(visible, layers))
                continue
            scaled = resize_mask(mask.float(), height, width)
            scaled = scaled if visible is None else scaled * visible
            choices.append(self.reader.weights(scaled, layers, self.settings.guidance, power=2))
        found = self.reader.moments(self.settings.style_at(style, height, width), layers, choices)
        if masks == [None]:
            self.known[key] = found[0]
        return found

    def _style_size(self, style: Picture, scale: Scale) -> tuple[int, int]:
        """Height and width in which a style is looked at; raises `UsageError` for one that is too narrow."""
        area = scale.pixels * self.settings.style_scale**2
        height, width = equal_area(style.height, style.width, area)
        smallest = self.reader.encoder.smallest_side(self.settings.style_layer_weights)
        if min(height, width) < smallest:  # a narrow picture, or a small scale: as much larger as the layers need
            height, width = (math.ceil(side * smallest / min(height, width)) for side in (height, width))
            if height * width > 16 * area:
                raise UsageError(
                    f"{style.name}: {style.width}×{style.height} is too narrow for the style's layers: "
                    "crop it to a fuller shape, use a larger --style-scale, or leave deep layers out"
                )
        return height, width

    def require_room(self, scale: Scale) -> None:
        """Raise an `ImpastoError` where a style could not be looked at, before the work begins."""
        for style in self.styles:
            size = self._style_size(style, scale)
            self.reader.require_room(style, self.settings.style_layer_weights, *size, "--style-scale")

    def start(self, scale: Scale) -> Tensor:
        """The first picture `(1, 3, H, W)`: where the content is kept, it is there from the start."""
        pixels = self._start(scale)
        mask = kept(self._regions(scale))
        if mask is not None:
            pixels = pixels.lerp(resize(self.content.pixels, scale.height, scale.width), mask)
        return self.reader.on_device(pixels)

    def _start(self, scale: Scale) -> Tensor:
        height, width = scale.height, scale.width
        if self.settings.start == "content":
            pixels = resize(self.content.pixels, height, width)
        elif self.settings.start == "style":
            pixels = resize(self.styles[0].pixels, height, width)
        elif self.settings.start in NOISE:
            drawn = fit(self.content.height, self.content.width, self.settings.coarsest)  # at all scales the same
            noise = natural_noise(*drawn, self.settings.seed, NOISE[self.settings.start])
            pixels = resize(noise, height, width)
        elif self.start_picture is not None:
            pixels = resize(self.start_picture.pixels, height, width)
        else:
            raise UsageError(
                f"start: {self.settings.start!r} is neither {', '.join(STARTS)} nor a picture given with it"
            )
        return pixels


def _part(shares: Sequence[float], chosen: Sequence[int]) -> list[float]:
    """The shares of those chosen, of sum 1; even ones where all are 0."""
    own = [shares[number] for number in chosen]
    return [share / sum(own) if any(own) else 1 / len(own) for share in own]

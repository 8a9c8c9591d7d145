"""One picture in the style of another, by optimisation.

Gatys, Ecker & Bethge, "A Neural Algorithm of Artistic Style" (2015) and "Image Style Transfer Using Convolutional
Neural Networks" (CVPR 2016). What differs here: losses are relative errors, so that strengths mean the same at every
size and for every style; the picture is optimised coarse to fine by projected Adam; the result is an average of the
iterates; a little smoothness keeps noise out of what the encoder does not see.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from impasto.encoders import load_encoder
from impasto.encoders.tiling import Tile, tiles
from impasto.encoders.vgg import VGG
from impasto.errors import UsageError
from impasto.losses import (
    ContentLoss,
    GramLoss,
    MixedLoss,
    Moments,
    Smoothness,
    SumLoss,
    WassersteinLoss,
    Weights,
    mixture,
    moments_of_parts,
)
from impasto.machine import Budget, Machine, budget, core_side
from impasto.methods.settings import Layers, Settings, Shares, setting
from impasto.methods.work import Work
from impasto.pictures.picture import Picture
from impasto.pictures.resize import equal_area, fit, resize, resize_mask
from impasto.synthesis import Objective, Optimisation, Scale, Synthesis, Term, coarse_to_fine
from impasto.synthesis.noise import natural_noise
from impasto.synthesis.objective import encode

CONTENT, SMOOTHNESS = 1.0, 2.0
STYLE = {"gram": 20.0, "wasserstein": 25.0}
"""Strengths behind strengths: what 1 stands for, calibrated by eye and number (docs/decisions/0002-calibration.md)."""

WASSERSTEIN_LAYERS = {"relu1_1": 256.0, "relu2_1": 64.0, "relu3_1": 16.0, "relu4_1": 4.0, "relu5_1": 1.0}
LARGEST = 65_536
STARTS = ("content", "noise", "style", "gray")
NOISE = {"noise": 0.1, "gray": 0.01}
"""Contrast (standard deviation) of starts without a picture; a photograph's, 0.2, would leave blotches. Positions of
an even grey would have equal gradients and become a lattice."""
GRAM_LAYERS = dict.fromkeys(WASSERSTEIN_LAYERS, 1.0)

Strength = Annotated[float, Field(ge=0, le=1000)]


class TransferSettings(Settings):
    """Settings of `transfer`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "sketch": {"steps": 8},
        "balanced": {},
        "painterly": {"style_strength": 2.0, "steps": 36},
        "bold": {"style_strength": 4.0, "style_scale": 1.6, "steps": 36},
    }

    size: Annotated[int, Field(ge=16, le=LARGEST)] | Literal["full"] = setting(
        512, "picture", "Longest side of the result, in pixels (16 …), or `full`: the content's own size.", common=True
    )
    start: str = setting(
        "content", "picture", "Where to begin: `content`, `noise`, `style`, `gray` or the path of a picture."
    )
    preset: Literal["sketch", "balanced", "painterly", "bold"] = setting(
        "balanced", "style", "A set of values to begin with; options given beside it count more.", common=True
    )
    style_strength: Strength = setting(
        1.0, "style", "How strongly the style acts (0 … 1000; 1 is balanced, 4 is bold).", common=True
    )
    style_scale: Annotated[float, Field(ge=0.05, le=20)] = setting(
        1.0, "style", "Size of the strokes (0.05 … 20; 1: the style picture as large as the content).", common=True
    )
    style_loss: Literal["gram", "wasserstein"] = setting(
        "wasserstein", "style", "What of the style is compared: its distribution, or channels active together (gram)."
    )
    style_weights: Shares | None = setting(
        None, "style", "Shares of several styles, one for each: 0.3,0.7 (default: equal)."
    )
    mix: Literal["targets", "losses"] = setting(
        "targets", "style", "Several styles: `targets` is the style of a picture made of them all, `losses` their mean."
    )
    style_layers: Layers | None = setting(
        None, "style", "Layers that carry the style, with weights: relu1_1,relu3_1:0.5 (default: relu1_1 … relu5_1)."
    )
    content_strength: Strength = setting(
        1.0, "content", "How strongly the content holds (0 … 1000; 0.3 is free, 3 is strict)."
    )
    content_layers: Layers = setting({"relu4_2": 1.0}, "content", "Layers that carry the content, with weights.")
    smoothness: Strength = setting(1.0, "style", "How strongly noise is suppressed (0 … 1000).")
    encoder: str = setting("lite", "optimisation", "`lite`, `vgg19`, `vgg19-caffe` or a .safetensors file.")
    pooling: Literal["max", "average"] = setting(
        "max", "optimisation", "Pooling inside the encoder: `max` as trained, `average` a little softer."
    )
    optimiser: Literal["adam", "lbfgs"] = setting("adam", "optimisation", "Which optimiser.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = setting(
        0.02, "optimisation", "Step of Adam, in units of the full tonal range (0 … 1)."
    )
    steps: Annotated[int, Field(ge=1, le=100_000)] = setting(
        24, "optimisation", "Most steps at the finest scale (1 …); coarser ones take 2 and 4 times as many."
    )
    coarsest: Annotated[int, Field(ge=16, le=65_536)] = setting(
        128, "optimisation", "Longest side of the first scale, in pixels, about (16 …)."
    )
    scale_ratio: Annotated[float, Field(ge=1.1, le=16)] = setting(
        2.0, "optimisation", "From one scale to the next (1.1 … 16)."
    )
    average: Annotated[float, Field(ge=0, lt=1)] = setting(
        0.98, "optimisation", "Decay of the average of the iterates (0 … 1; 0 takes the last one)."
    )
    tolerance: Annotated[float, Field(ge=0, lt=1)] = setting(
        0.001, "optimisation", "A scale ends when the loss falls by less than this share in 20 steps (0: never)."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = setting(
        0, "optimisation", "Of everything random; the same seed gives the same picture."
    )

    @model_validator(mode="after")
    def _wants_something(self) -> Self:
        if not (self.style_strength or self.content_strength or self.smoothness):
            raise ValueError("style_strength, content_strength and smoothness are all 0: one of them must act")
        return self

    @property
    def pictures(self) -> dict[str, str]:
        return {} if self.start in STARTS else {"start": self.start}

    @property
    def style_layer_weights(self) -> dict[str, float]:
        """The style layers, or the default ones of the style loss."""
        if self.style_layers is not None:
            return self.style_layers
        return WASSERSTEIN_LAYERS if self.style_loss == "wasserstein" else GRAM_LAYERS

    @property
    def layers(self) -> set[str]:
        """All the layers that are read."""
        return {*self.content_layers, *self.style_layer_weights}


def transfer(
    content: Picture,
    styles: Sequence[Picture],
    settings: TransferSettings,
    machine: Machine,
    start: Picture | None = None,
) -> Work:
    """Repaint `content` in the manner of `styles`: x* = argmin content + style + smoothness.

    `start` is the picture to begin with where `settings.start` names one. Raises `UsageError` for
    layers that the encoder lacks, for pictures too small for them, and for a wrong number of weights.
    """
    shares = _shares(settings, len(styles))
    encoder = load_encoder(settings.encoder, pooling=settings.pooling, device=machine.device)
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
    memory = budget(machine)
    scene = _Scene(content, tuple(styles), shares, start, settings, machine, encoder, memory)
    optimisation = Optimisation(
        settings.optimiser, settings.learning_rate, average=settings.average, tolerance=settings.tolerance
    )
    synthesis = Synthesis(schedule, scene.objective, scene.start, optimisation)
    return Work(synthesis, encoder, settings.layers, content, memory)


def _shares(settings: TransferSettings, count: int) -> tuple[float, ...]:
    """The styles' shares, of sum 1."""
    weights = settings.style_weights or (1.0,) * count
    if len(weights) != count:
        raise UsageError(
            f"style_weights: {_counted(len(weights), 'weight')} for {_counted(count, 'style')}: give one for each"
        )
    return tuple(weight / sum(weights) for weight in weights)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


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
            f"shorter side: {remedy}, or shallower layers"
        )
    return height, width


@dataclass(frozen=True)
class _Scene:
    """The inputs, and what becomes of them at a scale."""

    content: Picture
    styles: tuple[Picture, ...]
    shares: tuple[float, ...]
    start_picture: Picture | None
    settings: TransferSettings
    machine: Machine
    encoder: VGG
    budget: Budget

    def objective(self, scale: Scale) -> Objective:
        """Content, style and smoothness, with their targets at this scale."""
        settings = self.settings
        content, content_where = self._content_features(scale)
        styles = [self._style_moments(style, scale) for style in self.styles]
        if settings.mix == "targets":
            style_loss = self._style_loss(mixture(styles, self.shares), content_where)
        else:
            style_loss = MixedLoss([self._style_loss(style, content_where) for style in styles], self.shares)
        content_loss = ContentLoss(content, settings.content_layers, content_where)
        return Objective(
            self.encoder,
            [
                Term("content", content_loss, settings.content_strength * CONTENT),
                Term("style", style_loss, settings.style_strength * STYLE[settings.style_loss]),
                Term("smoothness", Smoothness(), settings.smoothness * SMOOTHNESS),
            ],
            bfloat16=self.machine.bfloat16,
            tile=core_side(self.encoder, settings.layers, scale.height, scale.width, self.budget),
        )

    def _style_loss(self, style: Mapping[str, Moments], where: Weights | None) -> SumLoss:
        kind = GramLoss if self.settings.style_loss == "gram" else WassersteinLoss
        return kind(style, self.settings.style_layer_weights, where)

    def start(self, scale: Scale) -> Tensor:
        """The first picture `(1, 3, H, W)`."""
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
        return self._on_device(pixels)

    def _content_features(self, scale: Scale) -> tuple[dict[str, Tensor], Weights | None]:
        pixels = resize(self.content.pixels, scale.height, scale.width)
        where = self._where(self.content, pixels)
        tiles = self._tiles(pixels, self.settings.content_layers)
        if len(tiles) == 1:
            return self._encode(pixels, self.settings.content_layers), where
        features: dict[str, Tensor] = {}
        for tile in tiles:
            for layer, values in self._core_features(pixels, tile).items():
                size = self.encoder.sizes(tile.height, tile.width)[layer]
                whole = features.setdefault(layer, values.new_empty(*values.shape[:2], *size))
                whole[..., *tile.place(layer)] = values
        return features, where

    def _style_moments(self, style: Picture, scale: Scale) -> dict[str, Moments]:
        area = scale.pixels * self.settings.style_scale**2
        height, width = equal_area(style.height, style.width, area)
        smallest = self.encoder.smallest_side(self.settings.style_layer_weights)
        if min(height, width) < smallest:  # a narrow picture, or a small scale: as much larger as the layers need
            height, width = (math.ceil(side * smallest / min(height, width)) for side in (height, width))
            if height * width > 16 * area:
                raise UsageError(
                    f"{style.name}: {style.width}×{style.height} is too narrow for the style's layers: "
                    "crop it to a fuller shape, use a larger --style-scale, or leave deep layers out"
                )
        pixels = resize(style.pixels, height, width)
        where = self._where(style, pixels)
        return moments_of_parts(
            (
                self._core_features(pixels, tile),
                where and {layer: where[layer][..., *tile.place(layer)] for layer in tile.strides},
            )
            for tile in self._tiles(pixels, self.settings.style_layer_weights)
        )

    def _tiles(self, pixels: Tensor, layers: Iterable[str]) -> list[Tile]:
        """The tiles in which a picture of the size of `pixels` is encoded."""
        layers, (height, width) = tuple(layers), pixels.shape[-2:]
        core = core_side(self.encoder, layers, height, width, self.budget)
        return tiles(self.encoder, layers, height, width, core or max(height, width))

    def _core_features(self, pixels: Tensor, tile: Tile) -> dict[str, Tensor]:
        """The features of a tile's core."""
        features = self._encode(pixels[..., *tile.area], tile.strides)
        return {layer: values[..., *tile.core_of(layer)] for layer, values in features.items()}

    @torch.no_grad()
    def _encode(self, pixels: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        return encode(self.encoder, self._on_device(pixels), layers, bfloat16=self.machine.bfloat16)

    def _where(self, picture: Picture, pixels: Tensor) -> Weights | None:
        """Where a picture resized to `pixels` is visible, at every layer; None if it is everywhere."""
        if picture.alpha is None:
            return None
        sizes = self.encoder.sizes(pixels.shape[-2], pixels.shape[-1])
        return {layer: self._on_device(resize_mask(picture.alpha, *sizes[layer])) for layer in self.settings.layers}

    def _on_device(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.machine.device).contiguous(memory_format=torch.channels_last)

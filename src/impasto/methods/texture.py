"""More of a texture: any size and shape, seamless if wanted, from one or several exemplars.

Gatys, Ecker & Bethge, "Texture Synthesis Using Convolutional Neural Networks" (NIPS 2015): the style term alone, from
noise. What differs here: coarse to fine, so that structures larger than a receptive field come out; and a picture that
is to be laid side by side with itself is one for the network, too: every convolution continues on the opposite side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from impasto.encoders import load_encoder
from impasto.errors import UsageError
from impasto.losses import Moments, Smoothness
from impasto.machine import Machine, budget
from impasto.methods.optimisation import OptimisationSettings
from impasto.methods.reading import Reader
from impasto.methods.settings import setting
from impasto.methods.style import STYLE, StyleSettings, statistics, style_loss
from impasto.methods.work import Work
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize_mask
from impasto.synthesis import Objective, Scale, Synthesis, Term, coarse_to_fine
from impasto.synthesis.noise import natural_noise
from impasto.synthesis.resampling import Wrap, resampled

SMOOTHNESS = 1.0
CONTRAST = 0.1
"""Of the noise to begin with: its standard deviation."""
FEWEST_POSITIONS = 4
"""Along the shorter side of the exemplar in the deepest layer; from fewer there is nothing to learn."""

WRAPS: dict[str, Wrap] = {"none": (False, False), "x": (False, True), "y": (True, False), "both": (True, True)}
PADDINGS = {"x": "circular-x", "y": "circular-y", "both": "circular"}


class TextureSettings(StyleSettings, OptimisationSettings):
    """Settings of `texture`."""

    style_loss: Literal["gram", "wasserstein"] = statistics()
    width: Annotated[int, Field(ge=16, le=65_536)] = setting(512, "picture", "Of the result, in pixels.", common=True)
    height: Annotated[int, Field(ge=16, le=65_536)] = setting(512, "picture", "Of the result, in pixels.", common=True)
    tile: Literal["none", "x", "y", "both"] = setting(
        "none", "picture", "Where the result can be laid beside itself without a seam.", common=True
    )
    scale: Annotated[float, Field(ge=0.05, le=20)] = setting(
        1.0, "style", "Size of the texture's features (0.05 … 20; 1: as in the exemplar).", common=True
    )
    steps: Annotated[int, Field(ge=1, le=100_000)] = setting(
        40, "optimisation", "Most steps at the finest scale (1 …); coarser ones take 2 and 4 times as many."
    )


def texture(
    textures: Sequence[Picture],
    settings: TextureSettings,
    machine: Machine,
    pictures: Mapping[str, Picture] | None = None,
    known: dict[Any, Any] | None = None,
) -> Work:
    """Make more of `textures`: x* = argmin style + smoothness, from noise.

    Raises `UsageError` for layers that the encoder lacks, for exemplars too small for them, and for a tile whose sides
    the network cannot halve evenly.
    """
    shares = settings.shares(len(textures))
    layers = settings.style_layer_weights
    encoder = load_encoder(settings.encoder, pooling=settings.pooling, device=machine.device)
    encoder.check_layers(layers)
    stride = max(encoder.geometry[layer].stride for layer in layers)
    wrap = WRAPS[settings.tile]
    for name, side, wraps in (("height", settings.height, wrap[0]), ("width", settings.width, wrap[1])):
        if wraps and side % stride:
            raise UsageError(
                f"{name} {side}: a seamless side must be a multiple of {stride}, the deepest layer's stride: "
                f"use {side // stride * stride or stride} or {-(-side // stride) * stride}"
            )
    schedule = coarse_to_fine(
        settings.height,
        settings.width,
        steps=settings.steps,
        coarsest=settings.coarsest,
        ratio=settings.scale_ratio,
        smallest_side=_smallest(textures, settings, stride),
        unit=stride if any(wrap) else 1,
    )
    memory = budget(machine, by_sides=True)
    own = encoder.with_padding(PADDINGS[settings.tile]) if any(wrap) else encoder  # type: ignore[arg-type]
    reader = Reader(own, machine, memory)
    beside = Reader(encoder, machine, memory, reserved=memory.beside_reading * settings.height * settings.width)
    schedule = reader.with_effort(schedule, layers)
    for one in textures:
        height, width = (max(1, round(settings.scale * side)) for side in (one.height, one.width))
        beside.require_room(one, layers, height, width, "--scale")
    scene = _Scene(tuple(textures), shares, settings, beside, reader)
    synthesis = Synthesis(schedule, scene.objective, scene.start, settings.optimisation_of(wrap))
    return Work(synthesis, own, layers, None, memory, bits=max(one.bits for one in textures))


def _smallest(textures: Sequence[Picture], settings: TextureSettings, stride: int) -> int:
    """The shorter side of the first scale: there the exemplars, shrunk alike, still have something to say."""
    shortest = min(textures, key=lambda one: min(one.height, one.width))
    side = min(shortest.height, shortest.width) * settings.scale
    if side < FEWEST_POSITIONS * stride:
        raise UsageError(
            f"{shortest.name}: {shortest.width}×{shortest.height} at scale {settings.scale:g} is too small for the "
            f"style's layers, which need {FEWEST_POSITIONS * stride} pixels: use a larger exemplar, a larger --scale, "
            "or leave deep layers out"
        )
    return max(2 * stride, round(min(settings.height, settings.width) * FEWEST_POSITIONS * stride / side))


@dataclass(frozen=True)
class _Scene:
    """The exemplars, and what becomes of them at a scale. The exemplars do not wrap, the result may."""

    textures: tuple[Picture, ...]
    shares: tuple[float, ...]
    settings: TextureSettings
    exemplars: Reader
    result: Reader

    def objective(self, scale: Scale) -> Objective:
        settings = self.settings
        loss = style_loss([self._moments(one, scale) for one in self.textures], self.shares, settings)
        terms = [Term("style", loss, STYLE[settings.style_loss])]
        terms.append(Term("smoothness", Smoothness(WRAPS[settings.tile]), settings.smoothness * SMOOTHNESS))
        tile = self.result.core_side(settings.style_layer_weights, scale.height, scale.width)
        return Objective(self.result.encoder, terms, bfloat16=self.result.machine.bfloat16, tile=tile)

    def start(self, scale: Scale) -> Tensor:
        """Noise `(1, 3, H, W)` around the exemplars' mean colour, at all scales the same."""
        drawn = self.settings.height, self.settings.width
        shrink = max(1.0, max(drawn) / self.settings.coarsest)
        height, width = (max(16, round(side / shrink / 16) * 16) for side in drawn)
        noise = natural_noise(height, width, self.settings.seed, CONTRAST) - 0.5
        colours = torch.stack([_mean_colour(one) for one in self.textures])
        colour = torch.tensordot(torch.tensor(self.shares), colours, 1)
        wrap = WRAPS[self.settings.tile]
        pixels = colour.view(1, 3, 1, 1) + resampled(noise, (scale.height, scale.width), "bicubic", wrap=wrap)
        return self.result.on_device(pixels.clamp(0, 1))

    def _moments(self, exemplar: Picture, scale: Scale) -> dict[str, Moments]:
        layers = self.settings.style_layer_weights
        shrink = self.settings.scale * scale.size / max(self.settings.height, self.settings.width)
        height, width = (max(1, round(side * shrink)) for side in (exemplar.height, exemplar.width))
        where = None
        if exemplar.alpha is not None:
            where = self.exemplars.weights(resize_mask(exemplar.alpha, height, width), layers)
        return self.exemplars.moments(self.settings.style_at(exemplar, height, width), layers, [where])[0]


def _mean_colour(picture: Picture) -> Tensor:
    if picture.alpha is None:
        return picture.pixels.mean((0, 2, 3))
    return (picture.pixels * picture.alpha).mean((0, 2, 3)) / picture.alpha.mean().clamp(min=1e-6)

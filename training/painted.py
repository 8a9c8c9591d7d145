"""Crops that an optimiser painted by the student's own features, or by a teacher's.

An optimiser goes where the student's features mislead it, and no photograph is there: without such crops the student
is right about photographs and paintings, and systematically wrong about the pictures made with it. Those painted by a
teacher show what the teacher overlooks, which the student should overlook as well.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from impasto.encoders.vgg import RARELY_ACTIVE, VGG
from impasto.losses.gram import gram
from impasto.losses.smoothness import Smoothness
from impasto.synthesis.optimisers import Adam
from teachers import STYLE_LAYERS

CONTENT_LAYER = "relu4_2"
LAYERS = (*STYLE_LAYERS, CONTENT_LAYER)
STEPS = 24
KEPT = (6, 12, 18, 24)


class Painted:
    """The latest such crops."""

    def __init__(self, capacity: int = 640) -> None:
        self.capacity = capacity
        self.crops: list[Tensor] = []

    def sample(self, count: int) -> Tensor:
        return torch.stack(random.sample(self.crops, count))

    def paint(self, encoder: VGG, contents: Tensor, styles: Tensor) -> None:
        """Transfers of styles `(B, 3, S, S)` to contents, begun with the contents or with crops from before."""
        started = contents.clone()
        for i in range(len(started)):
            if self.crops and random.random() < 0.5:
                started[i] = random.choice(self.crops)
        painted = paint(encoder, contents, styles, started)
        self.crops = [*self.crops, *painted][-self.capacity :]


def paint(encoder: VGG, contents: Tensor, styles: Tensor, start: Tensor) -> list[Tensor]:
    """Iterates on the way, of each picture, and their averages."""
    layout = {"memory_format": torch.channels_last}
    with torch.no_grad():
        target, wanted = (encoder(x.contiguous(**layout), LAYERS) for x in (contents, styles))
        means = {name: f.mean((0, 2, 3), keepdim=True) for name, f in wanted.items()}
        gains = {name: 1 / mean.clamp(min=RARELY_ACTIVE * float(mean.mean())) for name, mean in means.items()}
        grams = {name: gram(wanted[name] * gains[name]) for name in STYLE_LAYERS}
    strength = torch.tensor([10 ** random.uniform(0, 1.7) for _ in start], device=start.device)
    smoothness = Smoothness()
    optimiser = Adam(start.contiguous(**layout), random.choice((0.02, 0.04)))

    def evaluate() -> Tensor:
        optimiser.picture.grad = None
        features = encoder(optimiser.picture, LAYERS)
        content = relative(features[CONTENT_LAYER], target[CONTENT_LAYER])
        style = sum(relative(gram(features[n] * gains[n]), grams[n]) for n in STYLE_LAYERS) / len(STYLE_LAYERS)
        loss = (content + strength * style).sum() + len(start) * smoothness({}, optimiser.picture)
        loss.backward()
        return loss.detach()

    average, found = start, []
    for step in range(1, STEPS + 1):
        optimiser.step(evaluate)
        iterate = optimiser.picture.detach()
        average = average.lerp(iterate, 0.1)
        if step in KEPT:
            found += [*iterate.clone(), *average] if step == STEPS else [*iterate.clone()]
    return found


def relative(x: Tensor, target: Tensor) -> Tensor:
    """Relative square errors `(B,)`."""
    return (x - target).square().flatten(1).sum(1) / target.square().flatten(1).sum(1).clamp(min=1e-12)

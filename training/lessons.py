"""What is learnt: a teacher's features, and crops to learn them from, half of them painted."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from crops import augmented_crops
from impasto.encoders.vgg import VGG
from impasto.losses.gram import gram
from painted import Painted
from student import sparse, unit_of

EVENLY = 0.2
"""Share of the weight that all channels have alike."""
BY_TEACHER = 0.4  # of the paintings to learn from

Answers = TypeVar("Answers")


@dataclass(frozen=True)
class Aims:
    """How much each layer of a teacher counts, and the Gram matrices of some."""

    layers: Mapping[str, float]
    grams: Mapping[str, float]

    def without(self, kept: Collection[str]) -> Aims:
        """Those of the layers that are still to learn."""
        layers, grams = (
            {layer: count for layer, count in counts.items() if layer not in kept}
            for counts in (self.layers, self.grams)
        )
        return Aims(layers, grams)


class Teacher:
    """Target features by layer, each channel in units of its standard deviation."""

    def __init__(self, model: VGG, aims: Aims) -> None:
        self.model, self.aims = model, aims
        self.widths = {layer: model.channels(layer) for layer in aims.layers}
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}
        self.gains: dict[str, Tensor] = {}
        """From the units of the targets to a mean activation of 1."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of the channels, as losses weigh them; their mean is 1."""
        return {layer: gain.square() / gain.square().mean() for layer, gain in self.gains.items()}

    @torch.no_grad()
    def standardise(self, batches: Sequence[Tensor]) -> None:
        """Measure the units on photographs, at every fourth position down and across."""
        features = [
            {k: v[:, :, 1::4, 1::4].contiguous() for k, v in self.model(x, self.aims.layers).items()} for x in batches
        ]
        for layer in self.aims.layers:
            values = torch.cat([f[layer] for f in features])
            mean = values.mean((0, 2, 3), keepdim=True)
            std = values.std((0, 2, 3), keepdim=True)
            self.moments[layer] = mean, std.clamp(min=1e-3 * float(std.max()))
            self.gains[layer] = self.moments[layer][1] / unit_of(mean)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        features = self.model(x.to(next(self.model.parameters()).dtype), self.aims.layers)
        return {layer: sparse(layer, f).float() / self.moments[layer][1] for layer, f in features.items()}

    def losses(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By layer, and by Gram matrix."""
        predictions = {layer: values.float() for layer, values in predictions.items()}
        importance = {layer: EVENLY + (1 - EVENLY) * weights for layer, weights in self.weights.items()}
        return residuals(predictions, targets, importance) | gram_errors(
            predictions, targets, {layer: self.gains[layer] for layer in self.aims.grams if layer in predictions}
        )

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        counts = {**self.aims.layers, **{f"gram of {layer}": count for layer, count in self.aims.grams.items()}}
        return torch.stack([counts[name] * value for name, value in losses.items()]).sum() / sum(
            self.aims.layers.values()
        )


def residuals(
    predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], importance: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Unexplained share of the variance, per layer that is predicted; `importance` weighs its channels."""
    return {
        name: ((predicted - targets[name]).square() * importance[name]).mean()
        for name, predicted in predictions.items()
    }


def gram_errors(
    predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], gains: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Relative errors of each crop's Gram matrices, per style layer: what style transfer sees of an encoder."""
    found = {}
    for name, gain in gains.items():
        ours, wanted = (gram(features[name] * gain) for features in (predictions, targets))
        power = wanted.square().sum((1, 2)).clamp(min=1e-12)
        found[f"gram of {name}"] = ((ours - wanted).square().sum((1, 2)) / power).mean()
    return found


class Lessons(Generic[Answers]):
    """Crops to learn from, half of them painted, and what teachers answer."""

    def __init__(
        self,
        pictures: Sequence[Tensor],
        answers: Callable[[Tensor], Answers],
        reduced: VGG,
        *,
        batch: int,
        size: int,
        echo: int,
    ) -> None:
        self.pictures, self.answers, self.reduced = pictures, answers, reduced
        self.batch, self.size, self.echo = batch, size, echo
        self.painted = Painted()
        self._late: deque[tuple[Tensor, Answers]] = deque(maxlen=48)

    @property
    def begun(self) -> bool:
        return len(self._late) >= 8

    def at(self, step: int) -> tuple[Tensor, Answers]:
        """Crops and answers; the teachers cost as much as a step, so that each answer may be used more than once."""
        if self.begun and step % self.echo:
            return random.choice(self._late)
        crops = self.crops()
        self._late.append((crops, self.answers(crops)))
        return self._late[-1]

    def crops(self) -> Tensor:
        crops = augmented_crops(self.pictures, self.batch, self.size)
        if self.painted.crops:
            crops[: self.batch // 2] = self.painted.sample(self.batch // 2)
        return crops

    def crops_of_late(self, count: int = 48) -> list[Tensor]:
        return [crops for crops, _ in [*self._late][-count:]]

    def paint(self, encoder: VGG) -> None:
        """Let an optimiser paint by the student's features, or by a teacher's."""
        contents, styles = (augmented_crops(self.pictures, 2 * self.batch, self.size, odd=False) for _ in "cs")
        self.painted.paint(self.reduced if random.random() < BY_TEACHER else encoder, contents, styles)

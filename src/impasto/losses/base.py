"""What a loss is, and what losses have in common that are made of sums over positions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Protocol

from torch import Tensor

from impasto.encoders.tiling import Tile

Features = Mapping[str, Tensor]
"""Features `(B, C, H, W)` by layer."""

Weights = Mapping[str, Tensor]
"""Weights of positions `(B, 1, H, W)` in 0..1 by layer: 0 where nothing counts."""

Sums = tuple[Tensor, ...]
"""Sums over positions: those of the parts of a picture add up to those of the whole."""


class Loss(Protocol):
    """A term of an objective. `layers` are those that it reads; a loss on pixels alone reads none."""

    @property
    def layers(self) -> tuple[str, ...]: ...

    def __call__(self, features: Features, picture: Tensor) -> Tensor:
        """The loss, a float32 scalar, of a picture `(B, 3, H, W)` and its features."""
        ...


class SumLoss(ABC):
    """A loss that is a function of sums over positions, so that a picture may be looked at tile by tile.

    `sums` of the tiles add up; `of_sums` of what they add up to is the loss, exactly.
    """

    layers: tuple[str, ...] = ()
    count: int
    """How many sums there are."""

    @abstractmethod
    def sums(self, features: Features, picture: Tensor, tile: Tile | None = None) -> Sums:
        """The sums over a picture, or over the core of a tile of it.

        With a `tile`, `features` are those of its core and `picture` is the tile with its halo.
        """

    @abstractmethod
    def of_sums(self, sums: Sums) -> Tensor:
        """The loss, a scalar."""

    def __call__(self, features: Features, picture: Tensor) -> Tensor:
        return self.of_sums(self.sums(features, picture))


def normalised_weights(layer_weights: Mapping[str, float]) -> dict[str, float]:
    """The same weights with sum 1, without the layers of weight 0."""
    total = sum(layer_weights.values())
    return {layer: weight / total for layer, weight in layer_weights.items() if weight > 0}


def weighted_sum(layer_weights: Mapping[str, float], losses: Iterator[Tensor]) -> Tensor:
    """The sum of the layers' losses by their weights."""
    parts = [weight * loss for weight, loss in zip(layer_weights.values(), losses, strict=True)]
    return sum(parts[1:], start=parts[0])


def cut(values: Tensor, layer: str, tile: Tile | None) -> Tensor:
    """What of values by position `(B, …, H, W)` of a whole layer belongs to the core of a tile."""
    if tile is None:
        return values
    rows, columns = tile.place(layer)
    return values[..., rows, columns]

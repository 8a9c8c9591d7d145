"""What a loss is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

Features = Mapping[str, Tensor]
"""Features `(B, C, H, W)` by layer."""

Weights = Mapping[str, Tensor]
"""Weights of positions `(B, 1, H, W)` in 0..1 by layer: 0 where nothing counts."""


class Loss(Protocol):
    """A term of an objective. `layers` are those that it reads; a loss on pixels alone reads none."""

    @property
    def layers(self) -> tuple[str, ...]: ...

    def __call__(self, features: Features, picture: Tensor) -> Tensor:
        """The loss, a float32 scalar, of a picture `(B, 3, H, W)` and its features."""
        ...


def normalised_weights(layer_weights: Mapping[str, float]) -> dict[str, float]:
    """The same weights with sum 1, without the layers of weight 0."""
    total = sum(layer_weights.values())
    return {layer: weight / total for layer, weight in layer_weights.items() if weight > 0}

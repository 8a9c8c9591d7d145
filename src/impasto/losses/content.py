"""Content: the features themselves (Gatys, Ecker, Bethge 2016, eq. 1), as a relative error."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from impasto.losses.base import Features, Weights, normalised_weights


class ContentLoss:
    """Mean over layers of ‖F − P‖² / ‖P‖², F the features of the picture and P those of the content.

    0 for the content itself, 1 for a picture without features. Differs from Gatys et al. (½ Σ (F − P)²) by the
    division, which makes strengths the same at every size and for every encoder.
    """

    def __init__(self, content: Features, layer_weights: Mapping[str, float], where: Weights | None = None) -> None:
        self.layer_weights = normalised_weights(layer_weights)
        self.layers = tuple(self.layer_weights)
        self._target = {layer: content[layer].detach() for layer in self.layers}
        self._where = {layer: where[layer] if where else None for layer in self.layers}

    def __call__(self, features: Features, picture: Tensor) -> Tensor:
        losses = [
            weight * relative_error(features[layer], self._target[layer], self._where[layer])
            for layer, weight in self.layer_weights.items()
        ]
        return sum(losses[1:], start=losses[0])


def relative_error(estimate: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
    """‖estimate − target‖² / ‖target‖² over everything, or over the weighted positions `(B, 1, H, W)`.

    An estimate of zeros gives 1. A target of zeros gives a very large number, not NaN.
    """
    target = target.float()
    difference = (estimate.float() - target).square()
    power = target.square()
    if where is not None:
        difference, power = difference * where, power * where
    return difference.sum() / power.sum().clamp(min=1e-12)

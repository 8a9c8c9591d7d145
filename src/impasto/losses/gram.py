"""Style as Gram matrices: which channels are active together (Gatys, Ecker, Bethge 2016, eq. 3-5)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from impasto.losses.base import Features, Weights, normalised_weights
from impasto.losses.content import relative_error


class GramLoss:
    """Mean over layers of ‖G − A‖² / ‖A‖², G the Gram matrix of the picture and A that of the style.

    0 when all Gram matrices agree, 1 for a picture without features. Differs from Gatys et al., who divide by
    4N²M² and sum: there a strength means something else for every layer, encoder and style.
    """

    def __init__(
        self,
        style: Features,
        layer_weights: Mapping[str, float],
        style_where: Weights | None = None,
        where: Weights | None = None,
    ) -> None:
        self.layer_weights = normalised_weights(layer_weights)
        self.layers = tuple(self.layer_weights)
        self._target = {
            layer: gram(style[layer].detach(), style_where[layer] if style_where else None) for layer in self.layers
        }
        self._where = {layer: where[layer] if where else None for layer in self.layers}

    def __call__(self, features: Features, picture: Tensor) -> Tensor:
        losses = [
            weight * relative_error(gram(features[layer], self._where[layer]), self._target[layer])
            for layer, weight in self.layer_weights.items()
        ]
        return sum(losses[1:], start=losses[0])


def gram(features: Tensor, where: Tensor | None = None) -> Tensor:
    """Gram matrices `(B, C, C)`, float32: the mean of f fᵀ over the positions of each picture.

    With `where` `(B, 1, H, W)` the weighted mean, so that it does not depend on how many positions count.
    """
    rows = as_rows(features)
    if where is None:
        return rows.transpose(1, 2) @ rows / rows.shape[1]
    weights = as_rows(where)
    return rows.transpose(1, 2) @ (rows * weights) / weights.sum(1, keepdim=True).clamp(min=1e-12)


def as_rows(features: Tensor) -> Tensor:
    """`(B, C, H, W)` as float32 `(B, H·W, C)`; free of copies for channels_last features."""
    return features.float().permute(0, 2, 3, 1).flatten(1, 2)

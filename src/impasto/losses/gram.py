"""Style as Gram matrices: which channels are active together (Gatys, Ecker, Bethge 2016, eq. 3-5)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from impasto.losses.base import Sums, Weights, normalised_weights, weighted_sum
from impasto.losses.content import relative_error
from impasto.losses.moments import Moments, MomentSums, moment_sums, moments_of_sums
from impasto.losses.style import StyleLoss


class GramLoss(StyleLoss):
    """Mean over layers of ‖G − A‖² / ‖A‖², G the Gram matrix of the picture and A that of the style.

    0 when all Gram matrices agree, 1 for a picture without features. Differs from Gatys et al., who divide by
    4N²M² and sum: there a strength means something else for every layer, encoder and style.
    """

    def __init__(
        self, style: Mapping[str, Moments], layer_weights: Mapping[str, float], where: Weights | None = None
    ) -> None:
        self.layer_weights = normalised_weights(layer_weights)
        self.layers = tuple(self.layer_weights)
        self._target = {layer: style[layer].second.detach() for layer in self.layers}
        self.where = where
        self.count = 2 * len(self.layers)

    def needed(self, sums: MomentSums) -> Sums:
        return sums[1:]

    def of_sums(self, sums: Sums) -> Tensor:
        pairs = zip(self._target.values(), sums[::2], sums[1::2], strict=True)
        return weighted_sum(
            self.layer_weights,
            (relative_error(total / count.clamp(min=1e-12)[..., None], target) for target, total, count in pairs),
        )


def gram(features: Tensor, where: Tensor | None = None) -> Tensor:
    """Gram matrices `(B, C, C)`, float32: the mean of f fᵀ over the positions of each picture.

    With `where` `(B, 1, H, W)` the weighted mean, so that it does not depend on how many positions count.
    """
    return moments_of_sums(*moment_sums(features, where)).second

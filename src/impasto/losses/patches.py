"""Style as patches: each patch of the picture is to be like the patch of the style that it is most like.

Li & Wand, "Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis" (CVPR 2016), section
3.1. With maps beside the features it is the style loss of Champandard, "Semantic Style Transfer and Turning Two-Bit
Doodles into Fine Artworks" (2016), section 3: maps take part in the match and in the value, and have no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.losses.base import Features, Weights, normalised_weights, weighted_sum
from impasto.losses.matching import Field, Grid, Sources

SIDE = 3
"""Of a patch, in positions of a layer."""


@dataclass(frozen=True, eq=False)
class Guide:
    """What is known of a picture at a layer beside its features.

    `maps` `(H, W, M)` are compared together with them; of `labels` `(H, W)` only equal ones match. For reports alone:
    `parts` `(H, W)` say what is where, and `origin` `(H, W, K)` where positions of a style come from.
    """

    maps: Tensor | None = None
    labels: Tensor | None = None
    parts: Tensor | None = None
    origin: Tensor | None = None

    def grid(self, features: Tensor) -> Grid:
        """The features `(H, W, C)` with the maps beside them."""
        return Grid(features if self.maps is None else torch.cat((features, self.maps), -1), self.labels)


UNGUIDED = Guide()


class PatchLoss:
    """Mean over layers of Σ_i ‖Ψ_i − Ψ_NN(i)‖² over the squares of as many mean patches of the style.

    Ψ_i are the patches of the picture, NN(i) the patch of the `styles` of the highest normalised cross-correlation, of
    features and maps. 0 for a picture that is made of such patches, about 1 for one without features. Positions under
    several patches count once, so that strengths mean the same for every size of patches. Matches are made anew at
    `every` so many calls: one that stays for good would mix in what the content is made of.
    """

    def __init__(
        self,
        styles: Sequence[Features],
        layer_weights: Mapping[str, float],
        content: Mapping[str, Guide] | None = None,
        guides: Sequence[Mapping[str, Guide]] | None = None,
        where: Weights | None = None,
        variety: float = 0.0,
        every: int = 1,
    ) -> None:
        self.layer_weights = normalised_weights(layer_weights)
        self.layers = tuple(self.layer_weights)
        guides = self._guides = guides or [{} for _ in styles]
        self._content = content or {}
        self._where = where
        self._every, self._calls = every, 0
        self._wanted: dict[str, tuple[Tensor, Tensor]] = {}
        self._targets = {
            layer: _Target(
                [features[layer] for features in styles], [guide.get(layer, UNGUIDED) for guide in guides], variety
            )
            for layer in self.layers
        }
        self.fields: dict[str, Field] = {}
        """Those of the last match, by layer."""

    def __call__(self, features: Features, picture: Tensor) -> Tensor:
        if self._calls % self._every == 0:
            for layer in self.layers:
                self._match(layer, features[layer].detach())
        self._calls += 1
        return weighted_sum(self.layer_weights, (self._of_layer(layer, features[layer]) for layer in self.layers))

    def _match(self, layer: str, features: Tensor) -> None:
        """Find out which patches of the styles are wanted where."""
        guide = self._content.get(layer, UNGUIDED)
        self.fields[layer] = self._targets[layer].sources.nearest(guide.grid(as_grid(features)))
        self._wanted[layer] = self._targets[layer].wanted(self.fields[layer], guide)

    def usage(self, layer: str) -> float:
        """How evenly patches are used, from 0 (one alone) to 1 (each as often as can be): an entropy."""
        place = self.fields[layer].place
        counts = place.flatten().bincount().double()
        shares = counts[counts > 0] / place.numel()
        most = min(place.numel(), self._targets[layer].sources.patches)
        return float(-(shares * shares.log()).sum() / math.log(most)) if most > 1 else 1.0

    def purity(self, layer: str) -> float | None:
        """The share of patches that come from a part like their own; None where parts are not known."""
        own = self._content.get(layer, UNGUIDED).parts
        theirs = self._of_sources(layer, "parts")
        if own is None or theirs is None:
            return None
        return float((self.fields[layer].centres_of(own) == theirs).double().mean())

    def origins(self, layer: str) -> Tensor | None:
        """What `origin` says at the centre of the patch that each patch is most like `(H', W', K)`."""
        return self._of_sources(layer, "origin")

    def _of_sources(self, layer: str, name: str) -> Tensor | None:
        """What guides of the styles know, at the centres of the patches of the last match."""
        known = [getattr(guide.get(layer, UNGUIDED), name) for guide in self._guides]
        if any(one is None for one in known):
            return None
        return self.fields[layer].at_centres(torch.cat([one.flatten(0, 1) for one in known]))

    def _of_layer(self, layer: str, features: Tensor) -> Tensor:
        wanted, rest = self._wanted[layer]
        power = self._targets[layer].power
        errors = (as_grid(features) - wanted).square().sum(-1) + rest
        if self._where is None:
            return errors.mean() / power
        where = self._where[layer][0, 0]
        return (errors * where).sum() / (where.sum().clamp(min=1e-12) * power)


class _Target:
    """The patches of the styles at one layer."""

    def __init__(self, styles: Sequence[Tensor], guides: Sequence[Guide], variety: float) -> None:
        grids = [as_grid(features.detach()) for features in styles]
        self.sources = Sources([guide.grid(own) for guide, own in zip(guides, grids, strict=True)], SIDE, variety)
        self._features = torch.cat([own.flatten(0, 1) for own in grids])
        self._squares = self._features.square().sum(-1, keepdim=True)
        self._maps = [guide.maps for guide in guides]
        self.power = self._squares.mean().clamp(min=1e-12)

    @torch.no_grad()
    def wanted(self, field: Field, guide: Guide) -> tuple[Tensor, Tensor]:
        """What the patches of a field bring to each position `(H, W, C)`, and by how much they differ there `(H, W)`.

        The mean square distance to several targets is that to their mean, and how far they are from it.
        """
        wanted = field.mean_of_sources(self._features)
        rest = field.mean_of_sources(self._squares)[..., 0] - wanted.square().sum(-1)
        if guide.maps is not None:
            maps = torch.cat([own.flatten(0, 1) for own in self._maps if own is not None])
            there = field.mean_of_sources(torch.cat((maps, maps.square().sum(-1, keepdim=True)), -1))
            rest = rest + (guide.maps - there[..., :-1]).square().sum(-1)
            rest = rest + there[..., -1] - there[..., :-1].square().sum(-1)
        return wanted, rest


def as_grid(features: Tensor) -> Tensor:
    """Features of one picture `(1, C, H, W)` as `(H, W, C)`, float32 or float64; free of copies for channels_last."""
    wide = features if features.dtype == torch.float64 else features.float()
    return wide[0].permute(1, 2, 0)

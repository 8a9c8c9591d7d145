"""The mixture of works that is nearest to a content, and why it is that one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from impasto.library.signature import Products, Signature, products
from impasto.library.simplex import Indices, Nearest, Vector, nearest


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights `(K,)`, float64, of sum 1, of K works by layer, with what speaks for each of them.

    Distances are ‖Σ r_k f_k − f‖² / ‖f‖² over all layers: 0 is the content's own texture. `distance` is the mixture's,
    `of_mean` that of the works' mean, `alone` `(K,)` that of each work, `without` `(K,)` how much further the nearest
    mixture would be without it, `gradient` `(K,)` how fast the distance changes as the work's share grows: none of them
    is below 0, but by rounding, where no shrinkage, character or limit keeps the mixture from the nearest point.
    """

    weights: dict[str, Vector]
    distance: float
    of_mean: float
    alone: Vector
    without: Vector
    gradient: Vector

    @property
    def mean_weights(self) -> Vector:
        """Of the layers."""
        found: Vector = np.mean([*self.weights.values()], 0)
        return found


def mix(
    content: Signature,
    works: Sequence[Signature],
    *,
    prior: Vector | None = None,
    shrinkage: float = 0.0,
    character: float = 0.0,
    max_works: int | None = None,
    joint: bool = False,
) -> Mixture:
    """The mixture of K works nearest to a content.

    `prior` `(K,)`, of sum 1, says which works count more where the mixture is drawn to all of them: by `shrinkage`, in
    units of a work's mean square, and by `character`, from the nearest mixture (0) to the prior itself (1). At most
    `max_works` take part in the nearest. Every layer has a mixture of its own, or if `joint` all have the same one.
    """
    prior = np.full(len(works), 1 / len(works)) if prior is None else prior
    by_layer = products(works, content)
    first, *rest = by_layer.values()
    together = sum(rest, start=first)
    problems = {tuple(by_layer): together} if joint else {(layer,): one for layer, one in by_layer.items()}
    weights: dict[str, Vector] = {}
    parts = []
    for layers, one in problems.items():
        nearest_weights = _of_few(one, prior, shrinkage, max_works)
        own = (1 - character) * nearest_weights + character * prior
        weights |= dict.fromkeys(layers, own)
        parts.append((one, own))
    return _explained(weights, parts, together, prior, shrinkage)


def _of_few(one: Products, prior: Vector, shrinkage: float, max_works: int | None) -> Vector:
    """Weights of the nearest mixture, of no more works than wanted."""
    weights = _nearest(one, prior, shrinkage).weights
    if max_works is None or np.count_nonzero(weights) <= max_works:
        return weights
    chosen = np.argsort(-weights)[:max_works]
    few = np.zeros_like(weights)
    few[chosen] = _nearest(one, prior, shrinkage, chosen).weights
    return few


def _nearest(one: Products, prior: Vector, shrinkage: float, chosen: Indices | None = None) -> Nearest:
    if chosen is None:
        chosen = np.arange(len(prior))
    own = prior[chosen]
    own = own / own.sum() if own.any() else np.full(len(chosen), 1 / len(chosen))
    among = one.works[np.ix_(chosen, chosen)]
    return nearest(among, one.with_content[chosen], one.content, shrinkage=shrinkage, prior=own)


def _explained(
    weights: dict[str, Vector],
    parts: Sequence[tuple[Products, Vector]],
    together: Products,
    prior: Vector,
    shrinkage: float,
) -> Mixture:
    """The mixture with its distances; `parts` are the problems solved, with the weights found."""
    distance, gradient, without = 0.0, np.zeros(len(prior)), np.zeros(len(prior))
    for one, own in parts:
        distance += _distance(one, own)
        slope = one.works @ own - one.with_content
        gradient += 2 * (slope - own @ slope)
        if len(prior) > 1:
            for k in np.flatnonzero(own).tolist():
                without[k] += _further_without(k, one, prior, shrinkage)
    unit = max(together.content, np.finfo(float).tiny)
    alone = together.content - 2 * together.with_content + together.works.diagonal()
    of_mean = _distance(together, prior)
    return Mixture(weights, max(0.0, distance) / unit, of_mean / unit, alone / unit, without / unit, gradient / unit)


def _distance(one: Products, weights: Vector) -> float:
    return float(one.content - 2 * weights @ one.with_content + weights @ one.works @ weights)


def _further_without(k: int, one: Products, prior: Vector, shrinkage: float) -> float:
    rest = np.delete(np.arange(len(prior)), k)
    return one.content * (_nearest(one, prior, shrinkage, rest).distance - _nearest(one, prior, shrinkage).distance)

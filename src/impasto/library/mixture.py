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
    per_layer: bool = False,
) -> Mixture:
    """The mixture of K works nearest to a content.

    `prior` `(K,)`, of sum 1, says which works count more where the mixture is drawn to all of them: by `shrinkage`, in
    units of a work's mean square, and by `character`, from the nearest mixture (0) to the prior itself (1). At most
    `max_works` take part in the nearest. With `per_layer` every layer has a mixture of its own.
    """
    prior = np.full(len(works), 1 / len(works)) if prior is None else prior
    by_layer = products(works, content)
    first, *rest = by_layer.values()
    together = sum(rest, start=first)
    problems = by_layer if per_layer else dict.fromkeys(by_layer, together)
    solved = {id(one): _of_few(one, prior, shrinkage, max_works) for one in problems.values()}
    found = {layer: (1 - character) * solved[id(one)] + character * prior for layer, one in problems.items()}
    return _explained(by_layer, together, found, prior, shrinkage)


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
    by_layer: dict[str, Products], together: Products, weights: dict[str, Vector], prior: Vector, shrinkage: float
) -> Mixture:
    distance, gradient = 0.0, np.zeros(len(prior))
    for layer, one in by_layer.items():
        own = weights[layer]
        distance += float(one.content - 2 * own @ one.with_content + own @ one.works @ own)
        slope = one.works @ own - one.with_content
        gradient += 2 * (slope - own @ slope)
    alone = together.content - 2 * together.with_content + together.works.diagonal()
    of_mean = float(together.content - 2 * prior @ together.with_content + prior @ together.works @ prior)
    nearest_of_all = _nearest(together, prior, shrinkage)
    without = np.zeros(len(prior))
    for k in np.flatnonzero(sum(weights.values()) > 0) if len(prior) > 1 else []:
        rest = np.delete(np.arange(len(prior)), k)
        without[k] = _nearest(together, prior, shrinkage, rest).distance - nearest_of_all.distance
    unit = max(together.content, np.finfo(float).tiny)
    return Mixture(weights, max(0.0, distance) / unit, of_mean / unit, alone / unit, without, gradient / unit)

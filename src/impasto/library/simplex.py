"""The mixture of points that is nearest to a target: least squares with weights on the simplex, exactly.

    r* = argmin ‖Σ_k r_k f_k − f‖² + μ ‖r − p‖²   with r_k ≥ 0, Σ r_k = 1

Wolfe, "Finding the nearest point in a polytope" (1976): the active set of weights above zero grows by the one with the
steepest gradient, and gives back what turns negative. The answer is sparse and comes with a certificate, its duality
gap. Of very many points only those are solved for exactly that a look at all of them picks out, until none is left
that would make the mixture better.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Indices = NDArray[np.intp]

WHOLE = slice(None)

TOLERANCE = 1e-12
"""Of the duality gap, in units of a mean point's square."""
TOLERANCE_OF_MANY = 1e-6
"""Of the duality gap where points are looked at in float32, in units of the target's square."""
CANDIDATES = 200
"""How many of the best points join the mixture's own at each look at very many."""
SMALL = 100
"""Of systems of equations: larger ones go to PyTorch, whose threads numpy's would wait for, ten times as long."""
BLOCK = 128
"""Points looked at together: those of a file in half precision, as float32, stay in a processor's cache."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Weights `(K,)`, float64, of sum 1, of the mixture nearest to a target.

    `distance` is ‖Σ r_k f_k − f‖² / ‖f‖², and `gap`, in the same unit, bounds how much lower it could be (with what
    shrinkage adds to it). `gradient` `(K,)`: the lower, the more a point would help; the lowest are those in use.
    """

    weights: Vector
    distance: float
    gap: float
    gradient: Vector
    iterations: int

    @property
    def effective_number(self) -> float:
        """How many points the mixture has in effect: 1 / Σ r²."""
        return float(1 / np.square(self.weights).sum())


def nearest(
    products: Matrix,
    with_target: Vector,
    target_square: float,
    *,
    shrinkage: float = 0.0,
    prior: Vector | None = None,
) -> Nearest:
    """The mixture of points nearest to a target, from their inner products alone.

    `products` are ⟨f_i, f_j⟩ `(K, K)`, `with_target` ⟨f_k, f⟩ `(K,)`, `target_square` ⟨f, f⟩. `shrinkage` draws the
    weights to the `prior` (of sum 1; even without one), in units of the points' mean square.
    """
    pull = shrinkage * float(np.trace(products)) / len(with_target)
    wanted = with_target + pull * _even_or(prior, len(with_target))
    active, own, gradient, gap, iterations = _solved(products, wanted, pull)
    weights = np.zeros(len(with_target))
    weights[active] = own
    square = target_square - 2 * own @ with_target[active] + own @ products[np.ix_(active, active)] @ own
    unit = max(target_square, np.finfo(float).tiny)
    return Nearest(weights, max(0.0, float(square)) / unit, 2 * gap / unit, gradient, iterations)


@dataclass(frozen=True, eq=False)
class Points:
    """Very many points, of any precision, maybe on disk: `shards` `(K, M)`, of which only some `rows` may count.

    `rows` are ascending, over all shards.
    """

    shards: Sequence[Tensor]
    rows: Indices | None = None

    def __len__(self) -> int:
        return sum(map(len, self.shards)) if self.rows is None else len(self.rows)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """All the points, in order, float32, some at a time, and which of all those that count they are.

        A block may be written on: the next one takes its place.
        """
        start, done, room = 0, 0, self.shards[0][:0].float()
        for shard in self.shards:
            for first in range(0, len(shard), BLOCK):
                block = shard[first : first + BLOCK]
                if self.rows is not None:
                    ends = np.searchsorted(self.rows, (start, start + len(block)))
                    within, start = self.rows[slice(*ends)] - start, start + len(block)
                    if len(within) < len(block):
                        block = block[torch.from_numpy(within)]
                if len(room) < len(block):
                    room = torch.empty(block.shape)
                yield slice(done, done + len(block)), room[: len(block)].copy_(block)
                done += len(block)

    def take(self, chosen: Indices, columns: slice = WHOLE) -> Tensor:
        """Some of the points `(n, M)`, float64, chosen by their places among those that count."""
        ends = np.cumsum([len(shard) for shard in self.shards])
        found = []
        for row in chosen if self.rows is None else self.rows[chosen]:
            place = int(np.searchsorted(ends, row, side="right"))
            shard = self.shards[place]
            found.append(shard[int(row) - int(ends[place]) + len(shard), columns].double())
        return torch.stack(found)


def nearest_of_many(
    points: Points,
    target: Tensor,
    *,
    parts: Sequence[slice] = (WHOLE,),
    shrinkage: float = 0.0,
    prior: Vector | None = None,
) -> list[Nearest]:
    """The mixtures of very many points nearest to a target `(M,)`: one for each of some `parts` of the numbers.

    As `nearest`, with gaps as small as float32 can tell. Each look at the points serves all the parts. Memory is
    bounded by a block of points, and some numbers for each.
    """
    prior = _even_or(prior, len(points))
    looks = _looked(points, [*((part, None) for part in parts), *((part, target[part]) for part in parts)])
    known = zip(parts, looks[: len(parts)], looks[len(parts) :], strict=True)
    searches = [_search(points, part, target[part], first, shrinkage, prior) for part, *first in known]
    found: dict[int, Nearest] = {}
    wanted = {place: next(search) for place, search in enumerate(searches)}
    while wanted:
        looks = _looked(points, [(parts[place], direction) for place, direction in wanted.items()])
        for place, products in zip([*wanted], looks, strict=True):
            try:
                wanted[place] = searches[place].send(products)
            except StopIteration as end:
                found[place] = end.value
                del wanted[place]
    return [found[place] for place in range(len(parts))]


def _search(
    points: Points, columns: slice, target: Tensor, first: Sequence[Vector], shrinkage: float, prior: Vector
) -> Generator[Tensor, Vector, Nearest]:
    """Find the nearest mixture of some columns, from the points' squares and products with the target.

    Asks for products of all points with a direction until none of them would make the mixture better.
    """
    (squares, products), target = first, target.double()
    pull = shrinkage * float(squares.mean())
    drawn = pull * prior
    unit = max(float(target @ target), np.finfo(float).tiny)
    unlike = squares / 2 - products - drawn
    chosen = _lowest(unlike, CANDIDATES)
    support, own = chosen[[unlike[chosen].argmin()]], np.ones(1)
    iterations = 0
    while True:
        rows = points.take(chosen, columns)
        wanted = (rows @ target).numpy() + drawn[chosen]
        start = np.searchsorted(chosen, support), own
        active, own, _, _, steps = _solved((rows @ rows.T).numpy(), wanted, pull, start)
        support = chosen[active]
        away = torch.from_numpy(own) @ rows[torch.from_numpy(active)] - target
        gradient = (yield away) - drawn  # of the difference, which float32 tells better
        gradient[support] += pull * own
        gap = 2 * float(own @ gradient[support] - gradient.min()) / unit
        iterations += steps
        better = _lowest(gradient, CANDIDATES)
        if gap <= TOLERANCE_OF_MANY or np.isin(better, chosen).all():
            break
        chosen = np.union1d(support, better)
    weights = np.zeros(len(points))
    weights[support] = own
    return Nearest(weights, float(away.square().sum()) / unit, gap, gradient, iterations)


def _looked(points: Points, looks: Sequence[tuple[slice, Tensor | None]]) -> list[Vector]:
    """Inner products of columns of all points with directions, or where there is none with themselves."""
    found = [torch.empty(len(points)) for _ in looks]
    wanted = [(columns, None if direction is None else direction.float()) for columns, direction in looks]
    for place, block in points.blocks():
        for (columns, direction), out in zip(wanted, found, strict=True):
            own = block[:, columns]
            out[place] = torch.linalg.vecdot(own, own) if direction is None else own @ direction
    return [one.double().numpy() for one in found]


def _solved(
    products: Matrix, wanted: Vector, pull: float, start: tuple[Indices, Vector] | None = None
) -> tuple[Indices, Vector, Vector, float, int]:
    """argmin ½ rᵀHr + ½ pull ‖r‖² − wantedᵀr on the simplex: support, weights there, gradient, gap, iterations.

    `start` is a support with weights; without it the best single point.
    """
    diagonal = products.diagonal()
    scale = max(float(diagonal.mean()), np.finfo(float).tiny)
    active, weights = start or (np.array([np.argmin(diagonal / 2 - wanted)]), np.ones(1))
    iterations = 0
    while True:
        gradient: Vector = products[:, active] @ weights - wanted
        gradient[active] += pull * weights
        gap = float(weights @ gradient[active] - gradient.min())
        entering = gradient.argmin()
        if gap <= TOLERANCE * scale or entering in active:
            return active, weights, gradient, gap, iterations
        iterations += 1
        grown = _settled(products, wanted, pull, np.append(active, entering), np.append(weights, 0.0))
        if entering not in grown[0]:  # rounding is all that is left to be won
            return active, weights, gradient, gap, iterations
        active, weights = grown


def _settled(products: Matrix, wanted: Vector, pull: float, active: Indices, weights: Vector) -> tuple[Indices, Vector]:
    """Go from weights to the best ones of the active points; where one would turn negative, leave it out and go on."""
    while True:
        best = _best_of(products[np.ix_(active, active)], wanted[active], pull)
        falling = best <= 0
        if not falling.any():
            return active, best
        reach = np.divide(weights, weights - best, out=np.full(len(best), np.inf), where=falling)
        first = reach.argmin()
        weights = weights + reach[first] * (best - weights)
        weights[first] = 0
        kept = weights > np.finfo(float).eps
        active, weights = active[kept], weights[kept] / weights[kept].sum()


def _best_of(products: Matrix, wanted: Vector, pull: float) -> Vector:
    """argmin ½ yᵀHy + ½ pull ‖y‖² − wantedᵀy with Σ y = 1, of either sign."""
    count = len(wanted)
    matrix = products + max(float(products.diagonal().mean()), np.finfo(float).tiny)  # the same, where Σ y = 1
    matrix.flat[:: count + 1] += pull
    sides = np.stack((wanted, np.ones(count)), 1)
    try:
        found = np.linalg.solve(matrix, sides) if count <= SMALL else _by_cholesky(matrix, sides)
    except np.linalg.LinAlgError:  # points that depend on each other
        found = np.linalg.lstsq(matrix, sides)[0]
    free, step = found.T
    best: Vector = free + (1 - free.sum()) / step.sum() * step
    return best


def _by_cholesky(matrix: Matrix, sides: Matrix) -> Matrix:
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
    if failed:
        raise np.linalg.LinAlgError
    found: Matrix = torch.cholesky_solve(torch.from_numpy(sides), factor).numpy()
    return found


def _lowest(values: Vector, count: int) -> Indices:
    if len(values) <= count:
        return np.arange(len(values))
    return np.sort(np.argpartition(values, count)[:count])


def _even_or(prior: Vector | None, count: int) -> Vector:
    return np.full(count, 1 / count) if prior is None else prior

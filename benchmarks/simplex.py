"""Ways to the mixture of works that is nearest to a photograph: how long they take, and how exact they are.

    python benchmarks/simplex.py --data DATA --cache signatures.safetensors --out benchmarks/results/simplex

`DATA` holds folders of works, `painting-sets` and `paintings`, and of `photos`. Of all works K are drawn; where that
is more than there are, the others are crops, at random places, of a quarter of a work's area. Their signatures take
minutes, and are kept in the cache. Needs quadprog, osqp and scipy.

Times are CPU time; solvers have one thread, and all but `nearest_of_many` are given the inner products. Frank-Wolfe and
FISTA stop at a duality gap of 1e-8, OSQP at residuals as small, and all three after a minute, with what they have by
then; what takes over two minutes is left out (–). Weights are put on the simplex, if they are beside it, before they
are judged; those above 1e-6 are in use. Writes a table (.md) and numbers (.json).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import statistics
import time
import timeit
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.encoders import load_encoder, weights_checksum
from impasto.library.signature import signature
from impasto.library.simplex import Matrix, Points, Vector, nearest, nearest_of_many
from impasto.pictures.files import read_picture
from impasto.pictures.folders import pictures_in
from impasto.pictures.picture import Picture
from speed import processor_name

COUNTS = (10, 40, 400, 3000)
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
GAP = 1e-8
SECONDS = 60
"""Of CPU time, for who works step by step."""
LIMIT = 120
"""Of CPU time, for all that a process does."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, eq=False)
class Problem:
    """Works `(K, M)` and a photograph `(M,)`, float32, and their inner products, as `nearest` takes them."""

    points: NDArray[np.float32]
    target: NDArray[np.float32]
    products: Matrix
    with_target: Vector
    target_square: float

    def gap(self, weights: Vector) -> float:
        """2 (r·g − min g), g = Hr − c, in units of the target's square."""
        gradient = self.products @ weights - self.with_target
        return 2 * float(weights @ gradient - gradient.min()) / self.target_square

    def distance(self, weights: Vector) -> float:
        """‖Σ r_k f_k − f‖² / ‖f‖²."""
        square = self.target_square + weights @ (self.products @ weights - 2 * self.with_target)
        return float(square) / self.target_square


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="file for the signatures")
    parser.add_argument("--photo", default="tubingen-neckarfront.jpg")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--runs", type=int, default=7, help="of what takes less than seconds")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    known = signatures(options.data, options.data / "photos" / options.photo, max(options.counts), options.cache)
    os.environ.update(ONE_THREAD)  # of the processes that measure
    problems = []
    for count in options.counts:
        began = time.process_time()
        problem = problem_of(known, count)
        milliseconds = 1000 * (time.process_time() - began)
        lowest, highest = np.linalg.eigvalsh(problem.products)[[0, -1]].tolist()
        about = {"works": count, "condition": highest / max(lowest, float(np.finfo(float).eps) * highest)}
        solved = {solver: in_child(solver, problem, options.runs) for solver in SOLVERS}
        problems.append({**about, "milliseconds": milliseconds, "solvers": solved})
        print(problems[-1], flush=True)
    report = {"processor": processor_name(), "photo": options.photo, "problems": problems}
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(report))
    print(table(report))


def signatures(data: Path, photo: Path, count: int, cache: Path) -> dict[str, Tensor]:
    """By layer, the signatures of a photograph and of this many works `(1 + count, M)`."""
    paths = pictures_in(data / "painting-sets") + pictures_in(data / "paintings")
    random.Random(0).shuffle(paths)
    encoder = load_encoder("lite")
    about = {"made of": json.dumps([weights_checksum(encoder), count, photo.name, *(path.name for path in paths)])}
    if cache.exists():
        with safe_open(cache, "pt") as file:
            if file.metadata() == about:
                return {layer: file.get_tensor(layer) for layer in LAYERS}
    found = [signature(encoder, read_picture(photo), LAYERS)]
    for k in range(count):
        work = read_picture(paths[k % len(paths)])
        found.append(signature(encoder, work if k < len(paths) else quarter(work, random.Random(k)), LAYERS))
    stacked = {layer: torch.stack([one[layer] for one in found]) for layer in LAYERS}
    save_file(stacked, cache, about)
    return stacked


def quarter(picture: Picture, chance: random.Random) -> Picture:
    """A crop of half the height and half the width."""
    height, width = picture.height // 2, picture.width // 2
    top, left = chance.randint(0, height), chance.randint(0, width)
    where = (..., slice(top, top + height), slice(left, left + width))
    return replace(picture, pixels=picture.pixels[where], alpha=None if picture.alpha is None else picture.alpha[where])


def problem_of(known: dict[str, Tensor], count: int) -> Problem:
    """Layers are in units of the works' mean square, as `impasto.library.signature.products` has them."""
    layers = [rows[: count + 1] / rows[1 : count + 1].square().sum(1).mean().sqrt() for rows in known.values()]
    target, *points = torch.cat(layers, 1).split((1, count))  # type: ignore[no-untyped-call]
    exact, exact_target = points[0].double(), target[0].double()
    return Problem(
        points[0].numpy(),
        target[0].numpy(),
        (exact @ exact.T).numpy(),
        (exact @ exact_target).numpy(),
        float(exact_target @ exact_target),
    )


def in_child(solver: str, problem: Problem, runs: int) -> dict[str, Any]:
    """What a process of its own has measured; nothing if it ran into the limit."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=measure, args=(sender, solver, problem, runs))
    child.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv()
    except EOFError:
        found = {}
    child.join()
    if child.exitcode not in (0, -signal.SIGXCPU):
        raise RuntimeError(f"{solver} of {len(problem.products)} works ended with {child.exitcode}")
    return found


def measure(sender: Connection, solver: str, problem: Problem, runs: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 1))
    solve = partial(SOLVERS[solver], problem)
    began = time.process_time()
    weights = on_simplex(solve())
    times = [time.process_time() - began]
    if times[0] < SECONDS / 10:  # its clock ticks in milliseconds, so that a run is many calls
        timer = timeit.Timer(solve, timer=time.process_time)
        times = [seconds / calls for calls, seconds in (timer.autorange() for _ in range(runs))]
    sender.send(
        {
            "milliseconds": 1000 * statistics.median(times),
            "gap": problem.gap(weights),
            "used": int((weights > 1e-6).sum()),
            "distance": problem.distance(weights),
        }
    )


def active_set(problem: Problem) -> Vector:
    return nearest(problem.products, problem.with_target, problem.target_square).weights


def active_set_of_many(problem: Problem) -> Vector:
    """From the points themselves, without the inner products of all."""
    [found] = nearest_of_many(Points([torch.from_numpy(problem.points)]), torch.from_numpy(problem.target))
    return found.weights


def pairwise_frank_wolfe(problem: Problem) -> Vector:
    """Lacoste-Julien & Jaggi (2015): weight goes from the worst of the works in use to the best of all."""
    products, deadline = problem.products, time.process_time() + SECONDS
    first = np.argmin(products.diagonal() / 2 - problem.with_target)
    weights = np.zeros(len(products))
    weights[first] = 1
    gradient = products[first] - problem.with_target
    while time.process_time() < deadline:
        best, worst = gradient.argmin(), np.where(weights > 0, gradient, -np.inf).argmax()
        if 2 * (weights @ gradient - gradient[best]) <= GAP * problem.target_square:
            break
        curvature = products[best, best] - 2 * products[best, worst] + products[worst, worst]
        step = min(weights[worst], (gradient[worst] - gradient[best]) / curvature)
        weights[[best, worst]] += step, -step
        gradient += step * (products[best] - products[worst])
    return weights


def fista(problem: Problem) -> Vector:
    """Beck & Teboulle (2009), begun anew where momentum leads uphill (O'Donoghue & Candès 2015)."""
    to_target = problem.with_target - problem.target_square / 2
    products = problem.products - to_target[:, None] - to_target  # of f_k − f: the same on the simplex, and flatter
    step, deadline = 1 / np.abs(products).sum(1).max(), time.process_time() + SECONDS
    weights = np.full(len(products), 1 / len(products))
    ahead, momentum = weights, 1.0
    gradient = gradient_ahead = products @ weights
    while time.process_time() < deadline and 2 * (weights @ gradient - gradient.min()) > GAP * problem.target_square:
        moved = on_simplex(ahead - step * gradient_ahead)
        gradient_moved = products @ moved
        if (ahead - moved) @ (moved - weights) > 0:
            momentum = 1.0
        momentum, before = (1 + (1 + 4 * momentum**2) ** 0.5) / 2, momentum
        share = (before - 1) / momentum
        ahead, gradient_ahead = moved + share * (moved - weights), gradient_moved + share * (gradient_moved - gradient)
        weights, gradient = moved, gradient_moved
    return weights


def on_simplex(values: Vector) -> Vector:
    """The nearest weights of sum 1, none negative (Held, Wolfe & Crowder 1974)."""
    falling = -np.sort(-values)
    thresholds = (falling.cumsum() - 1) / np.arange(1, len(values) + 1)
    weights: Vector = np.maximum(values - thresholds[(falling > thresholds).sum() - 1], 0)
    return weights


def with_quadprog(problem: Problem) -> Vector:
    """Goldfarb & Idnani (1983); 1e-12 of a mean square more on the diagonal, as works may be there twice."""
    import quadprog  # type: ignore[import-not-found]

    count = len(problem.products)
    matrix = problem.products + 1e-12 * problem.products.diagonal().mean() * np.eye(count)
    constraints, bounds = np.hstack((np.ones((count, 1)), np.eye(count))), np.eye(count + 1)[0]
    weights: Vector = quadprog.solve_qp(matrix, problem.with_target, constraints, bounds, meq=1)[0]
    return weights


def with_osqp(problem: Problem) -> Vector:
    """Stellato and others (2020): ADMM, its result polished."""
    import osqp  # type: ignore[import-untyped]
    from scipy import sparse  # type: ignore[import-untyped]

    count = len(problem.products)
    solver = osqp.OSQP()
    solver.setup(
        sparse.csc_matrix(np.triu(problem.products)),
        -problem.with_target,
        sparse.vstack((np.ones((1, count)), sparse.eye(count)), "csc"),
        np.eye(count + 1)[0],
        np.append(1, np.full(count, np.inf)),
        **{"eps_abs": GAP, "eps_rel": GAP, "max_iter": 10**7, "time_limit": SECONDS, "polishing": True},
        verbose=False,
    )
    weights: Vector = solver.solve().x
    return weights


def with_slsqp(problem: Problem) -> Vector:
    """Kraft (1988)."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    count = len(problem.products)
    weights: Vector = minimize(
        lambda r: (r @ (problem.products @ r / 2 - problem.with_target), problem.products @ r - problem.with_target),
        np.full(count, 1 / count),
        jac=True,
        method="SLSQP",
        bounds=[(0, None)] * count,
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-14, "maxiter": 10_000},
    ).x
    return weights


SOLVERS: dict[str, Callable[[Problem], Vector]] = {
    "`nearest`": active_set,
    "`nearest_of_many`": active_set_of_many,
    "pairwise Frank-Wolfe": pairwise_frank_wolfe,
    "quadprog": with_quadprog,
    "OSQP": with_osqp,
    "FISTA": fista,
    "SLSQP": with_slsqp,
}


def table(report: dict[str, Any]) -> str:
    """Times and gaps, then distances and works in use, of every number of works and solver."""
    problems = report["problems"]
    counts = [f"K = {problem['works']:,}" for problem in problems]
    rule = row("---", ["---"] * len(counts))
    lines = [f"{report['processor']}; {report['photo']}", "", row("ms (gap)", counts), rule]
    lines.append(row("condition number of H", (condition(problem["condition"]) for problem in problems)))
    lines.append(row("H and c, from signatures", (f"{problem['milliseconds']:,.1f}" for problem in problems)))
    lines += rows_of_solvers(problems, time_and_gap)
    lines += ["", row("distance (works in use)", counts), rule]
    lines += rows_of_solvers(problems, distance_and_use)
    return "\n".join(lines) + "\n"


def rows_of_solvers(problems: list[dict[str, Any]], cell: Callable[[dict[str, Any]], str]) -> list[str]:
    return [row(solver, (cell(problem["solvers"][solver]) for problem in problems)) for solver in SOLVERS]


def row(title: str, cells: Iterable[str]) -> str:
    return f"| {title} | {' | '.join(cells)} |"


def condition(number: float) -> str:
    return f"{number:.0e}" if number < 1e15 else "singular"


def time_and_gap(found: dict[str, Any]) -> str:
    if not found:
        return "–"
    milliseconds = found["milliseconds"]
    return f"{milliseconds:,.{1 if milliseconds >= 1 else 2}f} ({max(0, found['gap']):.0e})"


def distance_and_use(found: dict[str, Any]) -> str:
    return f"{found['distance']:.6f} ({found['used']})" if found else "–"


if __name__ == "__main__":
    main()

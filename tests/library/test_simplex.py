"""The nearest mixture of points: optimal, exact, sparse, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.library.simplex import SMALL, Nearest, Points, Vector, nearest, nearest_of_many


def random_points(count: int, dimensions: int, seed: int = 0) -> Tensor:
    """Positive ones, nearly parallel, as Gram matrices are: badly conditioned."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.logspace(0, -4, dimensions, dtype=torch.float64)
    return 1 + spread * torch.randn(count, dimensions, dtype=torch.float64, generator=generator)


def solved(points: Tensor, target: Tensor, **settings: object) -> Nearest:
    products, with_target = (points @ points.T).numpy(), (points @ target).numpy()
    return nearest(products, with_target, float(target @ target), **settings)  # type: ignore[arg-type]


def is_optimal(found: Nearest, points: Tensor, target: Tensor, pull: float = 0.0, tolerance: float = 1e-9) -> bool:
    """Karush-Kuhn-Tucker: no gradient below that of the points in use, and theirs all the same."""
    weights = torch.from_numpy(found.weights)
    gradient = points @ (weights @ points - target) + pull * (weights - 1 / len(weights))
    used = gradient[weights > 0]
    scale = float(points.square().sum(1).mean())
    return bool(used.max() - gradient.min() <= tolerance * scale)


@pytest.mark.parametrize("count", [1, 2, 10, 40, 400])
@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_mixture_is_optimal(count: int, seed: int) -> None:
    points, target = random_points(count, 60, seed), random_points(1, 60, seed + 100)[0]
    found = solved(points, target)
    assert is_optimal(found, points, target)
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    assert found.weights.min() >= 0
    assert abs(found.gap) < 1e-10
    distance = (torch.from_numpy(found.weights) @ points - target).square().sum() / target.square().sum()
    assert found.distance == pytest.approx(float(distance), rel=1e-6)


def test_in_the_plane() -> None:
    triangle = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    for target, weights in (
        ((1.0, 1.0), (0.5, 0.25, 0.25)),  # within
        ((4.0, 4.0), (0.0, 0.5, 0.5)),  # beyond a side
        ((-1.0, 2.0), (0.5, 0.0, 0.5)),
        ((9.0, -1.0), (0.0, 1.0, 0.0)),  # beyond a corner
    ):
        found = solved(triangle, torch.tensor(target, dtype=torch.float64))
        np.testing.assert_allclose(found.weights, weights, atol=1e-12)


@pytest.mark.parametrize("which", [0, 3, 39])
def test_a_target_that_is_one_of_the_points_is_that_point(which: int) -> None:
    points = random_points(40, 60)
    found = solved(points, points[which])
    np.testing.assert_allclose(found.weights, np.eye(40)[which], atol=1e-9)
    assert found.distance < 1e-12


def test_the_order_of_points_does_not_matter() -> None:
    points, target = random_points(40, 60), random_points(1, 60, seed=7)[0]
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(solved(points[order], target).weights, solved(points, target).weights[order], atol=1e-9)


def test_points_given_twice_change_nothing_but_their_share() -> None:
    points, target = random_points(10, 60), random_points(1, 60, seed=7)[0]
    once, twice = solved(points, target), solved(torch.cat((points, points)), target)
    np.testing.assert_allclose(twice.weights[:10] + twice.weights[10:], once.weights, atol=1e-9)
    assert twice.distance == pytest.approx(once.distance, rel=1e-9)


def test_all_points_alike() -> None:
    points = torch.ones(5, 3, dtype=torch.float64)
    found = solved(points, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    assert found.weights.sum() == pytest.approx(1)
    assert found.distance == pytest.approx(5 / 14)


def test_points_that_are_nothing() -> None:
    found = solved(torch.zeros(3, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64))
    assert found.weights.sum() == 1
    assert (found.distance, found.gap) == (0, 0)


def test_shrinkage_leads_from_the_nearest_to_the_prior() -> None:
    points, target = random_points(40, 60), random_points(1, 60, seed=7)[0]
    unit = float(points.square().sum(1).mean())
    numbers = []
    for shrinkage in (0.0, 1e-4, 1e-2, 1.0, 1e6):
        found = solved(points, target, shrinkage=shrinkage)
        assert is_optimal(found, points, target, shrinkage * unit)
        numbers.append(found.effective_number)
    assert numbers == sorted(numbers)
    assert numbers[-1] == pytest.approx(40, rel=1e-3)
    prior = np.arange(40) / np.arange(40).sum()
    np.testing.assert_allclose(solved(points, target, shrinkage=1e8, prior=prior).weights, prior, atol=1e-6)


def with_many(count: int = 3000, dimensions: int = 64) -> tuple[Tensor, Tensor]:
    return random_points(count, dimensions).float(), random_points(1, dimensions, seed=99)[0].float()


@pytest.mark.parametrize("shrinkage", [0.0, 1e-5])
def test_very_many_points_have_the_same_nearest_mixture(shrinkage: float) -> None:
    points, target = with_many()
    [found] = nearest_of_many(Points([points]), target, shrinkage=shrinkage)
    exact = solved(points.double(), target.double(), shrinkage=shrinkage)
    assert found.distance == pytest.approx(exact.distance, rel=1e-4, abs=1e-9)
    assert found.gap < 1e-6
    assert found.weights.sum() == pytest.approx(1)


def test_very_many_points_are_looked_at_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    points, target = with_many(1000)
    [whole] = nearest_of_many(Points([points]), target)
    monkeypatch.setattr("impasto.library.simplex.BLOCK", 7)
    np.testing.assert_allclose(nearest_of_many(Points([points]), target)[0].weights, whole.weights, atol=1e-4)


def test_half_precision_will_do() -> None:
    points, target = with_many()
    half, whole = (nearest_of_many(Points([values]), target)[0] for values in (points.half(), points))
    mixture: Vector = half.weights @ points.double().numpy()
    distance = np.square(mixture - target.double().numpy()).sum() / float(target.double().square().sum())
    assert distance == pytest.approx(whole.distance, abs=1e-5)


def test_points_in_shards_are_the_same_points_and_some_of_them_too() -> None:
    points, target = torch.rand(50, 6, generator=torch.Generator().manual_seed(0)), torch.rand(6)
    shards = points.split([7, 30, 13])
    rows = np.array([0, 6, 7, 20, 36, 37, 49])
    for chosen in (None, rows):
        mine, plain = Points(shards, chosen), points
        plain = plain if chosen is None else plain[torch.from_numpy(chosen)]
        assert len(mine) == len(plain)
        read = torch.full((len(mine), 6), torch.nan)
        for place, block in mine.blocks():
            read[place] = block
        assert torch.equal(read, plain)
        assert torch.equal(mine.take(np.array([0, 4, 6]), slice(1, 5)), plain[[0, 4, 6], 1:5].double())
        [found], [wanted] = (nearest_of_many(one, target) for one in (mine, Points([plain])))
        np.testing.assert_allclose(found.weights, wanted.weights, atol=1e-6)


def test_parts_of_the_numbers_are_problems_of_their_own() -> None:
    points, target = with_many()
    parts = [slice(0, 3), slice(3, 40), slice(40, 64)]
    found = nearest_of_many(Points([points]), target, parts=parts, shrinkage=1e-4)
    assert len({one.iterations for one in found}) > 1  # or a mix-up could not be told
    for part, mine in zip(parts, found, strict=True):
        [alone] = nearest_of_many(Points([points[:, part].clone()]), target[part], shrinkage=1e-4)
        np.testing.assert_allclose(mine.weights, alone.weights, atol=1e-4)
        assert mine.distance == pytest.approx(alone.distance, rel=1e-3, abs=1e-9)
        assert mine.gap < 1e-6


def test_mixtures_of_hundreds_are_as_exact() -> None:
    points, target = random_points(400, 300), random_points(1, 300, seed=99)[0]
    found = solved(points, target, shrinkage=1.0)
    assert np.count_nonzero(found.weights) > SMALL
    assert is_optimal(found, points, target, float(points.square().sum(1).mean()))
    twins = torch.cat([points, points])  # points that depend on each other
    assert solved(twins, target, shrinkage=0).distance == pytest.approx(
        solved(points, target, shrinkage=0).distance, rel=1e-6, abs=1e-12
    )

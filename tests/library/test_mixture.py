"""Mixtures: the nearest one, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from impasto.library.mixture import mix
from impasto.library.signature import Signature


def signatures(count: int, seed: int = 0) -> list[Signature]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {"fine": torch.rand(12, generator=generator), "deep": 9 * torch.rand(5, generator=generator)}
        for _ in range(count)
    ]


CONTENT, *WORKS = signatures(9)


def mixed(weights: np.ndarray) -> Signature:
    return {layer: sum(w * work[layer] for w, work in zip(weights, WORKS, strict=True)) for layer in CONTENT}  # type: ignore[misc]


def distance(weights: np.ndarray) -> float:
    """Of a mixture, every layer in units of the works' mean square."""
    found, square, mixture = 0.0, 0.0, mixed(weights)
    for layer, own in CONTENT.items():
        unit = float(torch.stack([work[layer] for work in WORKS]).square().sum(1).mean())
        found += float((mixture[layer] - own).square().sum()) / unit
        square += float(own.square().sum()) / unit
    return found / square


def test_distances_are_those_of_the_mixtures() -> None:
    found = mix(CONTENT, WORKS, joint=True)
    assert found.distance == pytest.approx(distance(found.mean_weights), rel=1e-5)
    assert found.of_mean == pytest.approx(distance(np.full(8, 1 / 8)), rel=1e-5)
    np.testing.assert_allclose(found.alone, [distance(one) for one in np.eye(8)], rtol=1e-5)
    assert found.distance < min(found.of_mean, found.alone.min())


def test_the_gradient_is_that_of_the_distance() -> None:
    found = mix(CONTENT, WORKS, character=0.7, joint=True)
    weights, step = found.mean_weights, 1e-4
    for k, corner in enumerate(np.eye(8)):
        ahead, behind = (distance(weights + sign * step * (corner - weights)) for sign in (1, -1))
        assert found.gradient[k] == pytest.approx((ahead - behind) / (2 * step), abs=1e-3)


def test_no_gradient_points_further_at_the_nearest_mixture() -> None:
    found = mix(CONTENT, WORKS, joint=True)
    assert found.gradient.min() > -1e-6
    np.testing.assert_allclose(found.gradient[found.mean_weights > 0], 0, atol=1e-6)


def test_without_a_work_the_next_nearest_mixture_is_so_much_further() -> None:
    found = mix(CONTENT, WORKS, joint=True)
    used = int(found.mean_weights.argmax())
    rest = [work for k, work in enumerate(WORKS) if k != used]
    fewer = np.insert(mix(CONTENT, rest, joint=True).mean_weights, used, 0)
    assert found.without[used] == pytest.approx(distance(fewer) - found.distance, abs=0.02)
    assert found.without[used] > 0
    assert not found.without[found.mean_weights == 0].any()


def test_one_work_is_the_mixture() -> None:
    found = mix(CONTENT, WORKS[:1], shrinkage=0.1, character=0.5)
    np.testing.assert_allclose(found.mean_weights, 1)
    assert found.distance == pytest.approx(found.of_mean)


def test_a_work_that_is_there_twice_changes_the_split_alone() -> None:
    once = mix(CONTENT, WORKS, joint=True)
    k = int(once.mean_weights.argmax())
    twice = mix(CONTENT, [*WORKS, WORKS[k]], joint=True)
    assert twice.mean_weights[[k, 8]].sum() == pytest.approx(once.mean_weights[k], abs=0.02)
    assert twice.distance == pytest.approx(once.distance, rel=0.02)

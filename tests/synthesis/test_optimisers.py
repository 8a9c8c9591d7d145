"""Adam at three resolutions, and L-BFGS: one step at a time, and what is carried to another size."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.synthesis.optimisers import LBFGS, LEVEL_SHARES, Adam, Optimiser, level_size, resampled_moments


def gray(height: int = 8, width: int = 8) -> Tensor:
    return torch.full((1, 3, height, width), 0.5)


def evaluated(optimiser: Optimiser, loss_of: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
    def evaluate() -> Tensor:
        optimiser.picture.grad = None
        loss = loss_of(optimiser.picture)
        loss.backward()
        return loss.detach()

    return evaluate


def steps(optimiser: Optimiser, loss_of: Callable[[Tensor], Tensor], count: int) -> list[float]:
    return [optimiser.step(evaluated(optimiser, loss_of)) for _ in range(count)]


def quadratic(target: float | Tensor) -> Callable[[Tensor], Tensor]:
    return lambda picture: (picture - target).square().mean()


@pytest.mark.parametrize("kind", [Adam, LBFGS])
def test_a_step_returns_the_loss_before_it(kind: type[Adam | LBFGS]) -> None:
    assert steps(kind(gray(), 0.02), quadratic(0.9), 1) == pytest.approx([0.16])


@pytest.mark.parametrize("kind", [Adam, LBFGS])
def test_the_optimiser_owns_a_copy(kind: type[Adam | LBFGS]) -> None:
    picture = gray()
    optimiser = kind(picture, 0.02)
    steps(optimiser, quadratic(0.9), 2)
    assert torch.equal(picture, gray())
    assert not torch.equal(optimiser.picture, picture)


@pytest.mark.parametrize("kind", [Adam, LBFGS])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_any_layout_in_memory_will_do(kind: type[Adam | LBFGS], layout: torch.memory_format) -> None:
    optimiser = kind(gray().contiguous(memory_format=layout), 0.02)
    losses = steps(optimiser, quadratic(torch.linspace(0, 1, 8)), 10)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", [Adam, LBFGS])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 1), (3, 5)])
def test_any_shape_will_do(kind: type[Adam | LBFGS], height: int, width: int) -> None:
    optimiser = kind(gray(height, width), 0.05)
    losses = steps(optimiser, quadratic(0.9), 30)
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("kind", [Adam, LBFGS])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_nothing_moves_where_the_loss_is_no_number(kind: type[Adam | LBFGS], what: str) -> None:
    def broken(picture: Tensor) -> Tensor:
        return picture.sum() * math.nan if what == "loss" else (0 * picture).sqrt().sum() + 1

    optimiser = kind(gray(), 0.02)
    assert math.isnan(steps(optimiser, broken, 1)[0])
    assert torch.equal(optimiser.picture, gray())


def test_adam_goes_on_unharmed_after_a_loss_that_is_no_number() -> None:
    harmed, unharmed = Adam(gray(), 0.02), Adam(gray(), 0.02)
    steps(harmed, lambda picture: picture.sum() * math.nan, 3)
    assert steps(harmed, quadratic(0.9), 5) == steps(unharmed, quadratic(0.9), 5)


def test_adam_does_not_care_for_the_size_of_the_loss() -> None:
    optimisers = [Adam(gray(), 0.02) for _ in range(2)]
    for optimiser, factor in zip(optimisers, (1.0, 1e-6), strict=True):
        steps(optimiser, lambda picture, f=factor: f * quadratic(torch.linspace(0, 1, 8))(picture), 5)
    assert_close(optimisers[0].picture, optimisers[1].picture, atol=1e-4, rtol=0)


def test_the_first_step_moves_a_flat_area_by_the_shares_of_all_resolutions() -> None:
    optimiser = Adam(gray(), 0.02)
    steps(optimiser, quadratic(0.9), 1)
    assert_close(optimiser.picture.detach(), gray() + 0.02 * sum(LEVEL_SHARES), atol=1e-5, rtol=0)


@pytest.mark.parametrize("target", [-2.0, 3.0])
def test_adam_clamps(target: float) -> None:
    optimiser = Adam(gray(), 0.3)
    steps(optimiser, quadratic(target), 10)
    assert_close(optimiser.picture.detach(), torch.full_like(gray(), float(target > 0)))


def test_adam_goes_on_from_its_moments() -> None:
    whole = Adam(gray(), 0.02)
    steps(whole, quadratic(torch.linspace(0, 1, 8)), 3)
    again = Adam(whole.picture, 0.02, {name: value.clone() for name, value in whole.moments().items()})
    expected = steps(whole, quadratic(torch.linspace(0, 1, 8)), 3)
    assert steps(again, quadratic(torch.linspace(0, 1, 8)), 3) == expected
    assert torch.equal(again.picture, whole.picture)


def test_moments_lie_in_memory_as_they_did_before_they_were_saved() -> None:
    """On that the last bit of a sum may depend; files forget it."""
    channels_last = torch.channels_last
    whole = Adam(gray(16, 24).contiguous(memory_format=channels_last), 0.02)
    steps(whole, quadratic(0.3), 1)
    before = whole.moments()
    saved = {
        name: one if name == "step" else one.contiguous(memory_format=channels_last) for name, one in before.items()
    }
    again = Adam(whole.picture, 0.02, saved).moments()
    assert {name: one.stride() for name, one in again.items()} == {name: one.stride() for name, one in before.items()}


def test_moments_at_another_size_follow_the_area() -> None:
    """For a mean loss on a flat picture, the moments at twice the size are those that twice the size would learn."""
    small, large = Adam(gray(8, 8), 0.02), Adam(gray(16, 16), 0.02)
    for optimiser in (small, large):
        steps(optimiser, quadratic(0.9), 4)
    carried, learnt = resampled_moments(small.moments(), large.picture), large.moments()
    assert carried.keys() == learnt.keys()
    for name, value in learnt.items():
        assert_close(carried[name], value, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (11, 23), (8, 9), (1, 40)])
def test_moments_fit_every_size(height: int, width: int) -> None:
    small = Adam(gray(5, 7), 0.02)
    steps(small, quadratic(0.9), 2)
    large = Adam(gray(height, width), 0.02, resampled_moments(small.moments(), gray(height, width)))
    steps(large, quadratic(0.9), 2)
    for name, value in large.moments().items():
        if name != "step":
            assert value.shape[-2:] == level_size(gray(height, width), int(name.partition(".")[2]))
    assert (large.picture > 0.5).all()


def test_moments_of_no_steps_are_none() -> None:
    assert Adam(gray(), 0.02).moments() == {}
    assert resampled_moments({}, gray()) == {}
    assert LBFGS(gray()).moments() == {}


def test_lbfgs_solves_a_quadratic_at_once() -> None:
    optimiser = LBFGS(gray(32, 32))
    losses = steps(optimiser, quadratic(torch.linspace(0, 1, 32)), 4)
    assert losses[-1] < 1e-6 * losses[0]


def test_lbfgs_does_not_stop_at_the_small_gradients_of_a_large_picture() -> None:
    # as small as those of a loss of 1 at 2048 × 2048
    optimiser = LBFGS(gray(64, 64))
    losses = steps(optimiser, lambda picture: 1e-3 * quadratic(torch.linspace(0, 1, 64))(picture), 6)
    assert losses[-1] < 1e-2 * losses[0]


def test_lbfgs_does_not_stand_still_at_kinks() -> None:
    target = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    optimiser = LBFGS(gray())
    losses = steps(optimiser, lambda p: (p - target).abs().mean() + (p - 0.3).square().mean(), 80)
    assert losses[-1] < losses[20] < 0.9 * losses[0]

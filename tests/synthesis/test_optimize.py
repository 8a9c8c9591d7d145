"""The optimiser loop: it gets better, tells everything, stops where it should, and survives what goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.encoders.vgg import VGG
from impasto.errors import ImpastoError
from impasto.losses import Features, GramLoss, Loss, Smoothness, moments
from impasto.synthesis import Objective, Optimisation, Scale, Step, Synthesis, Term, optimize
from impasto.synthesis.optimize import Settled

SCHEDULE = (Scale(8, 12, 6), Scale(16, 24, 5), Scale(32, 48, 4))
ONE_SCALE = (Scale(16, 16, 30),)


def random_picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def gray(scale: Scale) -> Tensor:
    return torch.full((1, 3, scale.height, scale.width), 0.5)


class PixelLoss:
    """A loss on pixels: what a function makes of the picture. Remembers the pictures that it saw."""

    layers: tuple[str, ...] = ()

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.seen: list[Tensor] = []

    def __call__(self, features: Features, picture: Tensor) -> Tensor:
        self.seen.append(picture.detach().clone())
        return self.function(picture)


def towards(target: float | Tensor) -> PixelLoss:
    return PixelLoss(lambda picture: (picture - target).square().mean())


def flat(value: float) -> PixelLoss:
    return PixelLoss(lambda picture: value + 0 * picture.sum())


class Faulty(PixelLoss):
    """Towards 0.8, but at some evaluations (counted from 1) the loss or its gradient is not a number."""

    def __init__(self, broken: Callable[[int], bool], what: str) -> None:
        super().__init__(self._evaluate)
        self.broken, self.what = broken, what

    def _evaluate(self, picture: Tensor) -> Tensor:
        loss = (picture - 0.8).square().mean()
        if not self.broken(len(self.seen)):
            return loss
        return loss * math.nan if self.what == "loss" else loss + (0 * picture).sqrt().sum()


@pytest.fixture
def synthesis_of(lively_encoder: VGG) -> Callable[..., Synthesis]:
    """A synthesis of named losses on pixels, with options of `Optimisation`."""

    def build(schedule: tuple[Scale, ...] = ONE_SCALE, /, *, losses: dict[str, Loss], **options: float) -> Synthesis:
        terms = [Term(name, loss, 1.0) for name, loss in losses.items()]
        return Synthesis(schedule, lambda _: Objective(lively_encoder, terms), gray, Optimisation(**options))

    return build


@pytest.fixture
def style_of(lively_encoder: VGG) -> Callable[..., Synthesis]:
    """A synthesis of the tiny encoder's style of a noise picture, coarse to fine, started as methods start it."""

    def build(schedule: tuple[Scale, ...] = SCHEDULE, **options: float) -> Synthesis:
        layers = {"relu1_1": 1.0, "relu2_1": 1.0}
        style = GramLoss(moments(lively_encoder(random_picture(32, 32, seed=1), layers)), layers)
        terms = [Term("style", style, 1.0), Term("smoothness", Smoothness(), 0.3)]

        def start(scale: Scale) -> Tensor:
            return random_picture(scale.height, scale.width).contiguous(memory_format=torch.channels_last)

        return Synthesis(schedule, lambda _: Objective(lively_encoder, terms), start, Optimisation(**options))

    return build


Build = Callable[..., Synthesis]


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_the_loss_goes_down(style_of: Build, optimiser: str) -> None:
    synthesis = style_of((Scale(16, 16, 60),), optimiser=optimiser, average=0.5)
    synthesis.run()
    assert synthesis.history[-1].total < 0.3 * synthesis.history[0].total


def test_the_same_call_gives_the_same_picture(style_of: Build) -> None:
    first, second = style_of(), style_of()
    assert torch.equal(first.run(), second.run())
    assert first.history == second.history


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
@pytest.mark.parametrize("target", [-3.0, 4.0])
def test_the_picture_stays_in_range(synthesis_of: Build, optimiser: str, target: float) -> None:
    synthesis = synthesis_of(SCHEDULE, losses={"far": towards(target)}, optimiser=optimiser, learning_rate=0.2)
    for step in synthesis:
        assert 0 <= step.preview().min() <= step.preview().max() <= 1
    assert synthesis.picture.mean() == pytest.approx(float(target > 0), abs=0.1)


def test_adam_keeps_every_iterate_in_range(synthesis_of: Build) -> None:
    loss = towards(4.0)
    synthesis_of(losses={"far": loss}, learning_rate=0.2).run()
    assert max(picture.max() for picture in loss.seen) == 1


def test_lbfgs_beats_adam_on_a_quadratic(synthesis_of: Build) -> None:
    target = random_picture(16, 16)
    left = []
    for optimiser in ("adam", "lbfgs"):
        synthesis = synthesis_of((Scale(16, 16, 8),), losses={"quadratic": towards(target)}, optimiser=optimiser)
        synthesis.run()
        left.append(synthesis.history[-1].total)
    assert left[1] < 0.01 * left[0]


def test_learning_rate_is_a_step_in_tonal_units(synthesis_of: Build) -> None:
    moved = []
    for rate in (0.01, 0.02):
        loss = towards(0.9)
        synthesis_of((Scale(8, 8, 2),), losses={"flat": loss}, learning_rate=rate).run()
        moved.append(float((loss.seen[1] - loss.seen[0]).mean()))
    assert moved[1] == pytest.approx(2 * moved[0], rel=1e-3)
    assert 0.005 < moved[0] < 0.05


def test_the_average_is_a_convex_combination_of_the_iterates(synthesis_of: Build) -> None:
    loss = towards(random_picture(16, 16))
    synthesis = synthesis_of(losses={"quadratic": loss}, average=0.9, learning_rate=0.1)
    for _ in synthesis:
        iterates = torch.stack(loss.seen)
        assert (synthesis.picture >= iterates.amin(0) - 1e-6).all()
        assert (synthesis.picture <= iterates.amax(0) + 1e-6).all()
    assert not torch.allclose(synthesis.picture, loss.seen[-1], atol=1e-3)


def test_the_average_smooths_what_jumps(synthesis_of: Build) -> None:
    loss = PixelLoss(lambda picture: (picture - 0.5 - 0.1 * (-1) ** len(loss.seen)).abs().mean())
    synthesis = synthesis_of(losses={"to and fro": loss}, average=0.98, learning_rate=0.1)
    synthesis.run()
    assert (synthesis.picture - 0.5).abs().max() < 0.5 * max((p - 0.5).abs().max() for p in loss.seen)


def test_without_averaging_the_result_is_the_last_iterate(synthesis_of: Build) -> None:
    loss = towards(random_picture(16, 16))
    synthesis = synthesis_of(losses={"quadratic": loss}, average=0.0)
    for _ in synthesis:
        assert torch.equal(synthesis.picture, loss.seen[-1])


@pytest.mark.parametrize("start", [gray, lambda scale: random_picture(scale.height, scale.width, seed=5)])
def test_each_scale_adds_the_enlarged_change_to_its_start(
    lively_encoder: VGG, start: Callable[[Scale], Tensor]
) -> None:
    loss = PixelLoss(lambda picture: (picture - random_picture(*picture.shape[-2:])).square().mean())
    objective = Objective(lively_encoder, [Term("quadratic", loss, 1.0)])
    synthesis = Synthesis(SCHEDULE, lambda _: objective, start, Optimisation(learning_rate=0.1))
    before, scale = None, None
    for step in synthesis:
        if step.step == 1 and before is not None and scale is not None:
            change = F.interpolate(before - start(scale), (step.height, step.width), mode="bicubic")
            assert change.abs().max() > 0.05
            assert torch.equal(loss.seen[-1], (start(synthesis.scale) + change).clamp(0, 1))
        before, scale = step.preview(), synthesis.scale


def test_a_later_scale_goes_on_in_the_direction_learnt(synthesis_of: Build) -> None:
    """A flat picture is the same problem at both sizes, so two scales do what one of as many steps does."""
    pictures = []
    for schedule in ((Scale(8, 8, 6),), (Scale(8, 8, 3), Scale(16, 16, 3))):
        loss = towards(0.9)
        synthesis_of(schedule, losses={"flat": loss}, average=0.0).run()
        pictures.append(loss.seen)
    steps = [[float(b.mean() - a.mean()) for a, b in pairwise(seen)] for seen in pictures]
    # the first evaluation at the larger size is of the last picture again
    assert steps[1][:2] + steps[1][3:] == pytest.approx(steps[0][:2] + steps[0][2:4], rel=0.02)


def test_a_later_scale_begins_with_the_momentum_of_the_one_before(synthesis_of: Build) -> None:
    loss = PixelLoss(lambda picture: (picture - (0.9 if picture.shape[-1] == 8 else 0.5)).square().mean())
    synthesis_of((Scale(8, 8, 5), Scale(16, 16, 2)), losses={"about": loss}, average=0.0).run()
    first, second = loss.seen[-2:]
    assert 0.5 < first.mean() < second.mean()  # though the loss now pulls down


def test_observers_are_told_every_step_in_order(synthesis_of: Build) -> None:
    synthesis = synthesis_of(SCHEDULE, losses={"a": towards(0.9), "b": towards(0.1)})
    told: list[Step] = []
    picture = synthesis.run(told.append)
    expected = [(i, s.height, s.width, n) for i, s in enumerate(SCHEDULE, 1) for n in range(1, s.steps + 1)]
    assert [(step.scale, step.height, step.width, step.step) for step in told] == expected
    assert all(step.scales == 3 and step.steps == SCHEDULE[step.scale - 1].steps for step in told)
    assert all(step.total == pytest.approx(step.losses["a"] + step.losses["b"], rel=1e-5) for step in told)
    assert torch.equal(picture, told[-1].preview())
    assert synthesis.finished


@pytest.mark.parametrize("steps", [1, 1000])
def test_memory_is_kept_from_step_to_step(synthesis_of: Build, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    told = []

    @contextmanager
    def kept() -> Iterator[None]:
        told.append("kept")
        try:
            yield
        finally:
            told.append("given back")

    monkeypatch.setattr(optimize, "kept_memory", kept)
    running = iter(synthesis_of(losses={"a": towards(0.9)}))
    for _ in islice(running, steps):
        assert told == ["kept"]
    running.close()
    assert told == ["kept", "given back"]


def test_the_history_has_every_step(synthesis_of: Build) -> None:
    synthesis = synthesis_of(SCHEDULE, losses={"a": towards(0.9)})
    told: list[Step] = []
    synthesis.run(told.append)
    expected = [(max(step.height, step.width), step.step, step.total, step.losses) for step in told]
    assert [(m.size, m.step, m.total, m.losses) for m in synthesis.history] == expected


def test_the_first_loss_is_that_of_the_start(synthesis_of: Build) -> None:
    synthesis = synthesis_of(losses={"a": towards(0.9)})
    assert next(iter(synthesis)).losses["a"] == pytest.approx(0.4**2)


def test_eta_reaches_0_at_the_last_step(synthesis_of: Build) -> None:
    told: list[Step] = []
    synthesis_of(SCHEDULE, losses={"a": towards(0.9)}).run(told.append)
    assert told[-1].eta == 0
    assert all(step.eta > 0 for step in told[:-1])
    seconds = [step.seconds for step in told]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


@pytest.mark.parametrize("value", [5.0, 0.0])
def test_a_flat_loss_ends_each_scale_early(synthesis_of: Build, value: float) -> None:
    schedule = (Scale(8, 8, 50), Scale(16, 16, 50))
    synthesis = synthesis_of(schedule, losses={"flat": flat(value)}, tolerance=0.001, window=5)
    synthesis.run()
    assert [moment.size for moment in synthesis.history] == [8] * 6 + [16] * 6
    assert synthesis.finished


def test_tolerance_0_never_ends_early(synthesis_of: Build) -> None:
    synthesis = synthesis_of((Scale(8, 8, 50),), losses={"flat": flat(5.0)}, tolerance=0.0, window=5)
    synthesis.run()
    assert len(synthesis.history) == 50


def test_a_falling_loss_is_not_ended_early() -> None:
    settled = Settled(0.001, 5)
    for step in range(100):
        settled.add(0.99**step)
        assert not settled


def test_a_loss_that_no_longer_falls_is_settled_after_the_window() -> None:
    settled = Settled(0.001, 5)
    losses = [1 / (1 + step) for step in range(10)] + [0.1] * 100
    ended = next(n for n, loss in enumerate(losses) if (settled.add(loss), bool(settled))[1])
    assert 15 < ended < 60


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("at", [1, 4])
def test_a_loss_that_fails_once_goes_on_with_half_the_rate(synthesis_of: Build, what: str, at: int) -> None:
    loss = Faulty(lambda n: n == at, what)
    synthesis = synthesis_of((Scale(8, 8, 60),), losses={"faulty": loss})
    synthesis.run()
    assert synthesis.state()[1]["rate"] == 0.5
    assert all(seen.isfinite().all() for seen in loss.seen)
    assert [moment.step for moment in synthesis.history] == list(range(1, 61))
    assert all(math.isfinite(moment.total) for moment in synthesis.history)
    assert synthesis.history[-1].total < 0.1 * synthesis.history[0].total


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_lbfgs_survives_a_loss_that_fails_once(synthesis_of: Build, what: str, at: int) -> None:
    synthesis = synthesis_of((Scale(8, 8, 20),), losses={"faulty": Faulty(lambda n: n == at, what)}, optimiser="lbfgs")
    synthesis.run()
    assert synthesis.picture.isfinite().all()
    assert len(synthesis.history) == 20
    assert all(math.isfinite(moment.total) for moment in synthesis.history)
    assert synthesis.history[-1].total < 0.1 * 0.3**2


def test_recovery_starts_from_the_average(synthesis_of: Build) -> None:
    loss = Faulty(lambda n: n == 4, "loss")
    steps = iter(synthesis_of(losses={"faulty": loss}, learning_rate=0.05))
    for _ in range(3):
        average = next(steps).preview()
    next(steps)
    assert torch.equal(loss.seen[4], average)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_loss_that_always_fails_is_an_error_that_names_it(synthesis_of: Build, optimiser: str) -> None:
    loss = Faulty(lambda n: n >= 3, "loss")
    synthesis = synthesis_of(losses={"fine": towards(0.3), "faulty": loss}, optimiser=optimiser)
    with pytest.raises(ImpastoError, match=r"^the loss is not finite \(faulty\) at 16×16, step \d") as error:
        synthesis.run()
    assert "\n" not in str(error.value)
    assert len(loss.seen) < 100
    assert synthesis.picture.isfinite().all()


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_gradient_that_always_fails_is_an_error_that_says_so(synthesis_of: Build, optimiser: str) -> None:
    loss = Faulty(lambda n: n >= 3, "gradient")
    synthesis = synthesis_of(losses={"faulty": loss}, optimiser=optimiser)
    with pytest.raises(ImpastoError, match=r"^the loss is not finite \(gradient\) at 16×16"):
        synthesis.run()
    assert synthesis.picture.isfinite().all()


def test_strengths_may_be_changed_between_steps(synthesis_of: Build) -> None:
    synthesis = synthesis_of(losses={"dark": towards(0.0), "bright": towards(1.0)}, average=0.0)
    for step in synthesis:
        if step.step == 5:
            assert step.preview().mean() == pytest.approx(0.5, abs=1e-3)
            synthesis.strengths["dark"] = 0.0
        if step.step == 6:
            assert step.total == pytest.approx(step.losses["bright"])
            assert step.losses["dark"] > 0
    assert synthesis.picture.mean() > 0.6


def test_left_and_taken_up_again_it_gives_the_same_picture(style_of: Build) -> None:
    whole, broken = style_of(), style_of()
    whole.run()
    while not broken.finished:
        for _, _ in zip(broken, range(2), strict=False):
            pass
    assert [m.step for m in broken.history] == [m.step for m in whole.history]
    assert broken.history == whole.history
    assert torch.equal(broken.picture, whole.picture)


def test_eta_knows_which_scales_take_longer(synthesis_of: Build) -> None:
    even = [Scale(8, 8, 4), Scale(16, 16, 4)]
    slow = [Scale(8, 8, 4), Scale(16, 16, 4, effort=3.0)]
    shares = []
    for schedule in (even, slow):
        step = next(iter(synthesis_of(tuple(schedule), losses={"a": towards(0.9)})))
        shares.append(step.eta / step.seconds)
    assert shares == pytest.approx([3 + 4 * 4, 3 + 4 * 4 * 3])

"""The one optimiser loop: coarse to fine, watched step by step, able to stop anywhere and to go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from impasto.errors import ImpastoError
from impasto.memory import kept_memory, release_memory
from impasto.synthesis.objective import Objective
from impasto.synthesis.optimisers import LBFGS, Adam, Optimiser, resampled_moments
from impasto.synthesis.resampling import NO_WRAP, Wrap, resampled
from impasto.synthesis.schedule import Scale


@dataclass(frozen=True)
class Optimisation:
    """How a picture is improved.

    `learning_rate` in units of the 0..1 range, for Adam; L-BFGS takes 1. `average` is the decay of the exponential
    average of the iterates, which is the result (0: the last iterate). A scale ends early when the smoothed loss
    has fallen by less than `tolerance` (relative) over `window` steps; 0 never ends early. `wrap` says which sides of
    the picture continue on the opposite ones.
    """

    optimiser: Literal["adam", "lbfgs"] = "adam"
    learning_rate: float = 0.02
    average: float = 0.98
    tolerance: float = 0.0
    window: int = 20
    wrap: Wrap = NO_WRAP

    def begin(self, picture: Tensor, rate: float, moments: dict[str, Tensor]) -> Optimiser:
        """The optimiser for a picture, its learning rate times `rate`."""
        if self.optimiser == "lbfgs":
            return LBFGS(picture, rate)
        return Adam(picture, self.learning_rate * rate, moments, self.wrap)


@dataclass(frozen=True)
class Step:
    """What observers are told after each step.

    `scale` and `step` count from 1; `seconds` since the start and `eta` in seconds; `losses` without their strengths;
    `preview()` gives the picture so far `(1, 3, H, W)`, 0..1.
    """

    scale: int
    scales: int
    height: int
    width: int
    step: int
    steps: int
    total: float
    losses: Mapping[str, float]
    seconds: float
    eta: float
    preview: Callable[[], Tensor] = field(repr=False)


@dataclass(frozen=True)
class Moment:
    """One line of the history: the losses before a step at a size (longest side, pixels)."""

    size: int
    step: int
    total: float
    losses: Mapping[str, float]


class Synthesis:
    """An iterator over the steps of a coarse-to-fine optimisation; stop it wherever you like.

    `objective_at(scale)` builds the objective, with its targets, for a scale; `start(scale)` gives the picture
    `(1, 3, H, W)` to begin with at any size. Each later scale adds to it what the scale before has changed, enlarged,
    and takes over the optimiser's moments: detail that the start has at the new size is there at once, and need not
    be found again at the most expensive scale. `picture` is the result so far, `history` the losses of all steps.
    Between steps, `strengths` may be changed: it replaces the strengths of terms by name.

    A loss that is not finite sends the picture back to the average, with half the learning rate; twice in a row is an
    `ImpastoError`.
    """

    def __init__(
        self,
        schedule: tuple[Scale, ...],
        objective_at: Callable[[Scale], Objective],
        start: Callable[[Scale], Tensor],
        optimisation: Optimisation,
        moments: Mapping[str, Tensor] | None = None,
    ) -> None:
        """`moments` are what an optimiser has learnt of a picture like this one, of the first scale's size."""
        self.schedule = schedule
        self.optimisation = optimisation
        self.strengths: dict[str, float] = {}
        self.history: list[Moment] = []
        self.seconds = 0.0
        self.finished = False
        self.objective_at = objective_at
        self._start = start
        self._scale_index = 0
        self._steps_done = 0
        self._rate = 1.0
        self._average = _channels_last(start(schedule[0]))
        self._average_weight = 0.0
        self._optimiser = optimisation.begin(self._average, self._rate, dict(moments or {}))

    @property
    def picture(self) -> Tensor:
        """The averaged picture so far `(1, 3, H, W)`, 0..1."""
        return self._average.clamp(0, 1)

    @property
    def moments(self) -> dict[str, Tensor]:
        """What the optimiser has learnt about the gradient; the next step changes it."""
        return self._optimiser.moments()

    @property
    def scale(self) -> Scale:
        """The scale at work."""
        return self.schedule[self._scale_index]

    def run(self, *observers: Callable[[Step], None]) -> Tensor:
        """Do all the steps, telling the observers of each; returns the picture `(1, 3, H, W)`, 0..1."""
        for step in self:
            for observer in observers:
                observer(step)
        return self.picture

    def __iter__(self) -> Iterator[Step]:
        with kept_memory():
            yield from self._steps_of_scale()
            while self._scale_index + 1 < len(self.schedule):
                self._enlarge()
                yield from self._steps_of_scale()
            self.finished = True

    def _steps_of_scale(self) -> Iterator[Step]:
        if not self.scale.steps:
            return
        clock = time.perf_counter()
        objective = self.objective_at(self.scale)
        settled = Settled(self.optimisation.tolerance, self.optimisation.window)
        for moment in self.history[len(self.history) - self._steps_done :]:  # of a run that goes on
            settled.add(moment.total)
        while self._steps_done < self.scale.steps and not settled:
            total, losses = self._improve(objective)
            self._steps_done += 1
            self.history.append(Moment(self.scale.size, self._steps_done, total, losses))
            settled.add(total)
            now = time.perf_counter()
            self.seconds, clock = self.seconds + now - clock, now
            yield self._report(total, losses)
            clock = time.perf_counter()

    def _improve(self, objective: Objective) -> tuple[float, dict[str, float]]:
        """One step, or the second attempt at it."""
        for _ in range(2):
            losses: dict[str, float] = {}
            total = self._optimiser.step(lambda seen=losses: self._evaluate(objective, seen))  # type: ignore[misc]
            if math.isfinite(total):
                return total, losses
            self._rate /= 2
            self._optimiser = self.optimisation.begin(self._average, self._rate, {})
        broken = ", ".join(name for name, value in losses.items() if not math.isfinite(value)) or "gradient"
        raise ImpastoError(
            f"the loss is not finite ({broken}) at {self.scale.width}×{self.scale.height}, "
            f"step {self._steps_done + 1}, even with a smaller step: try --precision float32 or a lower --learning-rate"
        )

    def _evaluate(self, objective: Objective, losses: dict[str, float]) -> Tensor:
        """Loss and gradient at the optimiser's picture; the first finite ones of a step enter the average."""
        picture = self._optimiser.picture
        picture.grad = None
        total, terms = objective.add_gradient(picture, self.strengths)
        if not losses:
            losses.update({name: float(value.detach()) for name, value in terms.items()})
            if math.isfinite(float(total.detach())):
                self._enter_average(picture.detach())
        return total.detach()

    def _enter_average(self, picture: Tensor) -> None:
        """Exponential average, corrected for its start; early iterates of a scale are forgotten faster."""
        decay = min(self.optimisation.average, self._average_weight / (self._average_weight + 4))
        if self._average_weight == 0:
            self._average = _channels_last(picture.clone())
        else:
            self._average.lerp_(picture, 1 - decay)
        self._average_weight += 1

    def _enlarge(self) -> None:
        release_memory()
        moments = self._optimiser.moments()
        change = self.picture - self._start(self.scale)
        self._scale_index += 1
        self._steps_done = 0
        wrap = self.optimisation.wrap
        change = resampled(change, (self.scale.height, self.scale.width), "bicubic", wrap=wrap)
        self._average = _channels_last(change.add_(self._start(self.scale)).clamp_(0, 1))
        del change
        self._average_weight = 0.0
        carried = resampled_moments(moments, self._average, wrap)
        self._optimiser = self.optimisation.begin(self._average, self._rate, carried)
        release_memory()

    def progress(self) -> tuple[float, float]:
        """The work that is done, and the most that is ahead, in units of a pixel's step."""
        share = self._steps_done / max(1, self.scale.steps)
        done = sum(scale.work for scale in self.schedule[: self._scale_index]) + share * self.scale.work
        ahead = sum(scale.work for scale in self.schedule[self._scale_index + 1 :]) + (1 - share) * self.scale.work
        return done, ahead

    def _report(self, total: float, losses: dict[str, float]) -> Step:
        done, ahead = self.progress()
        return Step(
            scale=self._scale_index + 1,
            scales=len(self.schedule),
            height=self.scale.height,
            width=self.scale.width,
            step=self._steps_done,
            steps=self.scale.steps,
            total=total,
            losses=losses,
            seconds=self.seconds,
            eta=self.seconds * ahead / done,
            preview=lambda: self.picture,
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on from here: tensors by name, and the rest as plain JSON values.

        The next step changes the tensors: save them, or copy them, at once.
        """
        tensors = {"picture": self._optimiser.picture.detach(), "average": self._average}
        tensors |= {f"moments.{name}": value for name, value in self._optimiser.moments().items()}
        rest = {
            "scale": self._scale_index,
            "steps": self._steps_done,
            "rate": self._rate,
            "average_weight": self._average_weight,
            "strengths": dict(self.strengths),
            "seconds": self.seconds,
            "history": [asdict(moment) for moment in self.history],
        }
        return tensors, rest

    def go_on_from(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave, on this synthesis's device; the tensors are taken over."""
        device = self._average.device
        moments = {
            name.removeprefix("moments."): value if name == "moments.step" else _channels_last(value.to(device))
            for name, value in tensors.items()
            if name.startswith("moments.")
        }
        self._scale_index, self._steps_done = rest["scale"], rest["steps"]
        self._rate, self._average_weight = rest["rate"], rest["average_weight"]
        self.strengths, self.seconds = dict(rest["strengths"]), rest["seconds"]
        self.history = [Moment(**moment) for moment in rest["history"]]
        self._average = _channels_last(tensors["average"].to(device))
        picture = _channels_last(tensors["picture"].to(device))
        self._optimiser = self.optimisation.begin(picture, self._rate, moments)


class Settled:
    """Truth that a smoothed loss no longer falls."""

    def __init__(self, tolerance: float, window: int) -> None:
        self._tolerance, self._window = tolerance, window
        self._smoothed: list[float] = []

    def add(self, loss: float) -> None:
        before = self._smoothed[-1] if self._smoothed else loss
        self._smoothed.append(0.8 * before + 0.2 * loss)

    def __bool__(self) -> bool:
        if self._tolerance <= 0 or len(self._smoothed) <= self._window:
            return False
        before, now = self._smoothed[-1 - self._window], self._smoothed[-1]
        return before - now <= self._tolerance * abs(before)


def _channels_last(pixels: Tensor) -> Tensor:
    """Files forget the order in memory, on which the last bit of a sum depends."""
    return pixels.contiguous(memory_format=torch.channels_last)

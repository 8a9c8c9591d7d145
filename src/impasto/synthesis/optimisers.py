"""Adam and L-BFGS behind one face: improve a picture, hand over what was learnt about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from impasto.synthesis.resampling import NO_WRAP, Wrap, resampled

BETAS = 0.9, 0.99
LEVEL_SHARES = 0.3, 0.6, 1.0
"""Of the learning rate, for the full, half and quarter resolution; chosen by eye and number on real pictures."""

Evaluate = Callable[[], Tensor]
"""Computes the loss of the optimiser's picture, leaves the gradient in `picture.grad`, returns the loss.

The optimiser may use the gradient's memory as it likes."""


class Optimiser(Protocol):
    """Owns the picture `(1, 3, H, W)` that it improves."""

    picture: Tensor

    def step(self, evaluate: Evaluate) -> float:
        """One step; returns the loss before it, NaN if loss or gradient are not finite (then nothing moved)."""
        ...

    def moments(self) -> dict[str, Tensor]:
        """What has been learnt about the gradient, to be carried over or saved at once: the next step changes it."""
        ...


class Adam:
    """Adam (Kingma & Ba 2015) at three resolutions at once, projected: pixels are clamped to 0..1 after each step.

    Plain Adam moves every pixel by about the same amount whatever its neighbours do, and so puts much of its work into
    single pixels. Here the gradient is also taken at a half and a quarter of the resolution; each has its own moments,
    and the enlarged steps add up: a lower style loss in as many steps, with half the noise. Both ways are smooth (a
    triangle filter down, bicubic up), for blocks would show as a grid.
    """

    def __init__(
        self,
        picture: Tensor,
        learning_rate: float,
        moments: dict[str, Tensor] | None = None,
        wrap: Wrap = NO_WRAP,
    ) -> None:
        """`moments` are taken over, and changed in place."""
        self.picture = picture.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        self.learning_rate = learning_rate
        self._wrap = wrap
        self._moments = {name: _as_level(name, value) for name, value in (moments or {}).items()}

    def step(self, evaluate: Evaluate) -> float:
        loss = float(evaluate())
        gradient = self.picture.grad
        if not math.isfinite(loss) or gradient is None or not math.isfinite(float(gradient.sum())):
            return math.nan
        with torch.no_grad():
            self.picture.sub_(self._direction(gradient), alpha=self.learning_rate).clamp_(0, 1)
        return loss

    def moments(self) -> dict[str, Tensor]:
        return dict(self._moments)

    def _direction(self, gradient: Tensor) -> Tensor:
        """Where to go, in the gradient's own memory: for a large print every plane counts."""
        step = self._moments.get("step", torch.zeros(())) + 1
        self._moments["step"] = step
        updates = [gradient]
        for level in range(1, len(LEVEL_SHARES)):
            size = level_size(gradient, level)
            updates.append(resampled(updates[-1], size, "bilinear", antialias=True, wrap=self._wrap).contiguous())
        for level, update in enumerate(updates):
            mean, square = (self._moments.get(f"{kind}.{level}") for kind in ("mean", "square"))
            mean = torch.zeros_like(update) if mean is None else mean
            square = torch.zeros_like(update) if square is None else square
            mean.lerp_(update, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(update, update, value=1 - BETAS[1])
            self._moments[f"mean.{level}"], self._moments[f"square.{level}"] = mean, square
            torch.div(square, 1 - BETAS[1] ** float(step), out=update).sqrt_().add_(1e-12)
            torch.div(mean, update, out=update).div_(1 - BETAS[0] ** float(step))
        direction = updates[-1].mul_(LEVEL_SHARES[-1])
        for share, update in zip(LEVEL_SHARES[-2::-1], updates[-2::-1], strict=True):
            size = update.shape[-2], update.shape[-1]
            enlarged = resampled(direction, size, "bicubic", antialias=True, wrap=self._wrap)
            direction = update.mul_(share).add_(enlarged)
        return direction


class LBFGS:
    """L-BFGS with a strong Wolfe line search (Nocedal & Wright 2006, 7.2); `learning_rate` scales the first trial.

    Its curvature estimate belongs to one size and is not carried over; where the search stands still it starts anew
    from the gradient. Pixels are not clamped on the way.
    """

    def __init__(self, picture: Tensor, learning_rate: float = 1.0) -> None:
        # torch's L-BFGS flattens the gradient, which channels_last forbids
        self.picture = picture.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
        self._scale = float(picture.shape[-2] * picture.shape[-1])
        self._lbfgs = torch.optim.LBFGS(
            [self.picture], lr=learning_rate, max_iter=1, history_size=20, line_search_fn="strong_wolfe"
        )

    def step(self, evaluate: Evaluate) -> float:
        before = self.picture.detach().clone()
        loss = float(self._lbfgs.step(lambda: self._scaled(evaluate))) / self._scale  # type: ignore[no-untyped-call]
        if math.isfinite(loss) and bool(self.picture.isfinite().all()):
            if torch.equal(self.picture, before):  # the line search found no way on: a kink, or a stale curvature
                self._lbfgs.state.clear()
            return loss
        with torch.no_grad():
            self.picture.copy_(before)
        return math.nan

    def _scaled(self, evaluate: Evaluate) -> float:
        """Loss and gradient times the number of pixels: torch's thresholds are absolute, a mean's gradient is small."""
        loss = float(evaluate())
        if self.picture.grad is not None:
            self.picture.grad.mul_(self._scale)
        return loss * self._scale

    def moments(self) -> dict[str, Tensor]:
        return {}


def _as_level(name: str, moment: Tensor) -> Tensor:
    """As its level keeps it: those of half and quarter resolution channel by channel, for so resampling is fast."""
    return moment if name == "step" or name.endswith(".0") else moment.contiguous()


def level_size(picture: Tensor, level: int) -> tuple[int, int]:
    """Height and width of a picture `(…, H, W)` halved `level` times, at least one pixel each."""
    return max(1, picture.shape[-2] >> level), max(1, picture.shape[-1] >> level)


def resampled_moments(moments: dict[str, Tensor], like: Tensor, wrap: Wrap = NO_WRAP) -> dict[str, Tensor]:
    """Adam's moments for a picture of the size of `like` `(1, 3, H, W)`.

    A loss that is a mean spreads its gradient over more pixels at a larger size, so the mean gradient shrinks with
    the area and the mean square with its square.
    """
    carried = {}
    for name, value in moments.items():
        kind, _, level = name.partition(".")
        if not level:
            carried[name] = value  # the number of steps
            continue
        height, width = level_size(like, int(level))
        shrink = value.shape[-2] * value.shape[-1] / (height * width)
        larger = resampled(value, (height, width), "bilinear", wrap=wrap)
        carried[name] = larger.mul_(shrink**2 if kind == "square" else shrink)
    return carried

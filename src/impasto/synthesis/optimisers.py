"""Adam and L-BFGS behind one face: improve a picture, hand over what was learnt about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

Evaluate = Callable[[], Tensor]
"""Computes the loss of the optimiser's picture, leaves the gradient in `picture.grad`, returns the loss."""


class Optimiser(Protocol):
    """Owns the picture `(1, 3, H, W)` that it improves."""

    picture: Tensor

    def step(self, evaluate: Evaluate) -> float:
        """One step; returns the loss before it, NaN if loss or gradient are not finite (then nothing moved)."""
        ...

    def moments(self) -> dict[str, Tensor]:
        """What has been learnt about the gradient, to be carried over or saved."""
        ...


class Adam:
    """Adam (Kingma & Ba 2015), projected: pixels are clamped to 0..1 after each step."""

    def __init__(self, picture: Tensor, learning_rate: float, moments: dict[str, Tensor] | None = None) -> None:
        self.picture = picture.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        self._adam = torch.optim.Adam([self.picture], lr=learning_rate, betas=(0.9, 0.99))
        if moments:
            self._adam.state[self.picture] = dict(moments)

    def step(self, evaluate: Evaluate) -> float:
        loss = float(evaluate())
        gradient = self.picture.grad
        if not math.isfinite(loss) or gradient is None or not bool(gradient.isfinite().all()):
            return math.nan
        self._adam.step()
        with torch.no_grad():
            self.picture.clamp_(0, 1)
        return loss

    def moments(self) -> dict[str, Tensor]:
        return dict(self._adam.state[self.picture])


class LBFGS:
    """L-BFGS with a strong Wolfe line search (Nocedal & Wright 2006, 7.2); `learning_rate` scales the first trial.

    Its curvature estimate belongs to one size and is not carried over. Pixels are not clamped on the way.
    """

    def __init__(self, picture: Tensor, learning_rate: float = 1.0) -> None:
        self.picture = picture.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        self._lbfgs = torch.optim.LBFGS(
            [self.picture], lr=learning_rate, max_iter=1, history_size=20, line_search_fn="strong_wolfe"
        )

    def step(self, evaluate: Evaluate) -> float:
        before = self.picture.detach().clone()
        loss = float(self._lbfgs.step(lambda: float(evaluate())))  # type: ignore[no-untyped-call]
        if math.isfinite(loss) and bool(self.picture.isfinite().all()):
            return loss
        with torch.no_grad():
            self.picture.copy_(before)
        return math.nan

    def moments(self) -> dict[str, Tensor]:
        return {}


def resampled_moments(moments: dict[str, Tensor], height: int, width: int) -> dict[str, Tensor]:
    """Adam's moments for a picture of another size.

    A loss that is a mean spreads its gradient over more pixels at a larger size, so the mean gradient shrinks with
    the area and the mean square with its square.
    """
    carried = {}
    for name, value in moments.items():
        if value.ndim < 4:
            carried[name] = value  # the number of steps
            continue
        shrink = value.shape[-2] * value.shape[-1] / (height * width)
        larger = F.interpolate(value, (height, width), mode="bilinear")
        carried[name] = larger * (shrink**2 if name == "exp_avg_sq" else shrink)
    return carried

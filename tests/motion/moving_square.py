"""Two frames of a textured square over a textured ground, with what moved where, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

HEIGHT, WIDTH = 96, 128
SIDE, TOP, LEFT = 40, 24, 36
"""Of the square, in the earlier frame."""

Shift = tuple[int, int]
"""(dx, dy) in pixels."""


@dataclass(frozen=True)
class Scene:
    """Frames `(1, 3, H, W)`, flows `(1, 2, H, W)` as in `both_ways`, and what of `now` is seen before."""

    before: Tensor
    now: Tensor
    backward: Tensor
    forward: Tensor
    visible: Tensor
    square: Tensor
    """Where the square is now, `(1, 1, H, W)`."""


def moving_square(square: Shift = (5, -3), ground: Shift = (-2, 1)) -> Scene:
    """What the square and the ground move by from the frame before to the frame now."""
    then, there = _square_at(0, 0), _square_at(*square)
    seen = _inside(ground) * (1 - _moved(then, ground))
    return Scene(
        before=_painted(then, (0, 0), (0, 0)),
        now=_painted(there, square, ground),
        backward=_flow(there, _negative(square), _negative(ground)),
        forward=_flow(then, square, ground),
        visible=torch.where(there > 0, _inside(square), seen),
        square=there,
    )


def texture(seed: int, height: int, width: int) -> Tensor:
    """A picture `(1, 3, H, W)` in 0..1 with detail of 3, 6 and 24 pixels."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.zeros(1, 3, height, width)
    for pixels, weight in ((3, 0.3), (6, 0.4), (24, 0.6)):
        noise = torch.rand(1, 3, height // pixels + 2, width // pixels + 2, generator=generator) - 0.5
        picture += weight * F.interpolate(noise, (height, width), mode="bicubic")
    return (picture + 0.5).clamp(0, 1)


def vectors(dx: float, dy: float, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """The same flow everywhere."""
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).repeat(1, 1, height, width)


def _painted(square: Tensor, square_shift: Shift, ground_shift: Shift) -> Tensor:
    return torch.where(square > 0, _shifted(1, square_shift), _shifted(0, ground_shift))


def _shifted(seed: int, shift: Shift, room: int = 16) -> Tensor:
    """A texture that has moved, cut out of a larger one."""
    large = texture(seed, HEIGHT + 2 * room, WIDTH + 2 * room)
    dx, dy = shift
    return large[..., room - dy : room - dy + HEIGHT, room - dx : room - dx + WIDTH]


def _square_at(dx: int, dy: int) -> Tensor:
    mask = torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., TOP + dy : TOP + dy + SIDE, LEFT + dx : LEFT + dx + SIDE] = 1
    return mask


def _moved(mask: Tensor, shift: Shift) -> Tensor:
    dx, dy = shift
    return mask.roll((dy, dx), (2, 3))


def _inside(shift: Shift) -> Tensor:
    """1 where what has moved by this came from within the frame."""
    dx, dy = shift
    x, y = torch.arange(WIDTH) - dx, torch.arange(HEIGHT)[:, None] - dy
    return ((x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)).float()[None, None]


def _flow(square: Tensor, square_flow: Shift, ground_flow: Shift) -> Tensor:
    return torch.where(square > 0, vectors(*square_flow), vectors(*ground_flow))


def _negative(shift: Shift) -> Shift:
    return -shift[0], -shift[1]

"""What tests of painted films share: films of a few frames, whose motion is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from impasto.machine import Machine
from impasto.methods.film import FilmPainter, PaintedFrame
from impasto.pictures.footage import Frame
from impasto.pictures.picture import Picture
from motion.moving_square import texture

CPU = Machine(torch.device("cpu"), bfloat16=False)
SHALLOW = {"style_layers": "relu2_1,relu3_1", "content_layers": "relu3_1"}
FEW = {"size": 64, "coarsest": 64, "steps": 3, "frame_steps": 2, "tolerance": 0.0, "average": 0.0}
HEIGHT, WIDTH = 48, 64
Begin = Callable[..., FilmPainter]


class Shifting:
    """Knows that everything moves by (dx, dy) from each frame to the next, and counts how often it is asked."""

    name = "shifting"

    def __init__(self, dx: float = 0, dy: float = 0) -> None:
        self._shift, self.asked = (dx, dy), 0

    def __call__(self, from_: Tensor, to: Tensor) -> Tensor:
        self.asked += 1
        sign = -1 if self.asked % 2 else 1  # first from the later frame to the earlier one
        vectors = torch.tensor(self._shift, dtype=torch.float32).view(1, 2, 1, 1) * sign
        return vectors.expand(1, 2, *from_.shape[-2:]).contiguous()


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH, **fields: Any) -> Picture:
    return Picture(texture(seed, height, width), **fields)


def frame(number: int, shown: Picture, rate: int = 25) -> Frame:
    return Frame(number, Fraction(number, rate), shown)


def still(count: int, seed: int = 0) -> list[Frame]:
    """A film in which nothing moves."""
    return [frame(number, picture(seed)) for number in range(count)]


def panned(count: int, dx: int, seed: int = 0) -> list[Frame]:
    """A film in which everything moves to the right by `dx` pixels a frame."""
    large = texture(seed, HEIGHT, WIDTH + dx * count)
    shown = (large[..., (count - number) * dx : (count - number) * dx + WIDTH] for number in range(count))
    return [frame(number, Picture(one)) for number, one in enumerate(shown)]


def works() -> list[Picture]:
    """Three flat-coloured works with some texture: warm, cold and grey."""
    tints = ([1.0, 0.4, 0.1], [0.1, 0.4, 1.0], [0.5, 0.5, 0.5])
    return [Picture(texture(5, 48, 48) * torch.tensor(tint).view(1, 3, 1, 1), sha256=str(tint)) for tint in tints]


def paint(painter: FilmPainter, frames: Iterable[Frame]) -> list[PaintedFrame]:
    return [painter.paint(one) for one in frames]


def pixels(painted: Sequence[PaintedFrame]) -> list[Tensor]:
    return [one.picture.pixels for one in painted]


def same(ours: Sequence[PaintedFrame], theirs: Sequence[PaintedFrame]) -> bool:
    return [*map(torch.equal, pixels(ours), pixels(theirs))] == [True] * len(theirs)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean())

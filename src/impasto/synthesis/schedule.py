"""The schedule: at which sizes, and how long at each, a picture is optimised."""

from __future__ import annotations

from dataclasses import dataclass

STEPS_BY_DISTANCE = (1.0, 2.0, 4.0)
"""Steps relative to the finest scale, by distance from it: coarse steps are cheap and decide the composition."""


@dataclass(frozen=True)
class Scale:
    """One size `height` × `width`, in pixels, and the most steps spent at it.

    `effort` is how many times as long a pixel takes as in a picture that is looked at in one piece.
    """

    height: int
    width: int
    steps: int
    effort: float = 1.0

    @property
    def work(self) -> float:
        """What all its steps are, in units of a pixel's step."""
        return self.pixels * self.steps * self.effort

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def size(self) -> int:
        """The longest side."""
        return max(self.height, self.width)


def coarse_to_fine(
    height: int,
    width: int,
    *,
    steps: int,
    coarsest: int = 128,
    ratio: float = 2.0,
    smallest_side: int = 1,
    unit: int = 1,
) -> tuple[Scale, ...]:
    """Scales from about `coarsest` pixels (longest side) to `height` × `width`, each `ratio` times the last.

    The first is the one nearest to `coarsest`; scales whose shorter side would fall below `smallest_side` pixels
    are left out. `steps` is the number at the finest scale; sides of the others are multiples of `unit`.
    """
    sizes = [(height, width)]
    while True:
        shrink = ratio ** len(sizes)
        h, w = (round(side / shrink / unit) * unit for side in (height, width))
        if max(h, w) < coarsest / ratio**0.5 or min(h, w) < max(1, smallest_side):
            break
        sizes.append((h, w))
    return tuple(
        Scale(h, w, max(1, round(steps * STEPS_BY_DISTANCE[min(i, len(STEPS_BY_DISTANCE) - 1)])))
        for i, (h, w) in reversed(list(enumerate(sizes)))
    )

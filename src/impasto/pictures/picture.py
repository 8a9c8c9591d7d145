"""A picture in memory: pixels with their alpha, bit depth and origin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels `(1, 3, H, W)`, float32, sRGB-encoded, 0..1, RGB, upright.

    `alpha` is `(1, 1, H, W)` in 0..1, or None where the picture is opaque everywhere; colours are not
    premultiplied, and under full transparency they continue their visible surroundings. `bits` is the
    depth per channel of the source. `name` is what messages call it; `path` and `sha256` are None for a
    picture that did not come from a file. `palette` are the colours, 0..255, of the numbers that a file has in their
    place; empty for those that have none.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    name: str = "picture"
    path: Path | None = None
    sha256: str | None = None
    palette: tuple[tuple[int, ...], ...] = ()

    @property
    def height(self) -> int:
        return self.pixels.shape[-2]

    @property
    def width(self) -> int:
        return self.pixels.shape[-1]

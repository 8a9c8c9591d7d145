"""What tests of the interface share: a command's outcome, a picture to work on, words that make it fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

FAST = ("--encoder", "tiny.safetensors", "--size", "48", "--coarsest", "48", "--steps", "2", "--device", "cpu")
WORKS = tuple(f"works/{name}.png" for name in ("ink/carp", "ink/crane", "ink/hare", "wash/hill", "wash/river"))
"""In the fixture `gallery`."""


@dataclass(frozen=True)
class Shown:
    """What a command showed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.err.splitlines()[-1] if self.err else ""


Command = Callable[..., Shown]


def paint(path: Path, width: int, height: int, seed: int = 0) -> Path:
    """A soft colourful picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (max(1, height // 8), max(1, width // 8), 3), np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)

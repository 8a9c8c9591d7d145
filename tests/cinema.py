"""What tests of films from end to end share: what a film shows and when, numbered frames, and a signal on the way."""

from __future__ import annotations

import signal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from impasto.console import LineConsole
from impasto.pictures.files import to_array
from impasto.pictures.film import open_film
from studio import FAST, paint

QUICK = (*FAST, "--frame-steps", "2")


def frames(path: str | Path) -> list[np.ndarray]:
    return [to_array(frame.picture) for frame in open_film(path).frames()]


def times(path: str | Path) -> list[Fraction]:
    return [frame.time for frame in open_film(path).frames()]


def same(one: str | Path, other: str | Path) -> bool:
    ours, theirs = frames(one), frames(other)
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


def numbered(folder: Path, count: int, width: int = 64, height: int = 48) -> Path:
    """A folder of numbered frames."""
    folder.mkdir()
    for number in range(1, count + 1):
        paint(folder / f"f_{number:03}.png", width, height, seed=number)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def signal_at(monkeypatch: pytest.MonkeyPatch, wanted: int, number: int = signal.SIGINT) -> None:
    """Send ourselves a signal when so many frames are done."""
    show = LineConsole.progress

    def watched(self: LineConsole, what: str, done: int, total: int, seconds: float) -> None:
        show(self, what, done, total, seconds)
        if what == "frames" and done == wanted:
            monkeypatch.setattr(LineConsole, "progress", show)
            signal.raise_signal(number)

    monkeypatch.setattr(LineConsole, "progress", watched)

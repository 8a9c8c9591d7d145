"""The command for films."""

from __future__ import annotations

from pathlib import Path

import pytest

from cinema import QUICK
from reels import film
from studio import Command, Shown


@pytest.fixture
def painted(studio: Path, impasto: Command) -> Command:
    """`impasto film clip.mp4 starry.jpg`, made fast, with further words; clip.mp4 has 5 frames unless it is there."""

    def run(*words: object, content: object = "clip.mp4", style: object = "starry.jpg") -> Shown:
        if not Path("clip.mp4").exists():
            film(studio / "clip.mp4", 5)
        fast = [w for pair in zip(QUICK[::2], QUICK[1::2], strict=True) if pair[0] not in words for w in pair]
        return impasto("film", content, style, *fast, *words)

    return run

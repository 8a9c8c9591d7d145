"""The folder in which a film is made: whatever a crash left there, it is gone on with from the checkpoint."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from impasto.films.workshop import Reel
from impasto.pictures.film import open_film
from impasto.pictures.film_format import FilmFormat
from impasto.pictures.picture import Picture

RATE = Fraction(25)


def picture(number: int) -> Picture:
    return Picture(torch.full((1, 3, 32, 48), number / 10))


@pytest.fixture
def reel(tmp_path: Path) -> Reel:
    format = FilmFormat.of(tmp_path / "out", rate=RATE, time_base=1 / RATE, width=48, height=32)
    return Reel(tmp_path / "film", format)


def add(reel: Reel, *numbers: int) -> None:
    for number in numbers:
        reel.add(number, number / RATE, picture(number))


def written(reel: Reel, end: int) -> list[int]:
    """The numbers of the frames of a film made of what is there."""
    reel.pack(end / RATE, at_least=1)
    target = reel.folder.parent / "out"
    reel.write(target, None, Fraction(0), end / RATE, None)
    return [round(10 * float(frame.picture.pixels.mean())) for frame in open_film(target).frames()]


def test_parts_and_frames_become_the_film_in_order(reel: Reel) -> None:
    add(reel, 0, 1, 2)
    reel.pack(3 / RATE, at_least=3)
    add(reel, 3, 4)
    assert reel.count == 2
    assert written(reel, 5) == [0, 1, 2, 3, 4]


def test_too_few_frames_are_no_part_yet(reel: Reel) -> None:
    add(reel, 0, 1)
    reel.pack(2 / RATE, at_least=3)
    assert reel.count == 2


def test_frames_newer_than_the_checkpoint_are_forgotten(reel: Reel) -> None:
    add(reel, 0, 1, 2, 3)
    reel.forget_from(2)
    assert written(reel, 2) == [0, 1]


def test_frames_whose_part_is_there_already_come_once(reel: Reel) -> None:
    """The work was killed after a part was written and before its frames were removed."""
    add(reel, 0, 1, 2)
    shutil.copytree(reel.folder, reel.folder.parent / "before")
    reel.pack(3 / RATE, at_least=1)
    for path in (reel.folder.parent / "before").glob("*.png"):
        shutil.copy(path, reel.folder)
    add(reel, 3)
    reel.forget_from(4)
    assert written(reel, 4) == [0, 1, 2, 3]


def test_nothing_of_a_new_film_is_there_to_forget(reel: Reel) -> None:
    reel.forget_from(0)
    assert reel.count == 0

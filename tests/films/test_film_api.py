"""Films from Python: files as with the command, and frames as they come, in memory that does not grow."""

from __future__ import annotations

import gc
import itertools
import math
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import impasto as package
from cinema import frames, same
from impasto.errors import Interrupted, UsageError
from reels import film
from studio import Command

SETTINGS = {"encoder": "tiny.safetensors", "size": 48, "coarsest": 48, "steps": 2, "frame_steps": 1}


def camera(count: int, width: int = 64, height: int = 48) -> Iterator[np.ndarray]:
    """Frames that are made when somebody asks for them."""
    for number in range(count):
        generator = np.random.default_rng(number // 3)
        coarse = generator.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        yield coarse.repeat(8, 0).repeat(8, 1)


def test_a_film_is_made_from_python(painted: Command, studio: Path) -> None:
    painted("-o", "whole.mp4")
    told: list[tuple[int, int]] = []
    settings = {**SETTINGS, "frame_steps": 2}
    path, record = package.film(
        "clip.mp4",
        "starry.jpg",
        "out.mp4",
        device="cpu",
        observer=lambda done, total, _: told.append((done, total)),
        **settings,
    )
    assert path == Path("out.mp4")
    assert record.facts["frames"] == 5
    assert told == [(number, 5) for number in range(1, 6)]
    assert same("whole.mp4", "out.mp4")


def test_a_film_from_python_is_stopped_and_goes_on(painted: Command, impasto: Command, studio: Path) -> None:
    painted("-o", "whole", "--frame-steps", "1")
    cancel = threading.Event()
    with pytest.raises(Interrupted, match=r"go on with: impasto resume out\.unfinished"):
        package.film(
            "clip.mp4", "starry.jpg", "out", device="cpu", cancel=cancel,
            observer=lambda done, *_: cancel.set() if done == 2 else None, **SETTINGS,
        )  # fmt: skip
    assert impasto("resume", "out.unfinished").code == 0
    assert same("whole", "out")


def test_an_unknown_second_film_is_refused(studio: Path) -> None:
    film(studio / "clip.mp4", 2)
    with pytest.raises(UsageError, match=r"beside 'sources': unknown \(did you mean source\?\); use source or frames"):
        package.film("clip.mp4", "starry.jpg", "out.mp4", beside="sources", **SETTINGS)


def test_frames_of_a_camera_are_painted_as_they_come(studio: Path) -> None:
    asked: list[int] = []

    def watched() -> Iterator[np.ndarray]:
        for number, shown in enumerate(camera(100)):
            asked.append(number)
            yield shown

    painted = package.paint_frames(watched(), "starry.jpg", rate=10, device="cpu", **SETTINGS)
    found = [*itertools.islice(painted, 3)]
    assert asked == [0, 1, 2]
    assert [(one.number, one.time) for one in found] == [(number, Fraction(number, 10)) for number in range(3)]
    assert [(one.picture.height, one.picture.width) for one in found] == [(36, 48)] * 3


def test_frames_of_two_sizes_are_one_sentence(studio: Path) -> None:
    both = itertools.chain(camera(2), camera(1, 48, 48))
    painted = package.paint_frames(both, "starry.jpg", device="cpu", **SETTINGS)
    with pytest.raises(UsageError, match="frame 2: is 48×48, and those before it were 64×48: give frames of one size"):
        list(painted)


def test_maps_of_numbers_are_read_as_maps(studio: Path) -> None:
    numbers = np.zeros((48, 64, 6), np.float32)
    numbers[:, :32, 0], numbers[:, 32:, 5] = 1, 1
    np.save("own.npy", numbers)
    np.save("style.npy", np.resize(numbers[0, 2:62], (60, 60, 6)))
    settings = {**SETTINGS, "style_loss": "patches", "maps": "own.npy,style.npy"}
    painted = package.paint_frames(camera(2), "starry.jpg", device="cpu", **settings)
    assert [one.number for one in painted] == [0, 1]


@pytest.mark.parametrize("rate", [0, -1, 1001, math.nan])
def test_an_impossible_rate_is_one_sentence(studio: Path, rate: float) -> None:
    with pytest.raises(UsageError, match="must lie above 0"):
        package.paint_frames(camera(1), "starry.jpg", rate=rate)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"between": (0, 1)}, "between"),
        ({"passes": 3, "loop": True}, "passes, loop"),
        ({"loop": True}, "loop"),
    ],
)
def test_settings_of_whole_films_are_refused_where_frames_come_one_by_one(
    studio: Path, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError) as error:
        package.paint_frames(camera(1), "starry.jpg", device="cpu", **SETTINGS, **settings)
    assert str(error.value) == (
        f"{named}: count for whole films, and here frames come one by one: use impasto.film, or leave them out"
    )


def test_settings_of_whole_films_may_be_as_they_are_by_default(studio: Path) -> None:
    settings = {**SETTINGS, "between": None, "passes": 1, "loop": False}
    painted = package.paint_frames(camera(1), "starry.jpg", device="cpu", **settings)
    assert [one.number for one in painted] == [0]


def test_a_mask_of_a_film_may_be_in_memory(studio: Path) -> None:
    film(studio / "clip.mp4", 2)
    left = np.zeros((32, 48, 3), np.uint8)
    left[:, :24, 2] = 255
    settings = {**SETTINGS, "segmentation": left, "region_styles": "blue:keep,black:1", "style_strength": 50}
    path, _ = package.film("clip.mp4", "starry.jpg", "out", device="cpu", **settings)
    for before, after in zip(frames("clip.mp4"), frames(path), strict=True):
        change = np.abs(before.astype(int) - after)
        assert change[:, :22].mean() < 0.2 * change[:, 26:].mean()


def test_memory_does_not_grow_with_the_film(studio: Path) -> None:

    def alive() -> int:
        gc.collect()
        return sum(each.numel() for each in gc.get_objects() if type(each) is torch.Tensor)

    painted = package.paint_frames(camera(60), "starry.jpg", device="cpu", **{**SETTINGS, "steps": 1})
    early, late = (alive() for one in painted if one.number in (10, 59))
    assert late <= 1.05 * early

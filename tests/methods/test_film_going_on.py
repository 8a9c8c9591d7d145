"""Films go on as if nothing had been, bit by bit, from the little that is remembered."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from impasto.methods.film import FilmPainter
from impasto.synthesis.checkpoint import load_checkpoint, save_checkpoint
from short_films import Begin, Shifting, paint, panned, same, still, works


def kept(painter: FilmPainter, path: Path, fresh: FilmPainter) -> FilmPainter:
    """A fresh painter that goes on from what another one saved."""
    save_checkpoint(path, painter, {})
    tensors, state, _ = load_checkpoint(path)
    fresh.go_on_from(tensors, state)
    return fresh


@pytest.mark.parametrize("done", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "values", [{}, {"distances": "1,2,3"}, {"coarsest": 16, "average": 0.9}, {"optimiser": "lbfgs"}, {"blend": True}]
)
def test_a_fresh_painter_goes_on_bit_by_bit(begin: Begin, tmp_path: Path, done: int, values: dict[str, Any]) -> None:
    frames = panned(4, 4)
    styles = works() if values.get("blend") else []
    whole = paint(begin(*styles, **values), frames)
    before = begin(*styles, **values)
    paint(before, frames[:done])
    resumed = kept(before, tmp_path / "c.safetensors", begin(*styles, **values))
    assert same(paint(resumed, frames[done:]), whole[done:])


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_frame_left_in_the_middle_changes_nothing(begin: Begin, steps: int) -> None:
    frames = panned(3, 4)
    whole, left = paint(begin(), frames), begin()
    shown = paint(left, frames[:1])
    for one in frames[1:]:
        for _ in islice(left.steps(one), steps):
            pass
        shown.append(left.paint(one))
    assert same(shown, whole)


def test_a_frame_painted_alone_changes_nothing(begin: Begin) -> None:
    frames = panned(3, 4)
    whole, watched = paint(begin(), frames), begin()
    shown = []
    for one in frames:
        shown.append(watched.paint(one))
        watched.alone(one)
    assert same(shown, whole)


def test_a_film_is_painted_twice_alike_whatever_came_before(begin: Begin) -> None:
    painter = begin()
    paint(painter, still(2, seed=4))
    fresh = begin()
    assert same(paint(fresh, panned(3, 4)), paint(begin(), panned(3, 4)))


@pytest.mark.parametrize("distances", ["1", "1,2,4"])
def test_what_is_remembered_is_bounded(begin: Begin, distances: str) -> None:
    painter, sizes = begin(estimator=Shifting(), distances=distances, frame_steps=1, steps=1), []
    for one in still(10):
        painter.paint(one)
        tensors, _ = painter.state()
        sizes.append(sum(value.numel() for value in tensors.values()))
    longest = int(distances[-1])
    assert len(painter._past) == longest
    assert [seen.number for seen in painter._past] == [*range(10 - longest, 10)]
    assert len({*sizes[longest:]}) == 1


def test_distances_reach_back(begin: Begin) -> None:
    painter = begin(estimator=Shifting(), distances="1,3")
    counts = []
    for one in still(5):
        counts.append([link.seen.number for link in painter.links(one)])
        painter.paint(one)
    assert counts == [[], [0], [1], [2, 0], [3, 1]]

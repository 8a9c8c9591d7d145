"""How steady a film is: the report finds what to compare, and compares only what can be."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cinema import numbered
from reels import film
from studio import Command, Shown


def values_of(shown: Shown) -> dict[str, list[float]]:
    """The numbers in each line of a report."""
    rows = {}
    for line in shown.out.splitlines():
        name, _, rest = line.partition("  ")
        rows[name] = [float(word) for word in rest.split() if word.replace(".", "").replace("e-", "").isdigit()]
    return rows


def test_the_report_finds_source_and_styles_in_the_record(painted: Command, impasto: Command) -> None:
    painted("-o", "out.mp4", "--cuts", "none")
    shown = impasto("film-report", "out.mp4", "-o", "plot.png")
    assert shown.code == 0, shown.err
    rows = values_of(shown)
    assert {"frames", "source", "result"} <= rows.keys()
    assert " style " in shown.out
    assert rows["result"]
    assert all(math.isfinite(value) for row in rows.values() for value in row)
    assert Path("plot.png").stat().st_size > 1000


def test_the_report_of_a_part_is_compared_with_that_part(painted: Command, impasto: Command) -> None:
    painted("-o", "out.mp4", "--between", "0.04,0.16")
    shown = impasto("film-report", "out.mp4")
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[0].split()[1] == "3,"


def test_a_film_is_as_steady_as_itself(painted: Command, impasto: Command, studio: Path) -> None:
    numbered(studio / "shots", 1)
    for number in range(2, 8):
        (studio / "shots" / f"f_{number:03}.png").write_bytes((studio / "shots" / "f_001.png").read_bytes())
    painted("-o", "out", "--quality", "master", content="shots")
    shown = impasto("film-report", "out", "--source", "shots", "--baseline", "out")
    rows = values_of(shown)
    assert rows["result / baseline"] == pytest.approx([1, 1, 1][: len(rows["result / baseline"])])
    assert rows["source"][0] < 1e-6
    assert rows["result"] == rows["frame by frame"]


def test_films_of_different_lengths_are_not_compared(painted: Command, impasto: Command, studio: Path) -> None:
    painted("-o", "out.mp4")
    film(studio / "short.mp4", 3)
    shown = impasto("film-report", "out.mp4", "--source", "short.mp4")
    assert shown.code == 1
    assert shown.last_line == "short.mp4: ends before out.mp4: compare films of one length"


def test_a_film_without_a_record_needs_a_source(impasto: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 2)
    shown = impasto("film-report", "clip.mp4")
    assert (shown.code, "name it with --source" in shown.last_line) == (2, True)


def test_a_plot_is_not_painted_over(painted: Command, impasto: Command) -> None:
    painted("-o", "out.mp4")
    Path("plot.svg").write_text("mine")
    assert impasto("film-report", "out.mp4", "-o", "plot.svg").code == 2
    assert Path("plot.svg").read_text() == "mine"
    assert impasto("film-report", "out.mp4", "-o", "plot.svg", "--force").code == 0
    assert Path("plot.svg").read_text() != "mine"

"""How steady a film is: the report finds what to compare, and compares only what can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from cinema import numbered
from impasto.films.report import measure
from impasto.pictures.film import open_film
from reels import chart, film
from studio import Command, Shown, paint


def values_of(shown: Shown) -> dict[str, list[float]]:
    """The numbers in each line of a report."""
    rows = {}
    for line in shown.out.splitlines():
        name, _, rest = line.partition("  ")
        rows[name] = [float(word) for word in rest.split() if word.replace(".", "").replace("e-", "").isdigit()]
    return rows


def has_style_distance(shown: Shown) -> bool:
    return any(line.startswith("result ") and " style " in line for line in shown.out.splitlines())


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
    assert rows["result"] == rows["baseline"]


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


@pytest.mark.parametrize(
    "words",
    [
        ("--segmentation", "map.png", "--style-segmentations", "map.png", "--guidance", "simple"),
        ("--segmentation", "map.png", "--region-styles", "red:1,blue:keep", "--region-strengths", "red:2"),
        ("--masks", "mask.png", "--region-content", "mask:2", "--rest", "last", "--feather", "0.1"),
    ],
)
def test_films_of_regions_have_a_distance_to_the_style(
    painted: Command, impasto: Command, studio: Path, words: Sequence[str]
) -> None:
    coloured = Image.new("RGB", (48, 32), "red")
    coloured.paste("blue", (0, 0, 24, 32))
    coloured.save(studio / "map.png")
    Image.new("L", (48, 32), 255).save(studio / "mask.png")
    paint(studio / "starry.jpg", 48, 32, seed=1)
    assert painted("-o", "out.mp4", "--between", "0,0.1", *words).code == 0
    shown = impasto("film-report", "out.mp4")
    assert shown.code == 0, shown.err
    assert has_style_distance(shown)


# What is missing


def test_a_film_that_is_not_there_is_no_film_without_a_record(impasto: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 2)
    for words in ((), ("--source", "clip.mp4")):
        shown = impasto("film-report", "clap.mp4", *words)
        assert (shown.code, shown.err.startswith("clap.mp4: no such file")) == (1, True)
        assert len(shown.err.splitlines()) == 1


def test_what_has_moved_is_named(painted: Command, impasto: Command) -> None:
    painted("-o", "out.mp4")
    Path("starry.jpg").rename("moved.jpg")
    shown = impasto("film-report", "out.mp4")
    assert (shown.code, shown.err) == (1, "starry.jpg: no such file any more; name its new place with --style\n")
    assert has_style_distance(impasto("film-report", "out.mp4", "--style", "moved.jpg"))
    Path("clip.mp4").rename("moved.mp4")
    shown = impasto("film-report", "out.mp4", "--style", "moved.jpg")
    assert (shown.code, shown.err) == (1, "clip.mp4: no such file any more; name its new place with --source\n")
    assert has_style_distance(impasto("film-report", "out.mp4", "--style", "moved.jpg", "--source", "moved.mp4"))


def test_with_a_source_what_else_has_moved_is_a_note(painted: Command, impasto: Command) -> None:
    painted("-o", "out.mp4", "--between", "0.04,0.16")
    Path("starry.jpg").rename("moved.jpg")
    Path("clip.mp4").rename("moved.mp4")
    shown = impasto("film-report", "out.mp4", "--source", "moved.mp4")
    assert (shown.code, shown.err.count("starry.jpg: no such file any more; name its new place with --style")) == (0, 1)
    assert shown.out.splitlines()[0].split()[1] == "3,"
    assert not has_style_distance(shown)


def test_with_a_source_a_damaged_record_is_a_note(impasto: Command, studio: Path) -> None:
    numbered(studio / "shots", 3)
    (studio / "shots" / "record.json").write_text("{}")
    assert impasto("film-report", "shots").code == 1
    shown = impasto("film-report", "shots", "--source", "shots")
    assert (shown.code, shown.err.count("shots: its record is damaged")) == (0, 1)


# Frames that are not there


def animation(path: Path, shown: Sequence[tuple[int, int]]) -> Path:
    """Charts by their shifts, each with how long it is shown, in ms."""
    first, *others = (Image.fromarray(chart(shift=shift)) for shift, _ in shown)
    durations = [duration for _, duration in shown]
    first.save(path, save_all=True, append_images=others, duration=durations, lossless=True)
    return path


def test_frames_are_compared_that_are_shown_at_the_same_time(impasto: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 5)
    animation(studio / "out.webp", [(0, 40), (1, 120), (2, 40)])
    report = measure({"source": open_film("clip.mp4"), "result": open_film("out.webp")})
    assert report.times == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    report = measure({"source": open_film("out.webp"), "result": open_film("clip.mp4")})
    assert report.times == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    shown = impasto("film-report", "out.webp", "--source", "clip.mp4", "--baseline", "clip.mp4")
    assert (shown.code, shown.out.split()[1]) == (0, "5,"), shown.err


def test_a_film_that_leaves_out_frames_at_its_end_is_as_long(studio: Path) -> None:
    film(studio / "clip.mp4", 5)
    animation(studio / "out.webp", [(0, 40), (1, 160)])
    assert len(measure({"source": open_film("clip.mp4"), "result": open_film("out.webp")}).times) == 5


def test_films_of_different_lengths_in_seconds_are_not_compared(impasto: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 5)
    animation(studio / "short.webp", [(0, 40), (1, 80)])
    shown = impasto("film-report", "short.webp", "--source", "clip.mp4")
    assert (shown.code, shown.last_line) == (1, "short.webp: ends before clip.mp4: compare films of one length")
    shown = impasto("film-report", "clip.mp4", "--source", "short.webp")
    assert (shown.code, shown.last_line) == (1, "short.webp: ends before clip.mp4: compare films of one length")


def test_times_that_are_rounded_are_the_same(studio: Path) -> None:
    film(studio / "clip.mp4", 7, ticks=[round(number * 12_800 / 30) for number in range(7)])
    animation(studio / "out.gif", [(number, 40 if number % 3 == 1 else 30) for number in range(7)])
    animation(studio / "less.webp", [(0, 33), (1, 34), (2, 67), (4, 66), (6, 33)])
    films = {"source": open_film("clip.mp4"), "result": open_film("out.gif"), "other": open_film("less.webp")}
    assert len(measure(films).times) == 7


def test_numbered_frames_have_the_times_of_their_source(impasto: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 5, ticks=[0, 512, 2048, 2560, 5120])
    numbered(studio / "out", 5)
    numbered(studio / "more", 6)
    report = measure({"source": open_film("clip.mp4"), "result": open_film("out")})
    assert report.times == pytest.approx([0, 0.04, 0.16, 0.2, 0.4])
    for ours, ended in (("more", "clip.mp4: ends before more"), ("out", "out: ends before clip.mp4")):
        film(studio / "clip.mp4", 5 + (ours == "out"))
        shown = impasto("film-report", ours, "--source", "clip.mp4")
        assert (shown.code, shown.last_line) == (1, f"{ended}: compare films of one length")


def test_numbered_frames_have_the_rate_that_they_were_painted_at(
    painted: Command, impasto: Command, studio: Path
) -> None:
    numbered(studio / "shots", 3)
    (studio / "shots" / "f_003.png").write_bytes((studio / "shots" / "f_002.png").read_bytes())
    painted("-o", "out.webp", "--rate", "10", "--color-only", content="shots")
    assert open_film("out.webp").count == 2
    shown = impasto("film-report", "out.webp")
    assert (shown.code, shown.out.split()[1]) == (0, "3,"), shown.err

"""Options of films act, or are refused in one sentence that says what to do instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cinema import frames, numbered, same
from impasto.films.jobs import film_job
from impasto.pictures.files import to_array
from impasto.records import read_record
from reels import film
from studio import Command, paint

# Making a film again


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--plot", "p.png"), "--plot: films have none: use impasto film-report"),
        (("--record", "r.json"), "--record: films hold it themselves: leave it out"),
        (("--field", "f.png"), "--field: films have none: leave it out"),
        (("--quality", "50"), "--quality: is a word for films: use --set quality=draft, good, high or master"),
        (("--quality", "95"), "--quality: is a word for films: use --set quality=draft, good, high or master"),
        (("--bits", "16"), "--bits: are those of a film's codec: leave it out, or use --set quality=master"),
        (("--set", "quality=50"), "quality '50': unknown; use draft, good, high or master"),
        (("--set", "codec=h246"), "codec 'h246': unknown"),
        (("--set", "size=32", "--set", "size=48"), "--set size=48: size is given twice"),
    ],
)
def test_rerun_refuses_what_films_do_not_have(
    painted: Command, impasto: Command, words: tuple[str, ...], sentence: str
) -> None:
    assert painted("-o", "out.mp4", "--between", "0,0.04").code == 0
    before = sorted(Path().iterdir())
    shown = impasto("rerun", "out.mp4", *words)
    assert (shown.code, shown.out) == (2, "")
    assert shown.last_line.startswith(sentence)
    assert sorted(Path().iterdir()) == before


def test_rerun_names_all_that_films_do_not_have(painted: Command, impasto: Command) -> None:
    assert painted("-o", "out.mp4", "--between", "0,0.04").code == 0
    shown = impasto("rerun", "out.mp4", "--plot", "p.png", "--record", "r.json")
    assert shown.err == (
        "--plot: films have none: use impasto film-report; --record: films hold it themselves: leave it out\n"
    )


def test_rerun_compresses_as_before_or_in_another_way(painted: Command, impasto: Command) -> None:
    painted("-o", "out.mp4", "--quality", "good", "--codec", "vp9")

    def how(name: str, *words: str) -> tuple[str, str | None]:
        shown = impasto("rerun", "out.mp4", "-o", name, *words)
        assert shown.code == 0, shown.err
        facts = read_record(Path(name)).facts
        return facts["quality"], facts["codec"]

    assert how("same.mp4") == ("good", "vp9")
    assert how("draft.mp4", "--set", "quality=draft") == ("draft", "vp9")
    assert how("other.mp4", "--set", "codec=h264", "--set", "size=64") == ("good", "h264")
    assert how("other.mov", "--set", "codec=prores") == ("good", "prores")
    assert (same("out.mp4", "same.mp4"), same("out.mp4", "draft.mp4")) == (True, False)
    assert frames("other.mp4")[0].shape[1] == 64


# What goes in


def test_a_rate_is_that_of_numbered_pictures(painted: Command) -> None:
    shown = painted("-o", "out.mp4", "--rate", "5")
    assert (shown.code, shown.out) == (2, "")
    assert shown.last_line == "--rate: is that of numbered pictures, and clip.mp4 has its own: leave it out"


def _halves(folder: Path) -> None:
    for name, columns in (("left", slice(24)), ("right", slice(24, None))):
        mask = np.zeros((32, 48), np.uint8)
        mask[:, columns] = 255
        Image.fromarray(mask).save(folder / f"{name}.png")


def test_masks_may_be_named_one_after_the_other(painted: Command, studio: Path) -> None:
    _halves(studio)
    film(studio / "clip.mp4", 2)
    paint(studio / "other.jpg", 60, 60, seed=7)
    assert painted("other.jpg", "-o", "at-once", "--masks", "left.png,right.png").code == 0
    assert painted("other.jpg", "-o", "each", "--masks", "left.png", "--masks", "right.png").code == 0
    assert read_record(Path("each")).settings["masks"] == ["left.png", "right.png"]
    assert same("at-once", "each")


def test_a_second_mask_is_none_of_one_style(painted: Command, studio: Path) -> None:
    _halves(studio)
    shown = painted("--masks", "left.png", "--masks", "right.png")
    assert (shown.code, shown.last_line) == (2, "--masks: 2 masks for 1 style: give one for each")


@pytest.mark.parametrize("words", [("--segmentation", "a.png"), ("--flow-cache", "a"), ("--rate", "2")])
def test_what_takes_one_is_given_once(painted: Command, words: tuple[str, ...]) -> None:
    shown = painted(*words, *words)
    assert (shown.code, shown.last_line) == (2, f"{words[0]}: is given twice")


# Works for a part of a film


def _seen(monkeypatch: pytest.MonkeyPatch, content: str, **settings: Any) -> np.ndarray:
    """The picture by which the works of a blend are chosen."""
    found: list[Any] = []
    monkeypatch.setattr("impasto.films.jobs.blend_job", lambda *_, seen, **__: found.append(seen))
    Path("works").mkdir()
    film_job([content, "works"], {"blend": True, **settings})
    return to_array(found[0])


def test_works_are_chosen_by_the_part_that_is_painted(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(studio / "clip.mp4", 5)
    shown = _seen(monkeypatch, "clip.mp4", between="0.16,0.2")
    first, *_, last = frames("clip.mp4")
    assert np.array_equal(shown, last)
    assert not np.array_equal(shown, first)


def test_works_are_chosen_by_the_part_at_the_rate_of_numbered_pictures(
    studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered(studio / "shots", 4)
    shown = _seen(monkeypatch, "shots", between="0.2,0.3", rate=10)
    assert np.array_equal(shown, frames("shots")[2])


def test_a_part_without_frames_has_no_works(painted: Command, studio: Path) -> None:
    (studio / "works").mkdir()
    (studio / "starry.jpg").rename(studio / "works" / "starry.jpg")
    shown = painted("--blend", "--between", "5,6", style="works")
    assert (shown.code, shown.last_line) == (2, "--between: there are no frames at these times: the film is shorter")

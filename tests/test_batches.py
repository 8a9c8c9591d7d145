"""Grids and strips: which pictures, in which order, with what in common, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import impasto as package
from impasto.errors import UsageError
from impasto.methods.reading import Reader
from impasto.records import read_record
from studio import FAST, Command, paint

QUICK: dict[str, Any] = {"encoder": "tiny.safetensors", "size": 48, "coarsest": 48, "steps": 2, "device": "cpu"}


@pytest.fixture
def pictures(studio: Path) -> Path:
    paint(studio / "barn.jpg", 48, 64, seed=2)
    paint(studio / "wave.jpg", 50, 60, seed=3)
    return studio


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Sizes of the styles that are encoded."""
    sizes: list[tuple[int, ...]] = []
    original = Reader.moments

    def moments(self: Reader, pixels: Any, *rest: Any) -> Any:
        sizes.append(tuple(pixels.shape[-2:]))
        return original(self, pixels, *rest)

    monkeypatch.setattr(Reader, "moments", moments)
    return sizes


@pytest.mark.usefixtures("pictures")
def test_a_grid_is_every_content_in_every_style(impasto: Command) -> None:
    shown = impasto("grid", "harbour.jpg", "barn.jpg", "--styles", "starry.jpg", "wave.jpg", *FAST)
    assert shown.code == 0
    names = ["harbour-starry.png", "harbour-wave.png", "barn-starry.png", "barn-wave.png"]
    assert shown.out.split() == [*names, "grid.jpg"]
    for name in names:
        assert "-".join(Path(one.path or "").stem for one in read_record(Path(name)).inputs) == Path(name).stem
    with Image.open("grid.jpg") as sheet:
        assert sheet.width == 2 * 48
    impasto("transfer", "barn.jpg", "wave.jpg", *FAST, "-o", "alone.png")
    assert np.array_equal(np.asarray(Image.open("barn-wave.png")), np.asarray(Image.open("alone.png")))
    assert impasto("rerun", "barn-wave.png", "-o", "again.png", "--device", "cpu").code == 0


@pytest.mark.usefixtures("pictures")
def test_a_grid_reads_each_style_once(impasto: Command, readings: list[tuple[int, ...]]) -> None:
    paint(Path("twin.jpg"), 64, 48, seed=7)
    impasto("grid", "harbour.jpg", "twin.jpg", "--styles", "starry.jpg", "wave.jpg", *FAST)
    assert len(readings) == 2  # of one size: both contents have the same shape


@pytest.mark.usefixtures("pictures")
def test_a_strip_goes_from_one_style_to_the_other(impasto: Command, readings: list[tuple[int, ...]]) -> None:
    shown = impasto("strip", "harbour.jpg", "starry.jpg", "wave.jpg", "--pictures", "3", *FAST)
    assert shown.code == 0
    names = [f"harbour-starry-wave-{number}.png" for number in (1, 2, 3)]
    assert shown.out.split() == [*names, "harbour-starry-wave.strip.jpg"]
    assert [read_record(Path(name)).settings["style_weights"] for name in names] == [[1, 0], [0.5, 0.5], [0, 1]]
    assert len(readings) == 2
    impasto("transfer", "harbour.jpg", "wave.jpg", *FAST, "-o", "alone.png")
    last, alone = (np.asarray(Image.open(name)).astype(int) for name in (names[-1], "alone.png"))
    assert np.abs(last - alone).max() <= 2


@pytest.mark.usefixtures("pictures")
def test_what_was_there_stays(impasto: Command) -> None:
    Path("harbour-starry.png").write_bytes(b"mine")
    shown = impasto("grid", "harbour.jpg", "--styles", "starry.jpg", *FAST)
    assert shown.out.split() == ["harbour-starry-2.png", "grid.jpg"]
    assert Path("harbour-starry.png").read_bytes() == b"mine"


@pytest.mark.usefixtures("pictures")
def test_what_is_finished_is_not_painted_again(impasto: Command, readings: list[tuple[int, ...]]) -> None:
    words = ("grid", "harbour.jpg", "barn.jpg", "--styles", "starry.jpg", *FAST)
    names = ["harbour-starry.png", "barn-starry.png"]
    impasto(*words)
    Path(names[1]).unlink()
    before = Path(names[0]).stat().st_mtime_ns
    assert len(readings) == 1
    assert impasto(*words).out.split() == [*names, "grid-2.jpg"]
    assert len(readings) == 2
    assert Path(names[0]).stat().st_mtime_ns == before
    first, second = (np.asarray(Image.open(name)) for name in ("grid.jpg", "grid-2.jpg"))
    assert np.array_equal(first, second)


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("changed", [("--style-strength", "2"), ("--bits", "16"), ("--seed", "5")])
def test_other_work_of_the_same_name_is_numbered(impasto: Command, changed: tuple[str, str]) -> None:
    words = ("grid", "harbour.jpg", "--styles", "starry.jpg", *FAST)
    impasto(*words)
    for sheet in ("grid-2.jpg", "grid-3.jpg"):  # the second time it is there, under its number
        assert impasto(*words, *changed).out.split() == ["harbour-starry-2.png", sheet]
    assert not Path("harbour-starry-3.png").exists()


@pytest.mark.usefixtures("pictures")
def test_another_encoder_is_other_work(impasto: Command, pictures: Path, lively_path: Path) -> None:
    words = ("grid", "harbour.jpg", "--styles", "starry.jpg", *FAST)
    impasto(*words)
    (pictures / "tiny.safetensors").unlink()  # a link to what other tests use, too
    (pictures / "tiny.safetensors").write_bytes(lively_path.read_bytes())
    assert impasto(*words).out.split() == ["harbour-starry-2.png", "grid-2.jpg"]


@pytest.mark.usefixtures("pictures")
def test_another_picture_of_the_same_name_is_painted(impasto: Command) -> None:
    words = ("grid", "harbour.jpg", "--styles", "starry.jpg", *FAST)
    impasto(*words)
    paint(Path("starry.jpg"), 60, 50, seed=11)
    assert impasto(*words).out.split() == ["harbour-starry-2.png", "grid-2.jpg"]


@pytest.mark.usefixtures("pictures")
def test_a_forced_grid_is_painted_again(impasto: Command, readings: list[tuple[int, ...]]) -> None:
    words = ("grid", "harbour.jpg", "--styles", "starry.jpg", *FAST, "--force")
    impasto(*words)
    assert impasto(*words).out.split() == ["harbour-starry.png", "grid.jpg"]
    assert len(readings) == 2


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("grid", "harbour.jpg"), 2, "grid: 1 content and 0 styles given"),
        (("grid", "--styles", "starry.jpg"), 2, "grid: 0 contents and 1 style given"),
        (("grid", "harbour.jpg", "--styles", "stary.jpg"), 1, "stary.jpg: no such file (did you mean starry.jpg?)"),
        (("strip", "harbour.jpg", "starry.jpg"), 2, "strip takes one content and two style pictures, 1 style given"),
        (
            ("strip", "harbour.jpg", "starry.jpg", "wave.jpg", "--pictures", "1"),
            2,
            "--pictures: a strip has 2 or more, not 1",
        ),
        (
            ("strip", "harbour.jpg", "starry.jpg", "wave.jpg", "--style-weights", "1,1"),
            2,
            "--style-weights: a strip goes",
        ),
        (
            ("grid", "harbour.jpg", "--styles", "starry.jpg", "-o", "harbour-starry.png"),
            2,
            "harbour-starry.png: is the",
        ),
        (("grid", "harbour.jpg", "--styles", "starry.jpg", "--plot", "p.png"), 2, "--plot: is of one picture"),
        (("grid", "harbour.jpg", "--styles", "starry.jpg", "--record", "r.json"), 2, "--record: is of one picture"),
        (("strip", "harbour.jpg", "starry.jpg", "wave.jpg", "--pictures", "1001"), 2, "1001 pictures at once"),
    ],
)
def test_one_sentence_before_any_work(impasto: Command, words: tuple[str, ...], code: int, sentence: str) -> None:
    shown = impasto(*words, *FAST)
    assert shown.code == code
    assert shown.last_line.startswith(sentence)
    assert not [*Path().glob("*.png")]


@pytest.mark.usefixtures("pictures")
def test_in_python() -> None:
    results = package.grid(["harbour.jpg"], ["starry.jpg", "wave.jpg"], **QUICK)
    assert [one.picture.size for one in results] == [(48, 36), (48, 36)]
    way = package.strip("harbour.jpg", "starry.jpg", "wave.jpg", 2, **QUICK)
    assert np.abs(way[1].array.astype(int) - results[1].array).max() <= 2
    with pytest.raises(UsageError, match="sise: no such setting"):
        package.grid(["harbour.jpg"], ["starry.jpg"], sise=3)


def test_a_grid_is_prepared_in_full_before_the_first_picture(impasto: Command, studio: Path) -> None:
    paint(studio / "tall.jpg", 40, 80)
    Image.new("L", (64, 48), 255).save(studio / "mask.png")
    shown = impasto("grid", "harbour.jpg", "tall.jpg", "--styles", "starry.jpg", "--masks", "mask.png", *FAST)
    assert shown.code == 2
    assert "mask.png: is 64×48, and tall.jpg is 40×80" in shown.last_line
    assert not list(studio.glob("*.png.*")) + list(studio.glob("harbour-*"))

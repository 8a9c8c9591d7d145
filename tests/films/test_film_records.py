"""The records of films: beside numbered frames, each under a name of its own, and found again from everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from cinema import names, numbered, same
from impasto.errors import PictureError
from impasto.pictures.film_writing import read_film_record
from impasto.records import read_record
from studio import Command


@pytest.fixture
def elsewhere(studio: Path) -> None:
    """clip/ with three frames in a folder of its own, so that paths differ from each place."""
    (studio / "films").mkdir()
    numbered(studio / "films" / "clip", 3)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("output", ["made/out", "made/%03d.png", "made/a_%03d.png"])
def test_rerun_takes_frames_or_their_record(painted: Command, impasto: Command, studio: Path, output: str) -> None:
    (studio / "made").mkdir()
    assert painted("-o", output, content="films/clip").code == 0
    folder = Path(output) if "%" not in output else Path("made")
    (record,) = folder.glob("*.json")
    for number, place in enumerate(dict.fromkeys((output, str(folder), str(record)))):
        shown = impasto("rerun", place, "--device", "cpu", "-o", f"again-{number}")
        assert shown.code == 0, shown.err
        assert same(output, f"again-{number}")


@pytest.mark.usefixtures("elsewhere")
def test_rerun_finds_the_inputs_of_frames_from_any_folder(
    painted: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert painted("-o", "out", "--beside", "source", content="films/clip").code == 0
    (studio / "far").mkdir()
    words = ("--set", f"encoder={studio / 'tiny.safetensors'}", "--device", "cpu", "-o", studio / "again", "--force")
    places = ["../out", "../out/record.json", "../out.side-by-side/record.json"]
    for folder, place in (*(("far", place) for place in places), ("out", "."), ("out", "record.json")):
        monkeypatch.chdir(studio / folder)
        shown = impasto("rerun", place, *words)
        assert shown.code == 0, shown.err
        assert same(studio / "out", studio / "again")


def test_series_in_one_folder_keep_their_records(painted: Command, impasto: Command, studio: Path) -> None:
    (studio / "pat").mkdir()
    for series, steps in (("a_%03d", 1), ("b_%03d", 3), ("%03d", 4), ("b%03d-left", 5)):
        shown = painted("-o", f"pat/{series}.png", "--frame-steps", steps, "--between", "0,0.06")
        assert shown.code == 0, shown.err
        assert read_record(Path(f"pat/{series}.png")).settings["frame_steps"] == steps
    records = {name for name in names(studio / "pat") if name.endswith(".json")}
    assert records == {"record.json", "a.record.json", "b.record.json", "b-left.record.json"}
    assert read_record(Path("pat/a_%03d.png")).settings["frame_steps"] == 1
    assert read_record(Path("pat")).settings["frame_steps"] == 4


def test_a_folder_of_several_records_asks_for_one(studio: Path) -> None:
    (studio / "pat").mkdir()
    for name in "ab":
        (studio / "pat" / f"{name}.record.json").write_text("{}")
    with pytest.raises(PictureError, match=r"^pat: holds the records of 2 films \(a\.record\.json, b\.record\.json\)"):
        read_film_record("pat")


def test_frames_named_as_those_of_a_folder_have_its_record(painted: Command) -> None:
    assert painted("-o", "out", "--between", "0,0.06").code == 0
    assert read_record(Path("out/frame_%05d.png")) == read_record(Path("out/record.json"))


def test_a_record_that_cannot_be_read_is_one_sentence(studio: Path) -> None:
    numbered(studio / "shots", 2)
    (studio / "shots" / "record.json").mkdir()
    with pytest.raises(PictureError, match=r"^shots/record\.json: not a regular file"):
        read_record(Path("shots"))
    (studio / "shots" / "record.json").rmdir()
    (studio / "shots" / "record.json").write_bytes(bytes(range(256)))
    with pytest.raises(PictureError, match=r"^shots: its record is damaged"):
        read_record(Path("shots"))
    (studio / "shots" / "record.json").unlink()
    with pytest.raises(PictureError, match=r"^shots: holds no impasto record"):
        read_record(Path("shots"))

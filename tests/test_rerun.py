"""`impasto rerun`: the same picture from its record, wherever it lies, with changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from impasto.records import read_record
from studio import FAST, Command, paint, pixels


def test_rerun_makes_the_same_picture(transfer: Command, impasto: Command) -> None:
    transfer("--seed", "3", "--start", "noise")
    shown = impasto("rerun", "harbour-starry.png", "--device", "cpu")
    assert (shown.code, shown.out) == (0, "harbour-starry-2.png\n")
    assert np.array_equal(pixels("harbour-starry.png"), pixels("harbour-starry-2.png"))
    assert read_record(Path("harbour-starry-2.png")).settings["encoder"] == "tiny.safetensors"


def test_rerun_finds_inputs_from_any_folder(impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in (("harbour.jpg", "photos"), ("starry.jpg", "art"), (None, "elsewhere")):
        (studio / folder).mkdir()
        if name:
            (studio / name).rename(studio / folder / name)
    impasto("transfer", "photos/harbour.jpg", "art/starry.jpg", *FAST, "-o", "photos/out.png")
    monkeypatch.chdir(studio / "elsewhere")
    (studio / "elsewhere" / "tiny.safetensors").hardlink_to(studio / "tiny.safetensors")
    shown = impasto("rerun", "../photos/out.png")
    assert (shown.code, shown.out) == (0, "../photos/out-2.png\n")
    assert np.array_equal(pixels("../photos/out.png"), pixels("../photos/out-2.png"))


def test_rerun_reads_the_record_beside_a_picture(transfer: Command, impasto: Command) -> None:
    transfer("-o", "out.png", "--record", "out.json")
    assert impasto("rerun", "out.json").out == "out-2.png\n"
    assert np.array_equal(pixels("out.png"), pixels("out-2.png"))


def test_rerun_changes_settings(transfer: Command, impasto: Command) -> None:
    transfer("-o", "out.png")
    assert impasto("rerun", "out.png", "--set", "size=64", "--set", "style-strength=2", "-o", "big.png").code == 0
    assert pixels("big.png").shape == (48, 64, 3)
    assert read_record(Path("big.png")).settings["style_strength"] == 2


def test_rerun_takes_a_preset_s_values(transfer: Command, impasto: Command) -> None:
    transfer("-o", "out.png")
    impasto("rerun", "out.png", "--set", "preset=bold", "--set", "steps=1", "-o", "bold.png")
    settings = read_record(Path("bold.png")).settings
    assert (settings["preset"], settings["style_strength"], settings["steps"]) == ("bold", 4.0, 1)


def test_rerun_takes_another_style_without_a_warning(transfer: Command, impasto: Command, studio: Path) -> None:
    transfer("-o", "out.png")
    paint(studio / "other.jpg", 60, 60, seed=9)
    shown = impasto("rerun", "out.png", "--set", "style=other.jpg", "-o", "b.png")
    assert "changed" not in shown.err
    assert [one.path for one in read_record(Path("b.png")).inputs] == ["harbour.jpg", "other.jpg"]
    assert not np.array_equal(pixels("out.png"), pixels("b.png"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("sise=64", "sise: no such setting or input (did you mean size?)"),
        ("contend=a.jpg", "contend: no such setting or input (did you mean content?)"),
        ("size", "--set size: needs the form key=value"),
        ("size=tiny", "size: 'tiny' is not allowed"),
    ],
)
def test_rerun_refuses_impossible_changes(transfer: Command, impasto: Command, change: str, sentence: str) -> None:
    transfer("-o", "out.png")
    shown = impasto("rerun", "out.png", "--set", change)
    assert shown.code == 2
    assert shown.err.startswith(sentence)
    assert len(shown.err.splitlines()) == 1


def test_rerun_needs_a_record(studio: Path, impasto: Command) -> None:
    shown = impasto("rerun", "harbour.jpg")
    assert shown.code == 1
    assert shown.err.startswith("harbour.jpg: holds no impasto record")


def test_rerun_warns_of_a_changed_input_and_goes_on(transfer: Command, impasto: Command, studio: Path) -> None:
    transfer("-o", "out.png")
    paint(studio / "starry.jpg", 60, 60, seed=9)
    shown = impasto("rerun", "out.png")
    assert shown.code == 0
    assert "starry.jpg: the style has changed since the record was written" in shown.err


def test_rerun_warns_of_a_changed_encoder(transfer: Command, impasto: Command, studio: Path) -> None:
    from impasto.encoders import VGG, Configuration, save_encoder

    transfer("-o", "out.png")
    (studio / "tiny.safetensors").unlink()
    save_encoder(VGG(Configuration("tiny", (4, 6, 8, 8, 8), (2, 2, 4, 4, 1))), "tiny.safetensors")
    assert "tiny: the encoder has changed since" in impasto("rerun", "out.png").err


def test_rerun_finds_everything_beside_a_moved_picture(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer("-o", "out.png", "--start", "starry.jpg")
    (studio / "moved").mkdir()
    for name in ("out.png", "harbour.jpg", "starry.jpg", "tiny.safetensors"):
        shutil.move(name, studio / "moved" / name)
    (studio / "elsewhere").mkdir()
    monkeypatch.chdir(studio / "elsewhere")
    paint(Path("harbour.jpg"), 64, 48, seed=5)  # a stranger of the same name
    shown = impasto("rerun", "../moved/out.png")
    assert (shown.code, "changed" in shown.err) == (0, False)
    assert np.array_equal(pixels("../moved/out.png"), pixels("../moved/out-2.png"))


def test_rerun_asks_for_a_missing_input(transfer: Command, impasto: Command, studio: Path) -> None:
    transfer("-o", "out.png")
    (studio / "harbour.jpg").rename("port.jpg")
    shown = impasto("rerun", "out.png")
    assert shown.code == 1
    assert shown.err == "harbour.jpg: no such file any more; name its new place with --set content=PATH\n"
    assert impasto("rerun", "out.png", "--set", "content=port.jpg").code == 0
    assert np.array_equal(pixels("out.png"), pixels("out-2.png"))

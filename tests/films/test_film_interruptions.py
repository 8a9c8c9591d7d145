"""Films that were stopped or are made again become the same films, and nothing that was painted is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cinema import QUICK, frames, same, signal_at, times
from impasto.methods.film import FilmPainter
from impasto.methods.film_settings import FilmSettings
from impasto.motion import write_flo
from impasto.pictures.files import write_picture
from impasto.pictures.film import Frame, open_film
from impasto.pictures.picture import Picture
from impasto.records import read_record
from mishaps import full_disk
from motion.moving_square import texture
from reels import chart, film, sound_of
from studio import Command, paint

WARM, COLD = (1.0, 0.4, 0.1), (0.1, 0.4, 1.0)

# Interruptions


@pytest.mark.parametrize(("stop", "number"), [(1, signal.SIGINT), (3, signal.SIGTERM)])
def test_a_stopped_film_goes_on_to_the_same_film(
    painted: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch, stop: int, number: int
) -> None:
    film(studio / "clip.mp4", 6, sound=0.24)
    painted("-o", "whole.mp4")
    signal_at(monkeypatch, stop, number)
    shown = painted("-o", "out.mp4")
    assert (shown.code, shown.out) == (130, "")
    assert shown.last_line.startswith(f"stopped after {stop} frames, ")
    assert shown.last_line.endswith("and saved; go on with: impasto resume out.unfinished")
    shown = impasto("resume", "out.unfinished")
    assert (shown.code, shown.out) == (0, "out.mp4\n"), shown.err
    assert same("whole.mp4", "out.mp4")
    assert times("whole.mp4") == times("out.mp4")
    assert np.array_equal(sound_of(Path("whole.mp4")), sound_of(Path("out.mp4")))
    assert [*studio.glob("out*")] == [studio / "out.mp4"]


def test_a_film_stopped_twice_goes_on_from_its_checkpoint_too(
    painted: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted("-o", "whole")
    signal_at(monkeypatch, 1)
    painted("-o", "out")
    signal_at(monkeypatch, 3)
    assert impasto("resume", "out.unfinished").code == 130
    assert impasto("resume", "out.unfinished/film.checkpoint.safetensors").code == 0
    assert same("whole", "out")


def test_a_stopped_part_of_a_film_goes_on(painted: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--between", "0.04,0.2", "--beside", "source")
    painted("-o", "whole", *words)
    signal_at(monkeypatch, 2)
    assert painted("-o", "out", *words).code == 130
    assert impasto("resume", "out.mp4").code == 0
    assert same("whole", "out")
    assert same("whole.side-by-side", "out.side-by-side")


def test_a_film_stopped_in_its_second_part_goes_on(
    painted: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted("-o", "whole")
    monkeypatch.setattr("impasto.films.reels.FRAMES_OF_A_PART", 2)
    monkeypatch.setattr("impasto.films.reels.Reels.pack.__defaults__", (2,))
    signal_at(monkeypatch, 3)
    assert painted("-o", "out").code == 130
    assert len([*Path("out.unfinished/film").glob("*-*.mov")]) == 1
    assert impasto("resume", "out.unfinished").code == 0
    assert same("whole", "out")


def test_a_full_disk_loses_nothing(
    painted: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted("-o", "whole")
    with monkeypatch.context() as patch:
        full_disk(patch, "000000002_2_25.png")
        shown = painted("-o", "out")
    assert shown.code == 1
    assert "000000002_2_25.png: the disk is full; free 1 MB" in shown.last_line
    assert "what was painted is kept; go on with: impasto resume out.unfinished" in shown.err
    assert impasto("resume", "out.unfinished").code == 0
    assert same("whole", "out")


def test_a_disk_that_is_full_in_the_end_loses_nothing(
    painted: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted("-o", "whole.mp4")
    with monkeypatch.context() as patch:
        full_disk(patch, "out.mp4")
        shown = painted("-o", "out.mp4")
    assert shown.code == 1
    assert "the disk is full" in shown.last_line
    shown = impasto("resume", "out.unfinished")
    assert shown.code == 0, shown.err
    assert same("whole.mp4", "out.mp4")
    assert times("whole.mp4") == times("out.mp4")
    assert open_film("whole.mp4").seconds == open_film("out.mp4").seconds


def test_passes_that_are_done_need_not_be_done_again(
    painted: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted("-o", "whole", "--passes", "3")
    with monkeypatch.context() as patch:
        full_disk(patch, "frame_00001.png")
        assert painted("-o", "out", "--passes", "3").code == 1
    monkeypatch.setattr(FilmPainter, "again", lambda *_: pytest.fail("done again"))
    shown = impasto("resume", "out.unfinished")
    assert shown.code == 0, shown.err
    assert same("whole", "out")


@pytest.mark.parametrize("stop", [2, 7, 12])
def test_passes_go_on_where_they_were_stopped(
    painted: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    painted("-o", "whole", "--passes", "3")
    signal_at(monkeypatch, stop)
    assert painted("-o", "out", "--passes", "3").code == 130
    shown = impasto("resume", "out.unfinished")
    assert shown.code == 0, shown.err
    assert same("whole", "out")


KILLED = """
import sys
from impasto.films import session
session.SECONDS_BETWEEN_CHECKPOINTS, session.SHARE_OF_CHECKPOINTS = 0, 1e9
from impasto.cli import main
main(sys.argv[1:])
"""


def test_a_killed_film_goes_on_to_the_same_film(painted: Command, impasto: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 12)
    painted("-o", "whole")
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, "film", "clip.mp4", "starry.jpg", *QUICK, "-o", "out", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert any('"done": 4' in line for line in iter(run.stdout.readline, ""))
    run.kill()
    run.communicate(timeout=60)
    shown = impasto("resume", "out.unfinished")
    assert shown.code == 0, shown.err
    assert same("whole", "out")


@pytest.mark.parametrize("changed", ["clip.mp4", "starry.jpg"])
def test_work_does_not_go_on_with_other_inputs(
    painted: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    signal_at(monkeypatch, 2)
    painted("-o", "out")
    film(studio / changed, 5, width=64) if changed == "clip.mp4" else paint(studio / changed, 60, 60, seed=9)
    shown = impasto("resume", "out.unfinished")
    assert shown.code == 1
    assert "has changed since the record was written; the work cannot go on with it: start anew" in shown.last_line
    assert (studio / "out.unfinished").exists()


def test_a_damaged_checkpoint_is_one_sentence(
    painted: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_at(monkeypatch, 2)
    painted("-o", "out")
    checkpoint = Path("out.unfinished/film.checkpoint.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    shown = impasto("resume", "out.unfinished")
    assert (shown.code, len(shown.err.splitlines())) == (1, 1)
    assert "damaged" in shown.err


# Again


@pytest.mark.parametrize("output", ["out.mp4", "out", "out.gif"])
def test_rerun_makes_the_same_film(painted: Command, impasto: Command, output: str) -> None:
    painted("-o", output)
    shown = impasto("rerun", output, "--device", "cpu")
    again = output.replace("out", "out-2")
    assert (shown.code, shown.out) == (0, f"{again}\n"), shown.err
    assert same(output, again)


def test_rerun_changes_settings(painted: Command, impasto: Command) -> None:
    painted("-o", "out")
    shown = impasto("rerun", "out", "--set", "frame-steps=1", "--set", "size=64", "-o", "b")
    assert shown.code == 0, shown.err
    assert read_record(Path("b")).settings["frame_steps"] == 1
    assert frames("b")[0].shape == (43, 64, 3)


# From other places


@pytest.mark.parametrize("place", [".", "film.checkpoint.safetensors", "../out.unfinished/../out.unfinished"])
def test_work_goes_on_from_within_its_folder(
    painted: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    painted("-o", "whole.mp4")
    signal_at(monkeypatch, 2)
    painted("-o", "out.mp4")
    monkeypatch.chdir("out.unfinished")
    assert impasto("resume", place).code == 0
    monkeypatch.chdir(studio)
    assert same("whole.mp4", "out.mp4")
    assert not (studio / "out.unfinished").exists()


def test_files_that_settings_name_are_found_from_elsewhere(
    painted: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (studio / "cuts.txt").write_text("3")
    (studio / "elsewhere").mkdir()
    words = ("--cuts", "cuts.txt", "--flow-cache", "flows")
    painted("-o", "whole", *words)
    signal_at(monkeypatch, 2)
    painted("-o", "out", *words)
    monkeypatch.chdir("elsewhere")
    shown = impasto("resume", "../out.unfinished")
    assert shown.code == 0, shown.err
    assert impasto("rerun", "../whole", "-o", "again").code == 0
    assert [*Path().iterdir()] == [Path("again")]
    assert same("../whole", "../out")
    assert same("../whole", "again")


def test_flows_of_files_are_found_from_elsewhere(
    painted: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (studio / "flows").mkdir()
    for number in range(4):
        for pair in ((number, number + 1), (number + 1, number)):
            write_flo(studio / "flows" / "{}_{}.flo".format(*pair), torch.zeros(1, 2, 32, 48))
    painted("-o", "whole.mp4", "--flow", "flows/{}_{}.flo")
    (studio / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    shown = impasto("rerun", "../whole.mp4", "-o", "again.mp4")
    assert shown.code == 0, shown.err
    assert same("../whole.mp4", "again.mp4")


# Passes


def test_passes_follow_flows_of_files(painted: Command, studio: Path) -> None:
    (studio / "flows").mkdir()
    film(studio / "clip.mp4", 5, width=96, height=64)
    for number in range(4):
        for pair in ((number, number + 1), (number + 1, number)):
            write_flo(studio / "flows" / "{}_{}.flo".format(*pair), torch.zeros(1, 2, 64, 96))
    shown = painted("-o", "out", "--flow", "flows/{}_{}.flo", "--passes", "3")
    assert shown.code == 0, shown.err


def test_passes_know_when_frames_are_shown(impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(studio / "other.jpg", 60, 60, seed=5)
    film(studio / "clip.mp4", 4, ticks=(0, 512, 12_800, 25_600))
    asked: dict[str, set[float]] = {"first": set(), "later": set()}
    turn, mixed = "first", FilmSettings.at

    def again(self: FilmPainter, *words: Any) -> Any:
        nonlocal turn
        turn = "later"
        return painted_again(self, *words)

    def at(self: FilmSettings, time: float, styles: int) -> FilmSettings:
        asked[turn].add(time)
        return mixed(self, time, styles)

    painted_again = FilmPainter.again
    monkeypatch.setattr(FilmPainter, "again", again)
    monkeypatch.setattr(FilmSettings, "at", at)
    words = ("--style-times", "0,2", "--passes", "2", "-o", "out")
    shown = impasto("film", "clip.mp4", "starry.jpg", "other.jpg", *QUICK, *words)
    assert shown.code == 0, shown.err
    assert asked["later"] == asked["first"] == {0, 0.04, 1, 2}


def test_what_is_transparent_stays_out_of_every_pass(
    painted: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = [np.dstack([chart(shift=n), np.full((32, 48), 255, np.uint8)]) for n in range(3)]
    for one in clear:
        one[:, :16, 3] = 0
    images = [Image.fromarray(one) for one in clear]
    images[0].save(studio / "clear.png", save_all=True, append_images=images[1:], duration=100)
    seen: list[Picture] = []
    work = FilmPainter._work

    def watched(self: FilmPainter, frame: Frame, *words: Any) -> Any:
        seen.append(frame.picture)
        return work(self, frame, *words)

    monkeypatch.setattr(FilmPainter, "_work", watched)
    assert painted("-o", "out", "--passes", "2", content="clear.png").code == 0
    assert len(seen) > 6
    assert all(one.alpha is not None and float(one.alpha[..., :15].max()) == 0 for one in seen)


def test_a_loop_is_closed_where_its_ends_are_alike(painted: Command, studio: Path) -> None:
    (studio / "shots").mkdir()
    warm, cold = (texture(seed, 48, 64) * torch.tensor(tint).view(1, 3, 1, 1) for seed, tint in ((0, WARM), (1, COLD)))
    for number, shown in enumerate((warm, warm, cold, cold), 1):
        write_picture(Picture(shown), studio / "shots" / f"f_{number:03}.png")
    words = ("--passes", "2", "--loop")
    shown = painted("-o", "open", *words, content="shots")
    assert read_record(Path("open")).facts["shots"] == [0, 2]
    assert "loop: the last frame shows something else than the first, and is not joined" in shown.err
    (studio / "shots" / "f_004.png").write_bytes((studio / "shots" / "f_001.png").read_bytes())
    shown = painted("-o", "closed", *words, content="shots")
    assert shown.code == 0, shown.err
    assert "loop" not in shown.err

"""Films as they are made: what goes in comes out, nothing is lost, and what is wrong is said in one sentence."""

from __future__ import annotations

import errno
import gc
import itertools
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

import impasto as package
from impasto.console import LineConsole
from impasto.errors import Interrupted, UsageError
from impasto.methods.film import FilmPainter
from impasto.motion import write_flo
from impasto.pictures.files import to_array
from impasto.pictures.film import open_film
from impasto.records import read_record
from reels import SOUND_RATE, film, sine, sound_of
from studio import FAST, Command, Shown, paint

QUICK = (*FAST, "--frame-steps", "2")
SETTINGS = {"encoder": "tiny.safetensors", "size": 48, "coarsest": 48, "steps": 2, "frame_steps": 1}


def frames(path: str | Path) -> list[np.ndarray]:
    return [to_array(frame.picture) for frame in open_film(path).frames()]


def times(path: str | Path) -> list[Fraction]:
    return [frame.time for frame in open_film(path).frames()]


def same(one: str | Path, other: str | Path) -> bool:
    """Folders to the last bit. Of the same frames x264 has been seen to make another file, once in some hundreds."""
    ours, theirs = frames(one), frames(other)
    if len(ours) != len(theirs):
        return False
    if Path(one).suffix != ".mp4":
        return all(map(np.array_equal, ours, theirs))
    return all(float(np.abs(a.astype(int) - b).mean()) < 1 for a, b in zip(ours, theirs, strict=True))


def numbered(folder: Path, count: int, width: int = 64, height: int = 48) -> Path:
    """A folder of numbered frames."""
    folder.mkdir()
    for number in range(1, count + 1):
        paint(folder / f"f_{number:03}.png", width, height, seed=number)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def painted(studio: Path, impasto: Command) -> Command:
    """`impasto film clip.mp4 starry.jpg`, made fast, with further words; clip.mp4 has 5 frames unless it is there."""

    def run(*words: object, content: object = "clip.mp4", style: object = "starry.jpg") -> Shown:
        if not Path("clip.mp4").exists():
            film(studio / "clip.mp4", 5)
        fast = [w for pair in zip(QUICK[::2], QUICK[1::2], strict=True) if pair[0] not in words for w in pair]
        return impasto("film", content, style, *fast, *words)

    return run


def signal_at(monkeypatch: pytest.MonkeyPatch, wanted: int, number: int = signal.SIGINT) -> None:
    """Send ourselves a signal when so many frames are done."""
    show = LineConsole.progress

    def watched(self: LineConsole, what: str, done: int, total: int, seconds: float) -> None:
        show(self, what, done, total, seconds)
        if what == "frames" and done == wanted:
            monkeypatch.setattr(LineConsole, "progress", show)
            signal.raise_signal(number)

    monkeypatch.setattr(LineConsole, "progress", watched)


def full_disk(monkeypatch: pytest.MonkeyPatch, *endings: str) -> None:
    """No file whose final name ends so can be written."""
    replace = Path.replace

    def refuse(temporary: Path, final: Path) -> Path:
        if str(final).endswith(endings):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(temporary, final)

    monkeypatch.setattr(Path, "replace", refuse)


# What goes in comes out


def test_a_film_keeps_its_frames_times_and_sound(painted: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 8, sound=0.32)
    shown = painted("-o", "out.mp4")
    assert (shown.code, shown.out) == (0, "out.mp4\n"), shown.err
    assert times("out.mp4") == times("clip.mp4")
    before, after = sound_of(Path("clip.mp4")), sound_of(Path("out.mp4"))
    shared = min(len(before), len(after))
    assert abs(len(before) - len(after)) < 0.05 * SOUND_RATE
    assert np.corrcoef(before[:shared], after[:shared])[0, 1] > 0.99
    assert names(studio) == ["clip.mp4", "harbour.jpg", "out.mp4", "starry.jpg", "tiny.safetensors"]


def test_the_painting_is_none_of_the_film(painted: Command) -> None:
    painted("-o", "out.mp4", "--style-strength", "20")
    small = [frame.picture for frame in open_film("clip.mp4").frames()]
    for before, after in zip(small, frames("out.mp4"), strict=True):
        assert after.shape == (32, 48, 3)
        assert np.abs(to_array(before).astype(int) - after).mean() > 2


def test_between_keeps_sound_in_step(painted: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 20, sound=0.8)
    assert painted("-o", "out.mp4", "--between", "0.4,0.72").code == 0
    assert times("out.mp4") == [Fraction(number, 25) for number in range(8)]
    before, after = (sound_of(Path(name)) for name in ("clip.mp4", "out.mp4"))

    def loudness(sound: np.ndarray, second: float) -> float:
        first = int(second * SOUND_RATE)
        return float(np.sqrt(np.square(sound[first : first + SOUND_RATE // 20]).mean()))

    for second in (0.05, 0.15, 0.25):
        assert loudness(after, second) == pytest.approx(loudness(before, 0.4 + second), rel=0.08)


def test_between_paints_only_what_is_there(painted: Command) -> None:
    painted("-o", "out.mp4", "--between", "0.04,0.12")
    assert len(frames("out.mp4")) == 2
    assert read_record(Path("out.mp4")).facts["frames"] == 2
    shown = painted("-o", "none.mp4", "--between", "5,6")
    assert (shown.code, shown.last_line) == (
        2,
        "between: there are no frames at these times: the film is shorter",
    )
    assert not [*Path().glob("none*")]


def test_a_variable_frame_rate_is_kept(painted: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 5, ticks=(0, 512, 2048, 2560, 5120))
    assert painted("-o", "out.mp4").code == 0
    assert times("out.mp4") == times("clip.mp4") == [Fraction(tick, 12_800) for tick in (0, 512, 2048, 2560, 5120)]


def test_numbered_frames_become_numbered_frames(painted: Command, studio: Path) -> None:
    numbered(studio / "shots", 3)
    shown = painted(content="shots")
    assert (shown.code, shown.out) == (0, "shots-starry\n"), shown.err
    assert names(studio / "shots-starry") == ["frame_00001.png", "frame_00002.png", "frame_00003.png", "record.json"]
    assert read_record(Path("shots-starry")).method == "film"


def test_numbered_frames_have_the_rate_that_is_given(painted: Command, studio: Path) -> None:
    numbered(studio / "shots", 3)
    assert painted("-o", "out.mp4", "--rate", "10", content="shots").code == 0
    assert times("out.mp4") == [0, Fraction(1, 10), Fraction(2, 10)]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".webm", ".mov", ".mkv"])
def test_films_are_written_as_their_suffix_says(painted: Command, suffix: str) -> None:
    shown = painted("-o", f"out{suffix}", "--quality", "draft")
    assert shown.code == 0, shown.err
    assert len(frames(f"out{suffix}")) == 5
    assert read_record(Path(f"out{suffix}")).facts["frames"] == 5


def test_odd_sides_are_padded_and_nothing_is_stretched(painted: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 2, width=51, height=37, pixels="yuv444p")
    assert painted("-o", "out.mp4", "--size", "full").code == 0
    assert (open_film("out.mp4").width, open_film("out.mp4").height) == (52, 38)
    assert painted("-o", "folder", "--size", "full").code == 0
    assert (open_film("folder").width, open_film("folder").height) == (51, 37)


def test_ten_bits_stay(painted: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 2, width=96, height=64, pixels="yuv420p10le")
    assert painted("-o", "out.mp4", "--size", "96", "--codec", "h265", "--quality", "draft").code == 0
    assert (open_film("clip.mp4").bits, open_film("out.mp4").bits) == (10, 10)


def test_one_frame_is_a_film(painted: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 1)
    assert painted().code == 0
    assert len(frames("clip-starry.mp4")) == 1


def test_a_film_in_several_parts_is_the_same(painted: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    painted("-o", "whole")
    for module in ("reels", "workshop"):
        monkeypatch.setattr(f"impasto.films.{module}.FRAMES_OF_A_PART", 2)
    monkeypatch.setattr("impasto.films.workshop.Reel.pack.__defaults__", (2,))
    monkeypatch.setattr("impasto.films.reels.Reels.pack.__defaults__", (2,))
    painted("-o", "parts")
    painted("-o", "parts.mp4")
    assert same("whole", "parts")
    assert times("parts.mp4") == times("clip.mp4")


def test_masks_may_move_along(painted: Command, studio: Path) -> None:
    (studio / "masks").mkdir()
    for number in range(5):
        mask = np.zeros((32, 48), np.uint8)
        mask[:, : 8 * (number + 1)] = 255
        from PIL import Image

        Image.fromarray(mask).save(studio / "masks" / f"m_{number}.png")
    shown = painted("-o", "out", "--masks", "masks", "--style-strength", "50", "--steps", "6", "--frame-steps", "6")
    assert shown.code == 0, shown.err
    for number, (before, after) in enumerate(zip(frames("clip.mp4"), frames("out"), strict=True)):
        kept = np.abs(before[:, 8 * (number + 1) + 2 :].astype(int) - after[:, 8 * (number + 1) + 2 :])
        assert (
            not kept.size
            or kept.mean() < np.abs(before[:, : 8 * number + 6].astype(int) - after[:, : 8 * number + 6]).mean()
        )


# Names


def test_what_exists_is_kept_unless_forced(painted: Command) -> None:
    assert [painted().out, painted().out] == ["clip-starry.mp4\n", "clip-starry-2.mp4\n"]
    assert painted("--force").out == "clip-starry.mp4\n"


def test_an_input_is_never_written(painted: Command, studio: Path) -> None:
    film(studio / "clip.mp4", 5)
    before = (studio / "clip.mp4").read_bytes()
    for words in (("-o", "clip.mp4"), ("-o", "clip.mp4", "--force")):
        shown = painted(*words)
        assert (shown.code, len(shown.err.splitlines()[-1:])) == (2, 1)
    assert (studio / "clip.mp4").read_bytes() == before


def test_unfinished_work_is_not_painted_over(painted: Command, studio: Path) -> None:
    (studio / "out.unfinished").mkdir()
    shown = painted("-o", "out.mp4", "--force")
    assert shown.code == 2
    assert shown.last_line == (
        "out.unfinished: holds unfinished work of this name: go on with impasto resume, or remove it"
    )
    assert painted("-o", "out.mp4").out == "out-2.mp4\n"
    assert (studio / "out.unfinished").exists()


@pytest.mark.parametrize(("beside", "width"), [("source", 98), ("frames", 148)])
def test_a_second_film_shows_both(painted: Command, beside: str, width: int) -> None:
    shown = painted("--beside", beside)
    assert shown.out.split() == ["clip-starry.mp4", "clip-starry.side-by-side.mp4"]
    second = open_film("clip-starry.side-by-side.mp4")
    assert (second.width, second.height) == (width, 32)
    assert len([*second.frames()]) == 5


# What is wrong


def _empty(folder: Path) -> Path:
    (folder / "bad.mp4").write_bytes(b"")
    return folder / "bad.mp4"


def _text(folder: Path) -> Path:
    (folder / "bad.mp4").write_text("no film at all\n" * 100)
    return folder / "bad.mp4"


def _sound(folder: Path) -> Path:
    with av.open(str(folder / "bad.mp4"), "w") as container:
        voice: Any = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        container.mux([*voice.encode(sine(0.5)), *voice.encode(None)])
    return folder / "bad.mp4"


def _gap(folder: Path) -> Path:
    numbered(folder / "bad", 4)
    (folder / "bad" / "f_002.png").unlink()
    return folder / "bad"


def _sizes(folder: Path) -> Path:
    numbered(folder / "bad", 3)
    paint(folder / "bad" / "f_002.png", 40, 40)
    return folder / "bad"


def _picture(folder: Path) -> Path:
    return paint(folder / "bad.jpg", 40, 40)


def _nothing(folder: Path) -> Path:
    return folder / "clup.mp4"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_empty, "bad.mp4: the file is empty"),
        (_text, "bad.mp4: "),
        (_sound, "bad.mp4: "),
        (_gap, "bad: frame 2 is missing between f_001.png and f_003.png"),
        (_sizes, "f_002.png: is 40×40, and the first frame 64×48"),
        (_picture, "bad.jpg: is a picture, not a film"),
        (_nothing, "clup.mp4: no such file"),
    ],
)
def test_what_is_no_film_is_one_sentence(
    painted: Command, studio: Path, make: Callable[[Path], Path], sentence: str
) -> None:
    bad = make(studio)
    film(studio / "clip.mp4", 5)
    before = names(studio)
    shown = painted(content=bad.name, style="starry.jpg")
    assert (shown.code, len(shown.err.splitlines()), shown.out) == (1, 1, ""), shown.err
    assert sentence in shown.err
    assert names(studio) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--codec", "h246"), "h264"),
        (("--quality", "hihg"), "high"),
        (("-o", "out.mp5"), "out.mp5: cannot write .mp5 (did you mean .mp4?)"),
        (("-o", "out.webm", "--codec", "h264"), ".webm does not hold h264"),
        (("-o", "out.gif", "--codec", "h264"), "has no choice of codecs"),
        (("-o", "nowhere/out.mp4"), "the folder nowhere does not exist; create it first"),
        (("-o", "harbour.jpg/out.mp4"), "harbour.jpg"),
        (("--style-times", "0,4"), "2 times for 1 style"),
        (("--cuts", "cuts.txt"), "cuts.txt: no such file"),
        (("--flow", "flow_{}_{}.flo"), "flow_1_0.flo: no such file"),
        (("--masks", "masks.mp4"), "masks.mp4: has 3 frames and clip.mp4 has 5: give a mask for each"),
        (("--frame-start", "wraped"), "did you mean warped?"),
    ],
)
def test_what_cannot_be_is_said_before_the_work_begins(
    painted: Command, studio: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setattr(FilmPainter, "steps", lambda *_: pytest.fail("began"))
    film(studio / "clip.mp4", 5)
    film(studio / "masks.mp4", 3)
    before = names(studio)
    shown = painted(*words)
    assert shown.code in (1, 2)
    assert sentence in shown.last_line
    assert "Traceback" not in shown.err
    assert "defect" not in shown.err
    assert (names(studio), shown.out) == (before, "")


def test_a_film_that_breaks_off_is_painted_so_far(painted: Command, studio: Path) -> None:
    whole = film(studio / "clip.mkv", 60, preset="ultrafast")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 7 // 10])
    shown = painted("-o", "out.mp4", "--steps", "1", "--frame-steps", "1", content="clip.mkv")
    count = len(frames("out.mp4"))
    assert (shown.code, shown.out) == (1, "out.mp4\n")
    assert 1 < count < 60
    assert f"clip.mkv: breaks off after {count} frames" in shown.last_line
    assert shown.last_line.endswith("; out.mp4 ends there")
    assert read_record(Path("out.mp4")).facts["frames"] == count
    assert not (studio / "out.unfinished").exists()


def test_flows_of_another_size_are_one_sentence_and_work_goes_on_with_others(
    painted: Command, impasto: Command
) -> None:
    pairs = [pair for n in range(4) for pair in ((n, n + 1), (n + 1, n))]
    for pair in pairs:
        write_flo("{}_{}.flo".format(*pair), torch.zeros(1, 2, 32, 48))
    painted("-o", "whole", "--flow", "{}_{}.flo")
    write_flo("3_2.flo", torch.zeros(1, 2, 10, 10))
    shown = painted("-o", "out", "--flow", "{}_{}.flo")
    assert shown.code == 1
    assert shown.last_line == "3_2.flo: is 10x10, and the frames are 48x32: make flows of the frames at their size"
    write_flo("3_2.flo", torch.zeros(1, 2, 32, 48))
    assert impasto("resume", "out.unfinished").code == 0
    assert same("whole", "out")


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
    assert impasto("resume", "out.unfinished").code == 0
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


# How steady it is


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


# From Python


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


def test_memory_does_not_grow_with_the_film(studio: Path) -> None:

    def alive() -> int:
        gc.collect()
        return sum(each.numel() for each in gc.get_objects() if type(each) is torch.Tensor)

    painted = package.paint_frames(camera(60), "starry.jpg", device="cpu", **{**SETTINGS, "steps": 1})
    early, late = (alive() for one in painted if one.number in (10, 59))
    assert late <= 1.05 * early

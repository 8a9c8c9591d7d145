"""Films as they are made: what goes in comes out under its own name, and what is wrong is said in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from cinema import QUICK, frames, names, numbered, same, times
from impasto.methods.film import FilmPainter
from impasto.motion import write_flo
from impasto.pictures.files import to_array
from impasto.pictures.film import open_film
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize
from impasto.records import read_record
from reels import SOUND_RATE, chart, film, sine, sound_of
from studio import Command, paint

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
        "--between: there are no frames at these times: the film is shorter",
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


@pytest.mark.parametrize("output", ["out.mp4", "out.gif"])
def test_the_last_frame_is_shown_as_long_as_it_was(painted: Command, studio: Path, output: str) -> None:
    images = [Image.fromarray(chart(shift=number)) for number in range(3)]
    images[0].save(studio / "clip.gif", save_all=True, append_images=images[1:], duration=[100, 100, 2000])
    assert painted("-o", output, content="clip.gif").code == 0
    assert open_film(output).seconds == pytest.approx(2.2, abs=0.02)
    assert painted("-o", "cut.gif", "--between", "0,1", content="clip.gif").code == 0
    assert open_film("cut.gif").seconds == pytest.approx(1)


def test_a_rate_as_people_write_it_is_a_rate(painted: Command, studio: Path) -> None:
    numbered(studio / "shots", 3)
    shown = painted("-o", "out.mp4", "--rate", "29.97002997", content="shots")
    assert shown.code == 0, shown.err
    assert times("out.mp4") == [number * Fraction(1001, 30_000) for number in range(3)]


@pytest.mark.parametrize(("suffix", "loops"), [(".gif", True), (".webp", True), (".png", True)])
def test_animations_of_films_play_on(painted: Command, suffix: str, loops: bool) -> None:
    painted("-o", f"out{suffix}")
    assert open_film(f"out{suffix}").loops is loops


def test_what_a_video_cannot_hold_is_said_once(painted: Command, studio: Path) -> None:
    film(studio / "deep.mp4", 2, width=96, height=64, pixels="yuv420p10le")
    shown = painted("-o", "out.mp4", content="deep.mp4")
    assert "out.mp4: has 8 bits per channel, and deep.mp4 has 10: --codec h265" in shown.err
    clear = [Image.fromarray(np.dstack([chart(shift=n), np.full((32, 48), 200, np.uint8)])) for n in range(3)]
    clear[0].save(studio / "clear.png", save_all=True, append_images=clear[1:], duration=100)
    shown = painted("-o", "b.mp4", content="clear.png")
    assert shown.code == 0, shown.err
    assert shown.err.count("b.mp4: transparency is laid on white") == 1


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
        Image.fromarray(mask).save(studio / "masks" / f"m_{number}.png")
    shown = painted("-o", "out", "--masks", "masks", "--style-strength", "50", "--steps", "6", "--frame-steps", "6")
    assert shown.code == 0, shown.err
    for number, (before, after) in enumerate(zip(frames("clip.mp4"), frames("out"), strict=True)):
        kept = np.abs(before[:, 8 * (number + 1) + 2 :].astype(int) - after[:, 8 * (number + 1) + 2 :])
        assert (
            not kept.size
            or kept.mean() < np.abs(before[:, : 8 * number + 6].astype(int) - after[:, : 8 * number + 6]).mean()
        )


def test_masks_move_along_in_every_pass(painted: Command, studio: Path) -> None:
    (studio / "masks").mkdir()
    for number in range(5):  # none, left, all, left, none
        mask = np.zeros((32, 48), np.uint8)
        mask[:, : (0, 24, 48, 24, 0)[number]] = 255
        Image.fromarray(mask).save(studio / "masks" / f"m_{number}.png")
    words = ("--masks", "masks", "--style-strength", "50", "--steps", "6", "--frame-steps", "6")
    shown = painted("-o", "out", *words, "--passes", "3")
    assert shown.code == 0, shown.err
    filmed = [to_array(Picture(resize(frame.picture.pixels, 32, 48))) for frame in open_film("clip.mp4").frames()]
    changes = [np.abs(one.astype(int) - other) for one, other in zip(filmed, frames("out"), strict=True)]
    left, right = ([float(one[:, part].mean()) for one in changes] for part in (slice(20), slice(30, None)))
    assert [round(value, 1) for value in (left[0], left[4], right[0], right[4])] == [0] * 4
    assert min(left[1:4]) > 4 < right[2]
    assert max(right[1], right[3]) < 0.3 * right[2]


# Names


def test_what_exists_is_kept_unless_forced(painted: Command) -> None:
    assert [painted().out, painted().out] == ["clip-starry.mp4\n", "clip-starry-2.mp4\n"]
    assert painted("--force").out == "clip-starry.mp4\n"


def test_a_shorter_film_takes_the_place_of_a_longer_one_if_forced(painted: Command, studio: Path) -> None:
    painted("-o", "out")
    (studio / "out" / "mine.png").write_bytes(b"mine")
    assert painted("-o", "out", "--force", "--between", "0,0.1").code == 0
    assert names(studio / "out") == ["frame_00001.png", "frame_00002.png", "frame_00003.png", "mine.png", "record.json"]


def test_numbered_frames_without_a_name_are_numbered_anew(painted: Command, studio: Path) -> None:
    (studio / "q").mkdir()
    for folder, first in (("q", "00001.png"), ("q", "frames-2_00001.png"), ("new", "00001.png")):
        shown = painted("-o", f"{folder}/%05d.png", "--between", "0,0.1")
        assert shown.code == 0, shown.err
        assert (studio / folder / first).exists()


def test_a_preview_of_somebody_else_is_left_alone(painted: Command, studio: Path) -> None:
    (studio / "out.preview.jpg").write_text("mine")
    assert painted("-o", "out.mp4").code == 0
    assert (studio / "out.preview.jpg").read_text() == "mine"


def test_a_folder_may_be_called_as_one_stands_in_it(
    painted: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered(studio / "shots", 3)
    monkeypatch.chdir("shots")
    words = ("--encoder", str(studio / "tiny.safetensors"), *QUICK[2:])
    shown = impasto("film", ".", "../starry.jpg", *words)
    assert shown.code == 0, shown.err
    assert (studio / "shots-starry" / "frame_00003.png").exists()
    assert "is an input" in impasto("film", ".", "../starry.jpg", *words, "-o", ".").last_line
    (studio / "elsewhere").mkdir()
    monkeypatch.chdir("../elsewhere")
    assert impasto("film", "../shots", "../starry.jpg", *words, "-o", ".").code == 0
    assert (studio / "elsewhere" / "frame_00003.png").exists()


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

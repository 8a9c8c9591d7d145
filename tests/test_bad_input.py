"""Whatever is wrong is said in one sentence, with the file or the value and what to do, before the work begins."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from impasto.synthesis import Synthesis
from studio import Command, Shown, paint


@pytest.fixture
def works() -> None:
    """For tests in which the work may begin."""


@pytest.fixture(autouse=True)
def _no_work_begins(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "works" in request.fixturenames:
        return

    def fail(self: Synthesis, *_: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(Synthesis, "_improve", fail)


def sentence(shown: Shown) -> str:
    """All that a failing command said: one line on stderr, nothing on stdout."""
    assert shown.code in (1, 2)
    assert shown.out == ""
    assert "defect" not in shown.err
    assert "errors.pydantic" not in shown.err
    assert shown.err.count("\n") == 1
    return shown.err.rstrip("\n")


# Files


@pytest.mark.parametrize("role", ["content", "style"])
def test_missing_picture(transfer: Command, studio: Path, role: str) -> None:
    near = {"content": "harbor.jpg", "style": "stary.jpg"}[role]
    real = {"content": "harbour.jpg", "style": "starry.jpg"}[role]
    shown = transfer(**{role: near})
    assert (shown.code, sentence(shown)) == (1, f"{near}: no such file (did you mean {real}?)")


def test_missing_folder_of_a_picture_is_not_taken_for_the_result_s(transfer: Command) -> None:
    assert "no such file" in sentence(transfer(content="nowhere/a.jpg"))


def test_missing_start(transfer: Command) -> None:
    assert sentence(transfer("--start", "nose")) == (
        "--start: 'nose' is neither one of content, noise, style, gray nor a picture's file (did you mean noise?)"
    )
    assert "nose.png: no such file" in sentence(transfer("--start", "nose.png"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unreadable here")
def test_unreadable_picture(transfer: Command, studio: Path) -> None:
    (studio / "harbour.jpg").chmod(0)
    assert sentence(transfer()).startswith("harbour.jpg: may not be read")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def replace_by_text(path: Path) -> None:
    path.write_text("Once upon a time there was a picture.")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("role", ["harbour.jpg", "starry.jpg"])
@pytest.mark.parametrize("spoil", [truncate, replace_by_text, empty, replace_by_folder])
def test_spoilt_picture(transfer: Command, studio: Path, spoil: Callable[[Path], None], role: str) -> None:
    spoil(studio / role)
    shown = transfer()
    assert shown.code == 1
    assert sentence(shown).startswith(f"{role}: ")


@pytest.mark.usefixtures("works")
@pytest.mark.parametrize("role", ["content", "style"])
def test_a_single_pixel_is_a_picture(transfer: Command, studio: Path, role: str) -> None:
    Image.new("RGB", (1, 1), "red").save(studio / "dot.png")
    shown = transfer(**{role: "dot.png"})
    assert shown.code == 0
    with Image.open(shown.out.strip()) as picture:
        assert picture.size == ((48, 48) if role == "content" else (48, 36))


@pytest.mark.parametrize("role", ["content", "style"])
def test_a_thread_of_pixels_is_too_narrow(transfer: Command, studio: Path, role: str) -> None:
    Image.new("RGB", (20_000, 1), "red").save(studio / "thread.png")
    shown = transfer(**{role: "thread.png"})
    assert shown.code == 2
    assert sentence(shown).startswith("thread.png: ")


def test_more_pixels_than_allowed(transfer: Command) -> None:
    said = sentence(transfer("--max-pixels", "1000"))
    assert said.startswith("harbour.jpg: 64×48 is more than the limit of 1000 pixels")
    assert "--max-pixels 3072" in said


def test_missing_encoder_file(transfer: Command) -> None:
    assert sentence(transfer("--encoder", "tinny.safetensors")).startswith(
        "tinny.safetensors: no such file (did you mean tiny.safetensors?)"
    )


# Places for results


@pytest.mark.parametrize("option", ["-o", "--plot", "--record"])
@pytest.mark.parametrize("place", ["nowhere/a.png", "harbour.jpg/a.png", "."])
def test_impossible_place(transfer: Command, option: str, place: str) -> None:
    shown = transfer(option, place)
    assert shown.code in (1, 2)
    assert "folder" in sentence(shown)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is writable here")
def test_write_protected_folder(transfer: Command, studio: Path) -> None:
    (studio / "locked").mkdir(mode=0o500)
    assert "not writable" in sentence(transfer("-o", "locked/a.png"))


@pytest.mark.parametrize(("name", "near"), [("a.xyz", ""), ("a.pgn", "(did you mean .png?)"), ("a", "has no suffix")])
def test_unknown_format(transfer: Command, name: str, near: str) -> None:
    shown = transfer("-o", name)
    said = sentence(shown)
    assert shown.code == 2
    assert said.startswith(f"{name}: ")
    assert near in said
    assert ".png, " in said


def test_unknown_format_of_a_plot(transfer: Command) -> None:
    assert sentence(transfer("--plot", "losses.txt")) == "losses.txt: plots are written as .png, .svg or .pdf"


def test_name_too_long(transfer: Command) -> None:
    assert "too long" in sentence(transfer("-o", f"{'a' * 300}.png"))


# Options


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sizee", "64"], "--sizee: no such option (did you mean --size?)"),
        (["--qualty=3"], "--qualty: no such option (did you mean --quality?)"),
        (["--size"], "--size: needs a value"),
        (["--size", "48", "--size", "64"], "--size: is given twice"),
        (["--preset", "bolt"], "--preset: no such choice as 'bolt' (did you mean bold?); choose from sketch"),
        (["--style-loss", "gramm"], "--style-loss: no such choice as 'gramm' (did you mean gram?)"),
        (["--encoder", "vgg91"], "vgg91: no such encoder (did you mean vgg19?)"),
        (["--style-layers", "relu6_1"], "relu6_1: no such layer; tiny has relu1_1 … relu5_1"),
        (["--content-layers", "relu41"], "relu41: no such layer; tiny has relu1_1 … relu5_1 (did you mean relu4_1?)"),
        (["--style-layers", "relu1_1:x"], "--style-layers: 'relu1_1:x' is not allowed"),
        (["--style-strength", "-1"], "--style-strength: '-1' is not allowed, it should be at least 0"),
        (["--style-strength", "nan"], "--style-strength: 'nan' is not allowed, it should be a finite number"),
        (["--content-strength", "inf"], "--content-strength: 'inf' is not allowed"),
        (["--style-scale", "0"], "--style-scale: '0' is not allowed"),
        (["--steps", "0"], "--steps: '0' is not allowed"),
        (["--steps", "many"], "--steps: 'many' is not allowed"),
        (["--seed", "-3"], "--seed: '-3' is not allowed"),
        (["--size", "8"], "--size: '8' is not allowed"),
        (["--size", "20"], "harbour.jpg: size 20 makes it 20×15, and the layers need 32 pixels on the shorter side"),
        (["--device", "cuda:7"], "cuda:7: no such device here"),
        (["--device", "gpu"], "gpu: no such device here"),
        (["--precision", "float16"], 'Invalid value "float16" for --precision'),
        (["--threads", "0"], "threads 0: must be a whole number of 1 to 256"),
        (["--threads", "1000000"], "threads 1000000: must be a whole number of 1 to 256"),
        (["--threads", "two"], "--threads: 'two' is not allowed, it should be a whole number"),
        (["--max-pixels", "0"], "max_pixels 0: must be a whole number of at least 1"),
        (["--quality", "0"], "quality 0: must lie in 1..100"),
        (["--quality", "101"], "quality 101: must lie in 1..100"),
        (["--bits", "12"], 'Invalid value "12" for --bits'),
        (["--bits", "16", "-o", "a.jpg"], "a.jpg: holds 8 bits per channel; for 16 write .png, .tif or .tiff"),
        (["--bits", "16", "-o", "a.webp"], "a.webp: holds 8 bits per channel"),
    ],
)
def test_wrong_option(transfer: Command, words: list[str], expected: str) -> None:
    shown = transfer(*words)
    assert sentence(shown).startswith(expected)
    assert shown.code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["trasfer", "a", "b"],
            "trasfer: no such command (did you mean transfer?); there are transfer, blend, semantic, doodle, film, ",
        ),
        (["--debg"], "--debg: options come after the command, as in impasto transfer photo.jpg"),
        (["resume"], "resume takes one checkpoint, none was given"),
        (["rerun"], "rerun takes one picture, none was given"),
        (["resume", "a", "b"], "b: too many for resume"),
        (["resume", "a", "--device", "cpu"], "--device: no such option"),
        (["info", "--jsn"], "--jsn: no such option (did you mean --json?)"),
    ],
)
def test_wrong_command(impasto: Command, words: list[str], expected: str) -> None:
    shown = impasto(*words)
    assert sentence(shown).startswith(expected)
    assert shown.code == 2


@pytest.mark.parametrize(("count", "given"), [(0, "none was"), (1, "1 was")])
def test_number_of_pictures(studio: Path, impasto: Command, count: int, given: str) -> None:
    shown = impasto("transfer", *["harbour.jpg"] * count, "--steps", "1")
    assert sentence(shown) == f"transfer takes one content and one or more style pictures, {given} given"
    assert shown.code == 2


# Memory


def test_too_little_memory_is_said_before_the_work(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.machine.free_memory", lambda _: 12_000_000)
    shown = transfer("--size", "512")
    assert shown.code == 1
    said = re.fullmatch(
        r"size 512 needs at least (\d+) MB, 11 MB are free: use --size (\d+) or close other programs", sentence(shown)
    )
    assert said
    assert int(said[1]) > 11
    assert 16 <= int(said[2]) < 512


@pytest.mark.usefixtures("works")
def test_memory_that_runs_out_in_the_estimate_is_explained(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("impasto.synthesis.objective.Objective.add_gradient", fail)
    monkeypatch.setattr("impasto.synthesis.Synthesis.__iter__", lambda _: pytest.fail("the work has begun"))
    shown = transfer()
    assert shown.code == 1
    assert "ran out of memory" in shown.last_line


@pytest.mark.usefixtures("works")
def test_odd_names_are_no_obstacle(transfer: Command, studio: Path) -> None:
    for name in ("with space.jpg", "ünï 北斎.jpg", "-dash.jpg", "%s {x} [y].jpg"):
        paint(studio / name, 64, 48)
        shown = transfer(content=f"./{name}")
        assert (shown.code, Path(shown.out.strip()).is_file()) == (0, True)


@pytest.mark.usefixtures("works")
@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_no_obstacle(transfer: Command, studio: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.jpg")
    try:
        paint(studio / "a.jpg", 64, 48).rename(odd)
    except OSError:
        pytest.skip("this disk takes only text")
    shown = transfer("-o", "out.png", "--quiet", content=odd)  # pytest's stderr takes only text
    assert (shown.code, shown.out) == (0, "out.png\n")


def test_input_name_too_long(transfer: Command) -> None:
    assert "too long" in sentence(transfer(content=f"{'a' * 300}.png")).lower()

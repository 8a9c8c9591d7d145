"""Work that is interrupted or killed is saved, says how to go on, and ends in the same picture."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from impasto import jobs
from impasto.console import LineConsole
from impasto.synthesis import Step, objective
from mishaps import CHECKPOINT, STEPS, interrupted, signals_at
from studio import FAST, Command, paint, pixels


def steps_of_each_scale(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of the first step of each scale from now on."""
    first: list[int] = []
    show = LineConsole.step

    def watched(self: LineConsole, step: Step) -> None:
        if self._last is None or self._last.scale != step.scale:
            first.append(step.step)
        show(self, step)

    monkeypatch.setattr(LineConsole, "step", watched)
    return first


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_resumes_to_the_same_picture(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    transfer("-o", "whole.png", "--steps", STEPS)
    signals_at(monkeypatch, 5, number)
    shown = transfer("-o", "out.png", "--steps", STEPS)
    assert (shown.code, shown.out) == (130, "")
    assert shown.last_line.startswith("stopped after ")
    assert shown.last_line.endswith(f"and saved; go on with: impasto resume {CHECKPOINT}")
    assert not (studio / "out.png").exists()
    shown = impasto("resume", CHECKPOINT)
    assert (shown.code, shown.out) == (0, f"{studio / 'out.png'}\n")
    assert np.array_equal(pixels("whole.png"), pixels("out.png"))
    assert not (studio / CHECKPOINT).exists()


def test_a_run_interrupted_between_scales_resumes_to_the_same_picture(
    transfer: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--size", "64", "--coarsest", "32", "--steps", "4", "--scale-ratio", "1.4")
    transfer("-o", "whole.png", *words)
    signals_at(monkeypatch, 8, signal.SIGINT)  # the last step of the first scale
    assert transfer("-o", "out.png", *words).code == 130
    assert impasto("resume", CHECKPOINT).code == 0
    assert np.array_equal(pixels("whole.png"), pixels("out.png"))


def test_a_grid_that_was_stopped_goes_on_by_the_same_command(
    impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(studio / "barn.jpg", 48, 64, seed=2)
    words = ("grid", "harbour.jpg", "barn.jpg", "--styles", "starry.jpg", *FAST[:6], *FAST[8:], "--steps", STEPS)
    names = ["harbour-starry.png", "barn-starry.png"]
    impasto(*words)
    whole = [pixels(name) for name in names]
    for path in (*names, "grid.jpg"):
        Path(path).unlink()
    impasto(*words, "--seed", "8")  # other work, which takes the names
    signals_at(monkeypatch, 5, signal.SIGINT)
    shown = impasto(*words)
    assert shown.code == 130
    assert shown.last_line.endswith(
        "harbour-starry-2.checkpoint.safetensors; the same command goes on with all that is left"
    )
    numbered = ["harbour-starry-2.png", "barn-starry-2.png"]
    first_steps = steps_of_each_scale(monkeypatch)
    assert impasto(*words, "--memory", "2GB").out.split() == [*numbered, "grid-2.jpg"]
    assert first_steps == [6, 1]
    assert all(np.array_equal(pixels(name), before) for name, before in zip(numbered, whole, strict=True))
    assert not [*studio.glob("*.checkpoint.safetensors")]


@pytest.mark.usefixtures("studio")
def test_a_forced_grid_does_not_promise_to_go_on(impasto: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    signals_at(monkeypatch, 1, signal.SIGINT)
    shown = impasto("grid", "harbour.jpg", "--styles", "starry.jpg", *FAST, "--force")
    assert shown.code == 130, shown.err
    assert "goes on with all" not in shown.err


def test_what_is_ahead_is_known_from_what_is_done(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run is not timed: at a large scale that would take minutes, and memory for all of it in one piece."""
    interrupted(transfer, monkeypatch)
    running, _ = jobs.resume(Path(CHECKPOINT))
    monkeypatch.setattr("impasto.synthesis.objective.Objective.__call__", lambda *_: pytest.fail("looked at"))
    done = running.synthesis.seconds
    assert running.estimate_seconds() == pytest.approx(done * (STEPS - 5) / 5)


def begun(**sizes: int) -> jobs.Running:
    settings: dict[str, object] = {**sizes}
    settings |= {"steps": 2, "encoder": "tiny.safetensors", "style_layers": "relu1_1", "content_layers": "relu1_1"}
    return jobs.Job.of("transfer", {"content": "harbour.jpg", "style": "starry.jpg"}, settings, device="cpu").begin()


def test_the_seconds_of_a_record_are_those_of_the_preparation_too(studio: Path) -> None:
    running = begun(size=32)
    assert 0 < running.preparation < 100
    running.preparation = 1000
    assert 1000 < running.run().record.seconds < 1100


def test_a_first_scale_in_tiles_is_timed_in_tiles(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.methods.reading.core_side", lambda *_: 16)
    seen: list[int] = []
    encode = objective.encode
    monkeypatch.setattr(objective, "encode", lambda e, p, *_, **__: seen.append(p.shape[-1]) or encode(e, p, *_, **__))
    running = begun(size=160, coarsest=160)
    assert running.estimate_seconds() > 0
    assert seen
    assert max(seen) < 160


def test_a_second_signal_stops_at_once(transfer: Command, studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signals_at(monkeypatch, 5, signal.SIGINT, signal.SIGINT)
    shown = transfer("-o", "out.png", "--steps", STEPS)
    assert (shown.code, shown.last_line) == (130, "stopped")
    assert not (studio / CHECKPOINT).exists()


def test_signals_mean_what_they_meant_afterwards(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    signals_at(monkeypatch, 1, signal.SIGTERM)
    transfer()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_way_on_is_quoted_for_the_shell(transfer: Command, studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (studio / "my folder").mkdir()
    signals_at(monkeypatch, 1, signal.SIGINT)
    said = transfer("-o", "my folder/it's.png").last_line.rpartition("go on with: ")[2]
    assert shlex.split(said) == ["impasto", "resume", "my folder/it's.checkpoint.safetensors"]


def test_ctrl_c_stops_the_real_command(studio: Path) -> None:
    words = [*FAST[:6], "--steps", "100000", "--tolerance", "0", "--average", "0", "-o", "out.png", "--json"]
    run = subprocess.Popen(
        [sys.executable, "-m", "impasto", "transfer", "harbour.jpg", "starry.jpg", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert any('"event": "step"' in line for line in iter(run.stdout.readline, ""))
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in err
    assert f"impasto resume {CHECKPOINT}" in out.splitlines()[-1]
    assert (studio / CHECKPOINT).stat().st_size > 0


def test_a_killed_run_leaves_the_old_result_whole_and_resumes(
    transfer: Command, impasto: Command, studio: Path
) -> None:
    transfer("-o", "whole.png", "--steps", STEPS)
    paint(studio / "out.png", 8, 8)
    old = (studio / "out.png").read_bytes()
    code = (
        "import os, signal, sys\n"
        "from impasto import session\n"
        "from impasto.cli import main\n"
        "from impasto.console import LineConsole\n"
        "session.SECONDS_BETWEEN_CHECKPOINTS = -1\n"
        "show = LineConsole.step\n"
        "def step(self, step):\n"
        "    show(self, step)\n"
        "    if step.step == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
        "LineConsole.step = step\n"
        "main(sys.argv[1:])\n"
    )
    words = ["transfer", "harbour.jpg", "starry.jpg", *FAST[:6], "--steps", str(STEPS), "-o", "out.png", "--force"]
    killed = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (studio / "out.png").read_bytes() == old
    assert impasto("resume", CHECKPOINT).code == 0
    assert np.array_equal(pixels("out.png"), pixels("whole.png"))

"""Nothing is lost: interruptions, crashes, full disks, and going on afterwards."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto import jobs, session
from impasto.console import LineConsole
from impasto.errors import PictureError
from impasto.output import Output
from impasto.records import read_record
from impasto.synthesis import Step, Synthesis, objective
from studio import FAST, Command, paint

STEPS = 12
CHECKPOINT = "out.checkpoint.safetensors"


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def signals_at(monkeypatch: pytest.MonkeyPatch, wanted: int, *numbers: int) -> None:
    """Send signals to ourselves after a step."""
    show = LineConsole.step

    def watched(self: LineConsole, step: Step) -> None:
        show(self, step)
        if step.step == wanted:
            monkeypatch.setattr(LineConsole, "step", show)
            for number in numbers:
                signal.raise_signal(number)

    monkeypatch.setattr(LineConsole, "step", watched)


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


def full_disk(monkeypatch: pytest.MonkeyPatch, *endings: str) -> None:
    """No file whose final name ends so can be written."""
    replace = Path.replace

    def refuse(temporary: Path, final: Path) -> Path:
        if str(final).endswith(endings):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(temporary, final)

    monkeypatch.setattr(Path, "replace", refuse)


# Interruptions


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


def test_a_first_scale_in_tiles_is_timed_in_tiles(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.methods.reading.core_side", lambda *_: 16)
    seen: list[int] = []
    encode = objective.encode
    monkeypatch.setattr(objective, "encode", lambda e, p, *_, **__: seen.append(p.shape[-1]) or encode(e, p, *_, **__))
    settings = {"encoder": "tiny.safetensors", "size": 160, "coarsest": 160, "steps": 2}
    settings |= {"style_layers": "relu1_1", "content_layers": "relu1_1"}
    running = jobs.Job.of("transfer", {"content": "harbour.jpg", "style": "starry.jpg"}, settings, device="cpu").begin()
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


# Going on


def test_unfinished_work_of_the_same_name_is_mentioned(
    transfer: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        interrupted(transfer, patched)
    shown = transfer("-o", "out.png")
    assert shown.out == "out-2.png\n"
    assert f"there is unfinished work of this name: impasto resume {CHECKPOINT} goes on with it" in shown.err
    assert "unfinished" not in transfer("-o", "new.png").err
    Path("out.png").write_bytes(b"something else")
    resumed = impasto("resume", CHECKPOINT)
    assert (resumed.code, Path(resumed.out.strip()).name) == (0, "out-3.png")
    assert "there is unfinished work" not in resumed.err


def interrupted(transfer: Command, monkeypatch: pytest.MonkeyPatch, *words: object, output: str = "out.png") -> None:
    signals_at(monkeypatch, 5, signal.SIGINT)
    assert transfer("-o", output, "--steps", STEPS, *words).code == 130


def test_resume_keeps_all_output_options(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--bits", "16", "--plot", "losses.svg", "--record", "out.json", "--no-preview", "--force")
    interrupted(transfer, monkeypatch, *words)
    paint(studio / "out.png", 8, 8)  # to be overwritten, as it was asked for
    (studio / "elsewhere").mkdir()
    monkeypatch.chdir(studio / "elsewhere")
    monkeypatch.setattr(session, "SECONDS_TO_FIRST_PREVIEW", 0)
    monkeypatch.setattr(session, "SECONDS_BETWEEN_PREVIEWS", 0)
    shown = impasto("resume", studio / CHECKPOINT)
    assert (shown.code, shown.out) == (0, f"{studio / 'out.png'}\n")
    assert "preview" not in shown.err
    from impasto import read_picture

    assert read_picture(studio / "out.png").bits == 16
    assert (studio / "losses.svg").exists()
    assert read_record(studio / "out.json") == read_record(studio / "out.png")
    assert list((studio / "elsewhere").iterdir()) == []


def test_resume_keeps_the_quality(transfer: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer("-o", "whole.jpg", "--steps", STEPS, "--quality", "7")
    interrupted(transfer, monkeypatch, "--quality", "7", output="out.jpg")
    impasto("resume", "out.checkpoint.safetensors")
    assert np.array_equal(pixels("out.jpg"), pixels("whole.jpg"))


def test_resume_does_not_overwrite_what_came_between(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(transfer, monkeypatch)
    (studio / "out.png").write_bytes(b"precious")
    assert impasto("resume", CHECKPOINT).out == f"{studio / 'out-2.png'}\n"
    assert (studio / "out.png").read_bytes() == b"precious"
    assert not (studio / CHECKPOINT).exists()


def test_a_resumed_run_may_be_interrupted_again(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer("-o", "whole.png", "--steps", STEPS)
    interrupted(transfer, monkeypatch)
    (studio / CHECKPOINT).rename("kept.safetensors")
    signals_at(monkeypatch, 9, signal.SIGINT)
    shown = impasto("resume", "kept.safetensors")
    assert (shown.code, shown.last_line.rpartition(": ")[2]) == (130, "impasto resume kept.safetensors")
    assert impasto("resume", "kept.safetensors").code == 0
    assert np.array_equal(pixels("whole.png"), pixels("out.png"))


def test_resume_refuses_changed_inputs(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(transfer, monkeypatch)
    paint(studio / "starry.jpg", 60, 60, seed=9)
    shown = impasto("resume", CHECKPOINT)
    assert shown.code == 1
    assert shown.err.startswith("starry.jpg: the style has changed since the record was written; the work cannot go on")
    assert len(shown.err.splitlines()) == 1


def test_resume_says_which_input_is_gone(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(transfer, monkeypatch)
    (studio / "starry.jpg").unlink()
    shown = impasto("resume", CHECKPOINT)
    assert (shown.code, shown.err) == (1, "starry.jpg: no such file any more; put it back there to go on\n")


@pytest.mark.parametrize("stranger", ["harbour.jpg", "tiny.safetensors", "cut.safetensors", "missing.safetensors"])
def test_resume_takes_only_checkpoints(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch, stranger: str
) -> None:
    interrupted(transfer, monkeypatch)
    whole = (studio / CHECKPOINT).read_bytes()
    (studio / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    shown = impasto("resume", stranger)
    assert shown.code == 1
    assert shown.err.startswith(f"{stranger}: ")
    assert "checkpoint" in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize("fault", ["no output", "no size", "other layers"])
def test_resume_takes_no_checkpoint_of_another_version(
    transfer: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from impasto.synthesis.checkpoint import load_checkpoint, save_checkpoint

    interrupted(transfer, monkeypatch)
    tensors, state, about = load_checkpoint(Path(CHECKPOINT))
    if fault == "no output":
        del about["output"]["quality"]
    elif fault == "no size":
        del state["scale"]
    else:
        tensors["average"] = tensors["average"][..., 1:]

    class Stored:
        def state(self) -> object:
            return tensors, state

    save_checkpoint(Path(CHECKPOINT), Stored(), about)  # type: ignore[arg-type]
    shown = impasto("resume", CHECKPOINT)
    assert shown.code == 1
    assert "another version of impasto; start the work anew" in shown.err
    assert len(shown.err.splitlines()) == 1


def test_resume_has_no_options_that_it_ignores(impasto: Command) -> None:
    shown = impasto("resume", "--help").out
    assert [word for word in ("--quiet", "--json", "--debug") if word in shown] == ["--quiet", "--json", "--debug"]
    for word in ("--device", "--threads", "--precision", "--max-pixels", "--output"):
        assert word not in shown


# Full disks


def test_a_full_disk_at_the_end_keeps_the_checkpoint(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer("-o", "whole.png")
    with monkeypatch.context() as patch:
        full_disk(patch, "out.png")
        shown = transfer("-o", "out.png")
    assert (shown.code, shown.out) == (1, "")
    assert shown.last_line.startswith("out.png: the disk is full")
    assert f"what was reached is saved; go on with: impasto resume {CHECKPOINT}" in shown.err
    assert not (studio / "out.png").exists()
    assert impasto("resume", CHECKPOINT).code == 0
    assert np.array_equal(pixels("whole.png"), pixels("out.png"))


def test_with_a_full_disk_the_checkpoint_goes_among_the_temporary_files(
    transfer: Command,
    impasto: Command,
    studio: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transfer("-o", "whole.png")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(elsewhere))
        move = Path.replace

        def refuse(temporary: Path, final: Path) -> Path:
            if final.absolute().parent == studio:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return move(temporary, final)

        patch.setattr(Path, "replace", refuse)
        shown = transfer("-o", "out.png")
    assert shown.last_line.startswith("out.png: the disk is full")
    assert f"what was reached is saved; go on with: impasto resume {elsewhere / CHECKPOINT}" in shown.err
    assert impasto("resume", elsewhere / CHECKPOINT).code == 0
    assert np.array_equal(pixels("whole.png"), pixels("out.png"))
    assert not [*elsewhere.iterdir()]


def test_a_checkpoint_that_fails_too_does_not_hide_the_failure(
    transfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, "out.png", "checkpoint.safetensors")
    shown = transfer("-o", "out.png")
    assert shown.code == 1
    assert shown.last_line.startswith("out.png: the disk is full")
    assert "what was reached is saved" not in shown.err


def test_a_full_disk_at_ctrl_c_is_said(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    full_disk(monkeypatch, "checkpoint.safetensors")
    signals_at(monkeypatch, 1, signal.SIGINT)
    shown = transfer("-o", "out.png")
    assert shown.code == 130
    assert "but not saved: out.checkpoint.safetensors: the disk is full" in shown.last_line


@pytest.mark.parametrize("what", ["preview", "checkpoint"])
def test_a_full_disk_on_the_way_is_noted_once_and_the_work_goes_on(
    transfer: Command, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(session, "SECONDS_TO_FIRST_PREVIEW", 0)
    monkeypatch.setattr(session, "SECONDS_BETWEEN_PREVIEWS", 0)
    monkeypatch.setattr(session, "SECONDS_BETWEEN_CHECKPOINTS", -1)
    full_disk(monkeypatch, "preview.jpg" if what == "preview" else "checkpoint.safetensors")
    shown = transfer("-o", "out.png", "--steps", "5")
    assert (shown.code, shown.out) == (0, "out.png\n")
    assert shown.err.count("the disk is full") == 1
    assert f"no {what} is kept: out.{what}" in shown.err


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("Error while serializing: I/O error: No space left on device (os error 28)", "the disk is full"),
        ("Error while serializing", "writing failed (Error while serializing)"),
    ],
)
def test_safetensors_own_failures_are_said_too(
    transfer: Command, monkeypatch: pytest.MonkeyPatch, failure: str, said: str
) -> None:
    from safetensors import SafetensorError

    def fail(*_: object, **__: object) -> None:
        raise SafetensorError(failure)

    monkeypatch.setattr("impasto.synthesis.checkpoint.save_file", fail)
    monkeypatch.setattr(session, "SECONDS_BETWEEN_CHECKPOINTS", -1)
    shown = transfer("-o", "out.png")
    assert shown.code == 0
    assert f"no checkpoint is kept: out.checkpoint.safetensors: {said}" in shown.err


def test_a_plot_that_fails_does_not_lose_the_picture(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    full_disk(monkeypatch, "losses.png")
    shown = transfer("-o", "out.png", "--plot", "losses.png")
    assert (shown.code, shown.out) == (1, "out.png\n")
    assert shown.last_line.startswith("losses.png: the disk is full")


def test_a_failure_in_the_middle_keeps_the_checkpoint(
    transfer: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    improve = Synthesis._improve

    def fail(self: Synthesis, objective: object) -> object:
        if len(self.history) == 3:
            raise RuntimeError("CUDA error: out of memory")
        return improve(self, objective)  # type: ignore[arg-type]

    monkeypatch.setattr(Synthesis, "_improve", fail)
    shown = transfer("-o", "out.png", "--steps", STEPS)
    assert shown.code == 1
    assert "ran out of memory" in shown.last_line
    assert (studio / CHECKPOINT).exists()


def test_a_preview_is_on_disk_meanwhile_unless_unwanted(
    transfer: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    keep = session._Keeper.__call__

    def watched(self: session._Keeper, step: Step) -> None:
        keep(self, step)
        seen.append((studio / "out.preview.jpg").exists())

    monkeypatch.setattr(session._Keeper, "__call__", watched)
    monkeypatch.setattr(session, "SECONDS_TO_FIRST_PREVIEW", 0)
    monkeypatch.setattr(session, "SECONDS_BETWEEN_PREVIEWS", 0)
    shown = transfer("-o", "out.png")
    assert shown.err.count("preview: out.preview.jpg") == 1
    transfer("-o", "out.png", "--no-preview", "--force")
    assert seen == [True, True, False, False]


def test_previews_and_checkpoints_come_every_few_seconds(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[float] = []
    now = [0.0]
    step = LineConsole.step

    def tick(self: LineConsole, one: Step) -> None:
        now[0] += 1.0
        step(self, one)

    monkeypatch.setattr(LineConsole, "step", tick)
    monkeypatch.setattr(session, "time", type("Clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    monkeypatch.setattr(session._Keeper, "_save", lambda self: saved.append(now[0]))
    transfer("--steps", "20", "--tolerance", "0")
    assert saved == [9, 18]


def test_outputs_survive_json(tmp_path: Path) -> None:
    output = Output(tmp_path / "a.png", 7, 16, tmp_path / "p.svg", None, tmp_path / "f.npy", False, True)
    again = Output.from_json(output.to_json(), tmp_path / "c.safetensors")
    assert again == replace(output, checkpoint=tmp_path / "c.safetensors")
    with pytest.raises(PictureError, match="another version"):
        Output.from_json({}, tmp_path / "c.safetensors")


def test_resume_finds_an_encoder_named_from_another_folder(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(transfer, monkeypatch)
    (studio / "other").mkdir()
    monkeypatch.chdir("other")
    assert impasto("resume", Path("..") / CHECKPOINT).code == 0

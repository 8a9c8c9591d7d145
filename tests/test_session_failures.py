"""Full disks and failures lose nothing, and what is kept on the way is kept in time."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from impasto import session
from impasto.console import LineConsole
from impasto.synthesis import Step, Synthesis
from mishaps import CHECKPOINT, STEPS, full_disk, signals_at
from studio import Command, pixels


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
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transfer("-o", "whole.png")
    with monkeypatch.context() as patch:
        move = Path.replace

        def refuse(temporary: Path, final: Path) -> Path:
            if final.absolute().parent == studio:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return move(temporary, final)

        patch.setattr(Path, "replace", refuse)
        shown = transfer("-o", "out.png")
    assert shown.last_line.startswith("out.png: the disk is full")
    assert f"what was reached is saved; go on with: impasto resume {temporary / CHECKPOINT}" in shown.err
    assert impasto("resume", temporary / CHECKPOINT).code == 0
    assert np.array_equal(pixels("whole.png"), pixels("out.png"))
    assert not [*temporary.iterdir()]


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

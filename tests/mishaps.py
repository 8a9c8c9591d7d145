"""What tests of unfinished work share: signals on the way, and disks that are full."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from impasto.console import LineConsole
from impasto.synthesis import Step
from studio import Command

STEPS = 12
CHECKPOINT = "out.checkpoint.safetensors"


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


def interrupted(transfer: Command, monkeypatch: pytest.MonkeyPatch, *words: object, output: str = "out.png") -> None:
    signals_at(monkeypatch, 5, signal.SIGINT)
    assert transfer("-o", output, "--steps", STEPS, *words).code == 130


def full_disk(monkeypatch: pytest.MonkeyPatch, *endings: str) -> None:
    """No file whose final name ends so can be written."""
    replace = Path.replace

    def refuse(temporary: Path, final: Path) -> Path:
        if str(final).endswith(endings):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(temporary, final)

    monkeypatch.setattr(Path, "replace", refuse)

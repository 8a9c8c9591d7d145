"""What is shown: bars, lines or events, names as they are."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from impasto import console
from impasto.console import BarConsole, JsonConsole, LineConsole, QuietConsole, choose_console, shell_word
from impasto.synthesis import Step
from studio import Command, paint


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Puts a terminal in the place of stderr; to be called in the test, for pytest captures again before it."""

    def install() -> Terminal:
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", "160")
        stderr = Terminal()
        monkeypatch.setattr(sys, "stderr", stderr)
        return stderr

    return install


def step(scale: int, done: int, steps: int, size: int = 128, scales: int = 2) -> Step:
    return Step(scale, scales, size, size, done, steps, 1.0, {"content": 0.3, "style": 0.02}, 1.5, 60.0, lambda: None)


def test_console_is_chosen_by_words_and_by_the_terminal(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal()
    assert type(choose_console()) is BarConsole
    assert type(choose_console(quiet=True)) is QuietConsole
    assert type(choose_console(quiet=True, events=True)) is JsonConsole
    monkeypatch.setenv("TERM", "dumb")
    assert type(choose_console()) is LineConsole
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(choose_console()) is LineConsole


def test_a_terminal_gets_a_bar(transfer: Command, terminal: Callable[[], Terminal]) -> None:
    stderr = terminal()
    shown = transfer()
    assert shown.out == "harbour-starry.png\n"
    assert "━━━━" in stderr.getvalue()
    assert "2/2" in stderr.getvalue()


def test_an_error_on_a_terminal_is_red_unless_no_color(
    terminal: Callable[[], Terminal], impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr, colour = terminal(), re.compile(r"\x1b\[[0-9;]*3[0-9]")
    impasto("resume", "nothing")
    assert colour.search(stderr.getvalue())
    stderr.truncate(0)
    monkeypatch.setenv("NO_COLOR", "1")
    impasto("resume", "nothing")
    assert "no such checkpoint" in stderr.getvalue()
    assert not colour.search(stderr.getvalue())


def test_bar_of_a_scale_that_ended_early_is_full(terminal: Callable[[], Terminal]) -> None:
    terminal()
    bars = BarConsole()
    bars.step(step(1, 37, 120))
    first = bars._progress.tasks[0]
    assert (first.percentage, first.finished) == (pytest.approx(100 * 37 / 120), False)
    bars.step(step(2, 1, 100, size=256))
    assert (first.percentage, first.finished) == (100, True)
    assert first.fields["count"] == "37/120"
    assert "eta" not in first.fields["facts"]
    second = bars._progress.tasks[1]
    assert "eta 60 s" in second.fields["facts"]
    bars.result("a.png", {"width": 2, "height": 2, "seconds": 1.0, "peak_memory": 1, "again": "impasto rerun a.png"})
    assert second.finished


def test_lines_tell_where_each_scale_ended(capsys: pytest.CaptureFixture[str]) -> None:
    lines = LineConsole()
    for one in (step(1, 36, 120), step(1, 37, 120), step(2, 1, 100, size=256)):
        lines.step(one)
    assert capsys.readouterr().err == " 128 px 37/120  content 0.3  style 0.02  1.5 s\n"


def test_lines_come_every_few_seconds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    lines = LineConsole()
    for done in range(1, 13):
        now[0] += 1
        lines.step(step(1, done, 120))
    assert re.findall(r"(\d+)/120", capsys.readouterr().err) == ["5", "10"]


def test_names_are_shown_as_they_are(transfer: Command, studio: Path) -> None:
    paint(studio / "[red]:smile:.jpg", 64, 48)
    shown = transfer(content="[red]:smile:.jpg")
    assert shown.out == "[red]:smile:-starry.png\n"
    assert shown.err.startswith("[red]:smile:.jpg 64×48")
    assert "impasto rerun '[red]:smile:-starry.png' --set" in shown.err


def test_shell_words_survive_a_shell() -> None:
    assert shell_word("a.png") == "a.png"
    assert shell_word("my photo.png") == "'my photo.png'"
    assert shell_word("-a.png") == "./-a.png"


def test_downloads_are_shown(capsys: pytest.CaptureFixture[str], terminal: Callable[[], Terminal]) -> None:
    events = JsonConsole()
    for done in range(0, 1001):
        events.download(done * 1000, 1_000_000)
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(shown) == 101
    assert shown[-1] == {"event": "download", "done": 1_000_000, "total": 1_000_000}
    terminal()
    bars = BarConsole()
    bars.download(5_000_000, 10_000_000)
    assert bars._progress.tasks[0].percentage == 50
    bars.download(6_000_000, 0)
    assert "6 MB" in bars._progress.tasks[0].fields["facts"]
    bars.finish()


def test_an_encoder_that_is_not_here_is_downloaded_in_front_of_people(
    transfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from impasto.encoders import EncoderStatus

    def fetch(name: str, observer: console.Any) -> None:
        observer(3, 4)

    monkeypatch.setattr("impasto.jobs.encoder_status", lambda name: EncoderStatus(name, "", None, False, 4))
    monkeypatch.setattr("impasto.jobs.load_encoder", fetch)
    events = [json.loads(line) for line in transfer("--json").out.splitlines()]
    assert events[0] == {"event": "download", "done": 3, "total": 4}

"""What somebody sees while the work goes on: bars, lines, or events for other programs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

if TYPE_CHECKING:
    from impasto.jobs import Running
    from impasto.synthesis import Step


class Console(Protocol):
    """Told of everything that happens; `finish` is called at the end, however it ends."""

    def begin(self, running: Running, seconds: float) -> None: ...
    def step(self, step: Step) -> None: ...
    def download(self, done: int, total: int) -> None: ...
    def progress(self, what: str, done: int, total: int, seconds: float) -> None: ...
    def note(self, message: str) -> None: ...
    def error(self, message: str) -> None: ...
    def result(self, path: str, facts: dict[str, Any]) -> None: ...
    def facts(self, rows: Sequence[tuple[str, str]]) -> None: ...
    def listing(self, kind: str, rows: Iterable[Mapping[str, Any]]) -> None: ...
    def finish(self) -> None: ...


def choose_console(*, quiet: bool = False, events: bool = False) -> Console:
    """Events as JSON lines, nothing but errors, a bar on a terminal, or a line every few seconds elsewhere."""
    if events:
        return JsonConsole()
    if quiet:
        return QuietConsole()
    animated = sys.stderr.isatty() and not RichConsole(stderr=True).is_dumb_terminal
    return BarConsole() if animated else LineConsole()


class QuietConsole:
    """Errors on stderr and result paths on stdout."""

    def __init__(self) -> None:
        self._rich = RichConsole(stderr=True, highlight=False, soft_wrap=True, emoji=False)

    def begin(self, running: Running, seconds: float) -> None:
        pass

    def step(self, step: Step) -> None:
        pass

    def download(self, done: int, total: int) -> None:
        pass

    def progress(self, what: str, done: int, total: int, seconds: float) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def error(self, message: str) -> None:
        self._rich.print(message, style="red", markup=False)

    def result(self, path: str, facts: dict[str, Any]) -> None:
        _print(path)

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        widest = max(len(name) for name, _ in rows)
        for name, value in rows:
            _print(f"{name:{widest}}  {value}")

    def listing(self, kind: str, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            words = (", ".join(value) if isinstance(value, list) else str(value) for value in row.values() if value)
            _print("  ·  ".join(words))

    def finish(self) -> None:
        pass


class LineConsole(QuietConsole):
    """A line every few seconds: for logs."""

    seconds_between_lines = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._said = time.monotonic()
        self._last: Step | None = None

    def begin(self, running: Running, seconds: float) -> None:
        self._rich.print(headline(running), markup=False)
        if seconds > 60:
            self._rich.print(outlook(running, seconds), markup=False)

    def step(self, step: Step) -> None:
        if self._last is not None and self._last.scale != step.scale:
            self._close(self._last)
        self._last = step
        self._show(step)

    def download(self, done: int, total: int) -> None:
        if done == total or self._is_time():
            self._rich.print(f"download {_megabytes(done, total)}", markup=False)

    def progress(self, what: str, done: int, total: int, seconds: float) -> None:
        if done == total or self._is_time():
            self._rich.print(f"{what} {done:,} of {total:,}  {_rate(done, total, seconds)}", markup=False)

    def note(self, message: str) -> None:
        self._rich.print(message, style="dim", markup=False)

    def result(self, path: str, facts: dict[str, Any]) -> None:
        if self._last is not None:
            self._close(self._last)
            self._last = None
        self.finish()
        super().result(path, facts)
        if "seconds" in facts:  # a contact sheet takes none
            self._rich.print(epilogue(facts), markup=False)

    def _show(self, step: Step) -> None:
        """Tell of a step on the way."""
        if step.step < step.steps and self._is_time():
            self._line(step, f"eta {duration(step.eta)}")

    def _close(self, step: Step) -> None:
        """Tell of the last step of a scale: only now is it known that the scale ended with it."""
        self._line(step, duration(step.seconds))

    def _line(self, step: Step, when: str) -> None:
        self._rich.print(f"{_place(step)} {step.step}/{step.steps}  {_losses(step)}  {when}", markup=False)

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._said < self.seconds_between_lines:
            return False
        self._said = now
        return True


class BarConsole(LineConsole):
    """A bar for every scale: for terminals."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[int, TaskID] = {}
        self._progress = self._bars()

    def begin(self, running: Running, seconds: float) -> None:
        """With bars of its own: there may have been other work before."""
        self.finish()
        self._tasks, self._progress = {}, self._bars()
        super().begin(running, seconds)

    def _bars(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[facts]}"),
            console=self._rich,
            refresh_per_second=8,
            redirect_stdout=False,  # results go there
        )

    def download(self, done: int, total: int) -> None:
        self._update(0, "download", done, max(done, total), "", _megabytes(done, total))

    def progress(self, what: str, done: int, total: int, seconds: float) -> None:
        self._update(0, what, done, total, f"{done:,} of {total:,}", _rate(done, total, seconds))

    def finish(self) -> None:
        self._progress.stop()

    def _show(self, step: Step) -> None:
        self._update_step(step, step.steps, f"eta {duration(step.eta)}")

    def _close(self, step: Step) -> None:
        self._update_step(step, step.step, duration(step.seconds))

    def _update_step(self, step: Step, total: int, when: str) -> None:
        facts = f"{_losses(step)}  {when}"
        self._update(step.scale, _place(step), step.step, total, f"{step.step}/{step.steps}", facts)

    def _update(self, key: int, description: str, done: int, total: int, count: str, facts: str) -> None:
        self._progress.start()
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(description, count="", facts="")
        self._progress.update(self._tasks[key], completed=done, total=total, count=count, facts=escape(facts))


class JsonConsole(QuietConsole):
    """One JSON object a line on stdout: `begin`, `download`, `progress`, `step`, `note`, `error`, `result`, `info`, and
    one for each thing that is listed, named after what it is."""

    def __init__(self) -> None:
        super().__init__()
        self._percent = -1

    def begin(self, running: Running, seconds: float) -> None:
        scales = [[scale.width, scale.height, scale.steps] for scale in running.synthesis.schedule]
        self._say(
            "begin",
            method=running.job.method.name,
            inputs={role: str(picture.path or picture.name) for role, picture in running.pictures.items()},
            settings=running.job.settings.model_dump(mode="json"),
            device=str(running.machine.device),
            scales=scales,
            estimated_seconds=seconds,
            estimated_memory=running.estimated_memory,
        )

    def step(self, step: Step) -> None:
        facts = {name: value for name, value in vars(step).items() if name != "preview"}
        self._say("step", **facts)

    def download(self, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if percent != self._percent:  # pieces are small: thousands of events would tell no more
            self._percent = percent
            self._say("download", done=done, total=total)

    def progress(self, what: str, done: int, total: int, seconds: float) -> None:
        self._say("progress", what=what, done=done, total=total, seconds=round(seconds, 3))

    def note(self, message: str) -> None:
        self._say("note", message=message)

    def error(self, message: str) -> None:
        self._say("error", message=message)

    def result(self, path: str, facts: dict[str, Any]) -> None:
        self._say("result", path=path, **facts)

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        self._say("info", facts=dict(rows))

    def listing(self, kind: str, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self._say(kind, **row)

    def _say(self, event: str, **facts: Any) -> None:
        _print(json.dumps({"event": event, **facts}))


MOST_NAMES = 5
"""Of pictures in the headline."""


def headline(running: Running) -> str:
    """`harbour.jpg 1600×1067 · starry-night.jpg 1200×950 · lite on cpu (2 threads) · seed 0`."""
    pictures = [f"{picture.name} {picture.width}×{picture.height}" for picture in running.pictures.values()]
    if len(pictures) > MOST_NAMES:
        pictures[MOST_NAMES:] = [f"{len(pictures) - MOST_NAMES} more"]
    parts = [*pictures, f"{running.work.encoder.name} on {running.machine.describe()}"]
    seed = getattr(running.job.settings, "seed", None)
    return " · ".join(parts if seed is None else [*parts, f"seed {seed}"])


def outlook(running: Running, seconds: float) -> str:
    """`4 scales to 2048×1365: about 6 min and 3.1 GB`."""
    final = running.synthesis.schedule[-1]
    scales = len(running.synthesis.schedule)
    memory = running.estimated_memory / 1e9
    return (
        f"{scales} scale{'s' if scales > 1 else ''} to {final.width}×{final.height}: "
        f"about {duration(seconds)} and {memory:.1f} GB"
    )


def epilogue(facts: dict[str, Any]) -> str:
    """Size, seconds and memory, what else was written, and how to make it again."""
    facts = dict(facts)
    width, height, seconds, memory = (facts.pop(name) for name in ("width", "height", "seconds", "peak_memory"))
    frames = f", {facts.pop('frames')} frames" if "frames" in facts else ""
    lines = [f"{width}×{height}{frames}   {seconds:.1f} s   peak {memory / 1e9:.1f} GB"]
    again = facts.pop("again")
    return "\n".join([*lines, *(f"{name}: {path}" for name, path in facts.items()), f"again: {again}"])


def shell_word(path: str | Path) -> str:
    """A path as it must be typed: quoted where the shell would take it apart, and not to be taken for an option."""
    word = f".{os.sep}{path}" if str(path).startswith("-") else str(path)
    return subprocess.list2cmdline([word]) if os.name == "nt" else shlex.quote(word)


def duration(seconds: float) -> str:
    """`8.2 s`, `75 s`, `6 min`, `2.5 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _place(step: Step) -> str:
    return f"{max(step.width, step.height):4d} px"


def _losses(step: Step) -> str:
    return "  ".join(f"{name} {max(0.0, value):.2g}" for name, value in step.losses.items() if name != "smoothness")


def _megabytes(done: int, total: int) -> str:
    return f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"


def _rate(done: int, total: int, seconds: float) -> str:
    """`5.2 a second, eta 9 min`."""
    rate = done / max(seconds, 1e-3)
    when = duration(seconds) if done == total else f"eta {duration((total - done) / rate)}"
    return f"{rate:.1f} a second  {when}"


def _print(line: str) -> None:
    """A line on stdout; the bytes themselves where a file's name is no text that it takes."""
    try:
        sys.stdout.write(f"{line}\n")
    except UnicodeEncodeError:
        sys.stdout.buffer.write(os.fsencode(f"{line}\n"))
    sys.stdout.flush()

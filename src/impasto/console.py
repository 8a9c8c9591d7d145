"""What somebody sees while the work goes on: bars, lines, or events for other programs."""

from __future__ import annotations

import json
import sys
import time
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
    def note(self, message: str) -> None: ...
    def error(self, message: str) -> None: ...
    def result(self, path: str, facts: dict[str, Any]) -> None: ...
    def finish(self) -> None: ...


def choose_console(*, quiet: bool = False, events: bool = False) -> Console:
    """Events as JSON lines, nothing but errors, a bar on a terminal, or a line every few seconds elsewhere."""
    if events:
        return JsonConsole()
    if quiet:
        return QuietConsole()
    return BarConsole() if sys.stderr.isatty() else LineConsole()


class QuietConsole:
    """Errors on stderr and result paths on stdout."""

    def __init__(self) -> None:
        self._rich = RichConsole(stderr=True, highlight=False, soft_wrap=True)

    def begin(self, running: Running, seconds: float) -> None:
        pass

    def step(self, step: Step) -> None:
        pass

    def download(self, done: int, total: int) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def error(self, message: str) -> None:
        self._rich.print(message, style="red", markup=False)

    def result(self, path: str, facts: dict[str, Any]) -> None:
        sys.stdout.write(f"{path}\n")
        sys.stdout.flush()

    def finish(self) -> None:
        pass


class LineConsole(QuietConsole):
    """A line every few seconds: for logs."""

    seconds_between_lines = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._said = time.monotonic()

    def begin(self, running: Running, seconds: float) -> None:
        self._rich.print(headline(running), markup=False)
        if seconds > 60:
            self._rich.print(outlook(running, seconds), markup=False)

    def step(self, step: Step) -> None:
        if step.step == step.steps or time.monotonic() - self._said >= self.seconds_between_lines:
            self._said = time.monotonic()
            self._rich.print(f"{_place(step)} {step.step}/{step.steps}  {_losses(step)}  {_time(step)}", markup=False)

    def download(self, done: int, total: int) -> None:
        if done == total or time.monotonic() - self._said >= self.seconds_between_lines:
            self._said = time.monotonic()
            self._rich.print(f"download {done / 1e6:.0f} of {total / 1e6:.0f} MB", markup=False)

    def note(self, message: str) -> None:
        self._rich.print(message, style="dim", markup=False)

    def result(self, path: str, facts: dict[str, Any]) -> None:
        super().result(path, facts)
        self._rich.print(epilogue(path, facts), markup=False)


class BarConsole(LineConsole):
    """A bar for every scale: for terminals."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[int, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[facts]}"),
            console=self._rich,
            refresh_per_second=8,
        )

    def step(self, step: Step) -> None:
        self._progress.start()
        task = self._task(step.scale, _place(step), step.steps)
        facts = f"{_losses(step)}  {_time(step)}"
        ended = step.step if step.eta == 0 else step.steps
        self._progress.update(task, completed=step.step, total=max(ended, step.steps), facts=escape(facts))

    def download(self, done: int, total: int) -> None:
        self._progress.start()
        task = self._task(0, "download", total)
        self._progress.update(task, completed=done, facts=f"{total / 1e6:.0f} MB")

    def finish(self) -> None:
        self._progress.stop()

    def _task(self, key: int, description: str, total: int) -> TaskID:
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(description, total=total, facts="")
        return self._tasks[key]


class JsonConsole(QuietConsole):
    """One JSON object a line on stdout: `begin`, `step`, `note`, `error`, `result`."""

    def begin(self, running: Running, seconds: float) -> None:
        scales = [[scale.width, scale.height, scale.steps] for scale in running.synthesis.schedule]
        self._say("begin", scales=scales, estimated_seconds=seconds, estimated_memory=running.estimated_memory)

    def step(self, step: Step) -> None:
        facts = {name: value for name, value in vars(step).items() if name != "preview"}
        self._say("step", **facts)

    def download(self, done: int, total: int) -> None:
        self._say("download", done=done, total=total)

    def note(self, message: str) -> None:
        self._say("note", message=message)

    def error(self, message: str) -> None:
        self._say("error", message=message)

    def result(self, path: str, facts: dict[str, Any]) -> None:
        self._say("result", path=path, **facts)

    def _say(self, event: str, **facts: Any) -> None:
        sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
        sys.stdout.flush()


def headline(running: Running) -> str:
    """`harbour.jpg 1600×1067 · starry-night.jpg 1200×950 · lite on cpu (2 threads) · seed 0`."""
    pictures = [f"{picture.name} {picture.width}×{picture.height}" for picture in running.pictures.values()]
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


def epilogue(path: str, facts: dict[str, Any]) -> str:
    """Size, seconds and memory, and how to make it again."""
    return (
        f"{facts['width']}×{facts['height']}   {facts['seconds']:.1f} s   peak {facts['peak_memory'] / 1e9:.1f} GB\n"
        f"again: impasto rerun {path} --set size={2 * max(facts['width'], facts['height'])}"
    )


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
    return "  ".join(f"{name} {value:.2g}" for name, value in step.losses.items() if name != "smoothness")


def _time(step: Step) -> str:
    return duration(step.seconds) if step.eta == 0 else f"eta {duration(step.eta)}"

"""A job done in front of somebody: progress, previews, checkpoints, and what happens on Ctrl-C."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from impasto.console import Console, duration, shell_word
from impasto.errors import ImpastoError, Interrupted, PictureError, UsageError
from impasto.jobs import Running
from impasto.output import EXTRAS, Output, free_name
from impasto.pictures.atomic import atomic_write, write_failure
from impasto.pictures.files import write_picture
from impasto.pictures.picture import Picture
from impasto.pictures.resize import fit, resize
from impasto.plots import plot_losses
from impasto.results import Result
from impasto.synthesis import Step

SECONDS_TO_FIRST_PREVIEW, SECONDS_BETWEEN_PREVIEWS = 0.5, 2.0
SECONDS_BETWEEN_CHECKPOINTS = 8.0
SHARE_OF_CHECKPOINTS = 0.05
"""Of the time, at most: those of large prints are large, too."""
LARGEST_PREVIEW = 1024
"""Longest side, in pixels."""


def perform(running: Running, output: Output, console: Console) -> Result:
    """Run a job to its end and write the result, with a preview and a checkpoint on the way.

    Interrupted by Ctrl-C or SIGTERM it saves a checkpoint and raises `Interrupted`, which says how to go on. After
    any other failure, too, what was reached stays in the checkpoint.
    """
    if output.field is not None and running.work.origins is None:
        raise UsageError("field: says where patches come from: use semantic, doodle or --style-loss patches")
    keeper = _Keeper(running, output, console)
    try:
        for checkpoint in output.unfinished:
            console.note(f"there is unfinished work of this name: {_way_on(checkpoint)} goes on with it")
        console.begin(running, running.estimate_seconds())
        for remark in running.remarks:
            console.note(remark)
        with stopped_by_signals(running.cancel):
            result = _work(running, output, console, keeper)
        keeper.clean_up()
        if result.origins is not None:
            console.note(result.origins.in_words())
        try:
            _write_extras(result, output)
        finally:
            console.result(str(output.path), _facts(result, output))
    finally:
        console.finish()
    return result


def _work(running: Running, output: Output, console: Console, keeper: _Keeper) -> Result:
    """Do the steps and write the picture, or keep what was reached."""
    try:
        result = running.run([console.step, keeper])
        write_picture(
            result.painting,
            output.path,
            quality=output.quality,
            bits=output.bits,
            record=result.record.seen_from(output.path.parent).to_json(),
        )
    except Interrupted:
        raise keeper.stopped() from None
    except Exception:
        keeper.keep()
        raise
    return result


def _facts(result: Result, output: Output) -> dict[str, Any]:
    record = result.record
    facts: dict[str, Any] = {
        "width": record.width,
        "height": record.height,
        "seconds": record.seconds,
        "peak_memory": record.peak_memory,
    }
    larger = f" --set size={2 * max(record.width, record.height)}" if "size" in record.settings else ""
    facts["again"] = f"impasto rerun {shell_word(output.path)}{larger}"
    extras = {name: getattr(output, name) for name in EXTRAS}
    return facts | {name: str(path) for name, path in extras.items() if path is not None}


def _write_extras(result: Result, output: Output) -> None:
    if output.plot is not None:
        plot_losses(result.history, output.plot)
    if output.field is not None and result.origins is not None:
        result.origins.save(output.field)
    if output.record is not None:
        try:
            with atomic_write(output.record) as temporary:
                temporary.write_text(result.record.seen_from(output.record.parent).to_json(), encoding="utf-8")
        except OSError as error:
            raise PictureError(write_failure(output.record, error)) from error


class _Keeper:
    """Observer that keeps a preview and a checkpoint on disk, each every few seconds.

    They are for safety: where they cannot be written, that is said once and the work goes on.
    """

    def __init__(self, running: Running, output: Output, console: Console) -> None:
        self.running, self.output, self.console = running, output, console
        self._next_preview = time.monotonic() + SECONDS_TO_FIRST_PREVIEW
        self._checked = time.monotonic()
        self._said: set[str] = set()

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        if self.output.preview and now >= self._next_preview:
            self._next_preview = now + SECONDS_BETWEEN_PREVIEWS
            self._attempt("preview", lambda: self._write_preview(step))
        if now - self._checked > SECONDS_BETWEEN_CHECKPOINTS:
            self._attempt("checkpoint", self._save)
            saved = time.monotonic()
            self._checked = saved + max(0.0, (saved - now) / SHARE_OF_CHECKPOINTS - SECONDS_BETWEEN_CHECKPOINTS)

    def stopped(self) -> Interrupted:
        """What to raise when somebody stopped the work, after saving it."""
        seconds = duration(self.running.synthesis.seconds)
        try:
            place = self._save_somewhere()
        except ImpastoError as error:
            return Interrupted(f"stopped after {seconds}, but not saved: {error}")
        return Interrupted(f"stopped after {seconds} and saved; go on with: {_way_on(place)}")

    def keep(self) -> None:
        """Save what a failure left, if there is something; saying so must not hide the failure."""
        if self.running.synthesis.history:
            self._attempt("checkpoint", self._save_and_say)

    def clean_up(self) -> None:
        """Remove what is of no use beside a result."""
        for path in (self.output.preview_path, self.output.checkpoint_path):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _save(self) -> None:
        self.running.save_checkpoint(self.output.checkpoint_path, self.output.to_json())

    def _save_and_say(self) -> None:
        self.console.note(f"what was reached is saved; go on with: {_way_on(self._save_somewhere())}")

    def _save_somewhere(self) -> Path:
        """Save where checkpoints lie or, if that fails, among the temporary files; raises what the first place did."""
        place = self.output.checkpoint_path
        try:
            self._save()
        except ImpastoError as error:
            place = free_name(Path(tempfile.gettempdir()) / place.name)
            try:
                self.running.save_checkpoint(place, self.output.to_json())
            except ImpastoError:
                raise error from None
        return place

    def _write_preview(self, step: Step) -> None:
        pixels = step.preview()
        height, width = fit(step.height, step.width, min(LARGEST_PREVIEW, max(step.height, step.width)))
        finished = self.running.work.finish(resize(pixels, height, width))
        write_picture(Picture(finished.pixels), self.output.preview_path, quality=85)
        self._say_once("preview written", f"preview: {self.output.preview_path}")

    def _attempt(self, name: str, write: Callable[[], None]) -> None:
        try:
            write()
        except ImpastoError as error:
            self._say_once(name, f"no {name} is kept: {error}")

    def _say_once(self, name: str, message: str) -> None:
        if name not in self._said:
            self._said.add(name)
            self.console.note(message)


def _way_on(checkpoint: Path) -> str:
    return f"impasto resume {shell_word(checkpoint)}"


@contextmanager
def stopped_by_signals(cancel: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `cancel`, and so ends the work after the step at hand; a second one at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    try:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: nobody sends us signals there
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

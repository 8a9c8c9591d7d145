"""A job done in front of somebody: where the result goes, previews, checkpoints, and what happens on Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from impasto.console import Console, duration
from impasto.errors import ImpastoError, Interrupted, PictureError, UsageError
from impasto.jobs import Running
from impasto.pictures.atomic import atomic_write
from impasto.pictures.files import check_writable, write_picture
from impasto.pictures.picture import Picture
from impasto.plots import plot_losses
from impasto.results import Result
from impasto.synthesis import Step

SECONDS_BETWEEN_PREVIEWS = 2.0
SECONDS_BETWEEN_CHECKPOINTS = 8.0


@dataclass(frozen=True)
class Output:
    """Where and how a result is written. `plot` and `record` are paths of further files."""

    path: Path
    quality: int = 95
    bits: int | None = None
    plot: Path | None = None
    record: Path | None = None
    preview: bool = True

    @property
    def preview_path(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.preview.jpg")

    @property
    def checkpoint_path(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.checkpoint.safetensors")


def choose_path(inputs: Mapping[str, Path], wanted: Path | None, *, force: bool) -> Path:
    """Where a result goes: as wanted, or a name made of the inputs', beside the first of them.

    A file that exists is kept, unless forced: the name gets a number. An input is never written: `UsageError`.
    """
    first = next(iter(inputs.values()))
    path = wanted or first.with_name("-".join(one.stem for one in inputs.values()) + ".png")
    for one in inputs.values():
        if path.exists() and one.exists() and path.samefile(one):
            raise UsageError(f"{path}: is an input, and inputs are never written: choose another name with -o")
    check_writable(path)
    return path if force else free_name(path)


def free_name(path: Path) -> Path:
    """The path, or the first of `name-2`, `name-3`, … that does not exist."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate


def perform(running: Running, output: Output, console: Console) -> Result:
    """Run a job to its end and write the result, with a preview and a checkpoint on the way.

    Interrupted by Ctrl-C or SIGTERM it saves a checkpoint and raises `Interrupted`, which says how to go on.
    """
    for path in (output.plot, output.record):
        if path is not None and not path.absolute().parent.is_dir():
            raise PictureError(f"{path}: the folder {path.parent} does not exist; make it first")
    console.begin(running, running.estimate_seconds())
    keeper = _Keeper(running, output)
    with _stopped_by_signals(running, console):
        try:
            result = running.run([console.step, keeper])
        except Interrupted:
            raise _saved(keeper) from None
        except Exception:
            keeper.save_checkpoint()  # whatever went wrong, what was reached is not lost
            raise
    console.finish()
    try:
        write_picture(
            result.painting, output.path, quality=output.quality, bits=output.bits, record=result.record.to_json()
        )
    except ImpastoError:
        keeper.save_checkpoint()
        raise
    _write_extras(result, output)
    keeper.clean_up()
    record = result.record
    facts = {
        "width": record.width,
        "height": record.height,
        "seconds": record.seconds,
        "peak_memory": record.peak_memory,
    }
    console.result(str(output.path), facts)
    return result


def _write_extras(result: Result, output: Output) -> None:
    if output.plot is not None:
        plot_losses(result.history, output.plot)
    if output.record is not None:
        try:
            with atomic_write(output.record) as temporary:
                temporary.write_text(result.record.to_json(), encoding="utf-8")
        except OSError as error:
            raise PictureError(f"{output.record}: cannot be written ({error.strerror})") from None


class _Keeper:
    """Observer that keeps a preview and a checkpoint on disk, each every few seconds."""

    def __init__(self, running: Running, output: Output) -> None:
        self.running, self.output = running, output
        self._previewed = time.monotonic()
        self._checked = time.monotonic()

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        if self.output.preview and now - self._previewed > SECONDS_BETWEEN_PREVIEWS:
            self._previewed = now
            write_picture(Picture(step.preview().float().cpu()), self.output.preview_path, quality=85)
        if now - self._checked > SECONDS_BETWEEN_CHECKPOINTS:
            self._checked = now
            self.save_checkpoint()

    def save_checkpoint(self) -> None:
        self.running.save_checkpoint(self.output.checkpoint_path, self.output.path)

    def clean_up(self) -> None:
        self.output.preview_path.unlink(missing_ok=True)
        self.output.checkpoint_path.unlink(missing_ok=True)


def _saved(keeper: _Keeper) -> Interrupted:
    keeper.save_checkpoint()
    seconds = duration(keeper.running.synthesis.seconds)
    return Interrupted(f"stopped after {seconds} and saved; go on with: impasto resume {keeper.output.checkpoint_path}")


@contextmanager
def _stopped_by_signals(running: Running, console: Console) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the work after the step at hand; a second SIGINT at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if running.cancel.is_set():
            raise KeyboardInterrupt
        running.cancel.set()

    try:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: nobody sends us signals there
        yield
        return
    try:
        yield
    finally:
        console.finish()
        for number, handler in before.items():
            signal.signal(number, handler)

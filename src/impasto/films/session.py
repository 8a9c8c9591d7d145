"""A film painted in front of somebody: progress, a preview, checkpoints, and what happens on Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from impasto.console import Console, duration, shell_word
from impasto.encoders import DownloadObserver
from impasto.errors import ImpastoError, Interrupted, PictureError, UsageError
from impasto.films.output import FilmOutput
from impasto.films.passes import Passes
from impasto.films.reels import Reels
from impasto.films.running import FilmRunning
from impasto.films.sources import NOTHING_BETWEEN
from impasto.films.workshop import remove_folder
from impasto.jobs import Job
from impasto.methods.film import PaintedFrame
from impasto.pictures.atomic import write_failure
from impasto.pictures.files import write_picture
from impasto.pictures.film import Frame
from impasto.pictures.picture import Picture
from impasto.pictures.resize import fit, resize
from impasto.records import Record
from impasto.session import LARGEST_PREVIEW, SECONDS_BETWEEN_PREVIEWS, SHARE_OF_CHECKPOINTS, stopped_by_signals
from impasto.synthesis.checkpoint import load_checkpoint, save_checkpoint

CHECKPOINT = "film.checkpoint.safetensors"
SECONDS_BETWEEN_CHECKPOINTS = 8.0


def perform_film(running: FilmRunning, output: FilmOutput, console: Console) -> None:
    """Paint a film to its end and write it, with a preview and checkpoints on the way.

    Interrupted by Ctrl-C or SIGTERM it raises `Interrupted`, which says how to go on; after any other failure, too,
    what was reached is kept. Where the film itself breaks off, what comes before is finished, and `PictureError` says
    so.
    """
    console.note(headline(running))
    keeper = _Keeper(running, output, console)
    with stopped_by_signals(running.cancel):
        try:
            broken = _paint(running, keeper, console)
            keeper.finish(broken=broken is not None)
        except Interrupted:
            raise keeper.stopped() from None
        except Exception:
            keeper.keep()
            raise
        finally:
            console.finish()
    for path in output.files:
        console.result(str(path), _facts(running, path))
    if broken is not None:
        raise PictureError(f"{broken}; {output.path.name} ends there")


def resume_film(place: Path, downloads: DownloadObserver | None = None) -> tuple[FilmRunning, FilmOutput]:
    """Go on from the folder of unfinished work, or the checkpoint in it; raises `ImpastoError`s."""
    checkpoint = place / CHECKPOINT if place.is_dir() else place
    if checkpoint.parent.name in ("", ".."):  # somebody is in that folder: what is beside it is to be found
        checkpoint = checkpoint.resolve()
    tensors, state, about = load_checkpoint(checkpoint)
    foreign = f"{checkpoint}: is damaged, or a checkpoint of another version of impasto; start the work anew"
    try:
        record = Record.model_validate(about["record"])
        folder, where = Path(about["folder"]), dict(about["where"])
        job = Job.from_record(record, folder, advice="put it back there to go on", **where)
        output = FilmOutput.from_json(about["output"], checkpoint.parent)
    except ImpastoError:
        raise
    except (KeyError, ValueError, TypeError):
        raise PictureError(foreign) from None
    running = FilmRunning.prepare(job, downloads)
    for message in running.changed_files():
        raise PictureError(f"{message}; the work cannot go on with it: start anew")
    try:
        running.go_on_from(tensors, state)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):
        raise PictureError(foreign) from None
    return running, output


def is_film_checkpoint(place: Path) -> bool:
    """Whether a path is that of a film's unfinished work."""
    return place.name == CHECKPOINT or (place / CHECKPOINT).exists()


def headline(running: FilmRunning) -> str:
    """`clip.mp4 640×360, 93 frames, 30 a second, with sound · starry-night.jpg 1200×950 · lite on cpu · seed 0`."""
    film, total = running.film, running.total
    facts = [f"{film.path.name} {film.width}×{film.height}"]
    facts += [] if total is None else [f"{total} frames"]
    facts.append(f"{float(film.rate):g} a second")
    facts += ["with sound"] if film.has_sound else []
    styles = [f"{one.name} {one.width}×{one.height}" for one in running.sources.styles]
    machine = f"{running.encoder} on {running.machine.describe()}"
    return " · ".join([", ".join(facts), *styles, machine, f"seed {running.settings.seed}"])


def _paint(running: FilmRunning, keeper: _Keeper, console: Console) -> PictureError | None:
    """Paint all frames; returns what the film broke off with, if it did."""
    broken: PictureError | None = None
    began, done = time.perf_counter(), running.painted
    passes = running.settings.passes

    def show(count: int) -> None:
        total = max((running.total or 0), running.painted) * passes
        seconds = (time.perf_counter() - began) * count / max(1, count - done)  # at the pace of now
        console.progress("frames", count, total, seconds)

    frames = running.frames()
    while True:
        try:
            frame, pictures = next(frames)
        except StopIteration:
            break
        except PictureError as error:
            if not running.painted:
                raise
            broken = error
            break
        keeper.before(frame)
        keeper.after(frame, pictures, running.paint(frame, pictures))
        show(running.painted)
    if not running.painted:
        raise UsageError(NOTHING_BETWEEN)
    keeper.refine(show)
    return broken


def _facts(running: FilmRunning, path: Path) -> dict[str, Any]:
    record = running.record()
    return {
        "width": record.width,
        "height": record.height,
        "frames": running.painted,
        "seconds": record.seconds,
        "peak_memory": record.peak_memory,
        "again": f"impasto rerun {shell_word(path)}",
    }


class _Keeper:
    """What is on disk while a film is painted: the frames, a checkpoint every few seconds, a preview."""

    def __init__(self, running: FilmRunning, output: FilmOutput, console: Console) -> None:
        self.running, self.output, self.console = running, output, console
        self.reels = Reels.of(running, output)
        self.reels.forget_from(running.next)
        self.passes = Passes(running, output.workshop / "passes") if running.settings.passes > 1 else None
        self._checked = self._shown = time.monotonic()
        self._waited = SECONDS_BETWEEN_CHECKPOINTS
        self._said_preview = False
        self._before = running.state()

    def before(self, frame: Frame) -> None:
        """Called before a frame is painted: those before it may become a part. The first one is saved at once."""
        if self.reels.is_full():
            self._save()
            self.reels.pack(frame.time)
        elif time.monotonic() - self._checked > self._waited or self.running.painted == 1:
            self._save()
        self._before = self.running.state()

    def after(self, frame: Frame, pictures: Mapping[str, Picture], painted: PaintedFrame) -> None:
        """Called with each painted frame; one that cannot be kept is still to be painted."""
        try:
            if self.passes is None:
                self.reels.add(frame, pictures, painted)
            else:
                self.passes.keep(frame.number, pictures)
        except Exception:
            self.running.go_on_from(*self._before)
            raise
        if self.output.preview and (
            time.monotonic() - self._shown > SECONDS_BETWEEN_PREVIEWS or self.running.painted == 1
        ):
            self._shown = time.monotonic()
            self._write_preview(painted.picture)

    def refine(self, watch: Callable[[int], None]) -> None:
        """Go through the film again, as often as is wanted, and make of it what is kept of other films all along."""
        if self.passes is None:
            return
        self._save()
        self.passes.refine(watch)
        self.reels.forget_from(0)
        for frame, pictures, painted in self.passes.finished():
            if self.running.cancel.is_set():
                raise Interrupted("stopped before the end")
            if self.reels.is_full():
                self.reels.pack(frame.time)
            self.reels.add(frame, pictures, painted)

    def finish(self, *, broken: bool = False) -> None:
        """Write the films, and remove what they were made of."""
        self._save()
        self.reels.pack(self.running.end, at_least=1)
        self.reels.write(self.running.end, broken=broken)
        remove_folder(self.output.workshop)

    def stopped(self) -> Interrupted:
        """What to raise when somebody stopped the work, after saving it."""
        reached = f"stopped after {self.running.painted} frames, {duration(self.running.seconds)}"
        if not self.running.painted:
            remove_folder(self.output.workshop)
            return Interrupted(f"{reached}; nothing was painted yet")
        try:
            self._save()
        except ImpastoError as error:
            return Interrupted(f"{reached}, but not saved: {error}")
        return Interrupted(f"{reached}, and saved; go on with: {self._way_on()}")

    def keep(self) -> None:
        """Save what a failure left, if there is something; saying so must not hide the failure."""
        if not self.running.painted:
            remove_folder(self.output.workshop)
            return
        with suppress(ImpastoError):
            self._save()
        if (self.output.workshop / CHECKPOINT).exists():
            self.console.note(f"what was painted is kept; go on with: {self._way_on()}")

    def _way_on(self) -> str:
        return f"impasto resume {shell_word(self.output.workshop)}"

    def _save(self) -> None:
        """Write the checkpoint; those of large frames take long, and come less often."""
        job, path = self.running.job, self.output.workshop / CHECKPOINT
        where = {"device": str(job.device), "precision": job.precision, "threads": job.threads}
        about = {
            "record": self.running.record().model_dump(mode="json"),
            "folder": str(Path.cwd()),
            "output": self.output.to_json(),
            "where": {**where, "memory": job.memory, "max_pixels": job.max_pixels},
        }
        began = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_checkpoint(path, self.running, about)
        except OSError as error:
            raise PictureError(write_failure(path, error)) from error
        self._checked = time.monotonic()
        self._waited = max(SECONDS_BETWEEN_CHECKPOINTS, (self._checked - began) / SHARE_OF_CHECKPOINTS)

    def _write_preview(self, picture: Picture) -> None:
        height, width = fit(picture.height, picture.width, min(LARGEST_PREVIEW, max(picture.height, picture.width)))
        with suppress(ImpastoError):
            write_picture(Picture(resize(picture.pixels, height, width)), self.output.preview_path, quality=85)
            if not self._said_preview:
                self._said_preview = True
                self.console.note(f"preview: {self.output.preview_path}")

"""A job done in front of somebody: where the result goes, previews, checkpoints, and what happens on Ctrl-C."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from itertools import count, takewhile
from pathlib import Path
from types import FrameType
from typing import Any, Self, TypeVar

from PIL import Image

from impasto.batches import Part
from impasto.console import Console, duration, shell_word
from impasto.errors import ImpastoError, Interrupted, PictureError, UsageError
from impasto.jobs import Running
from impasto.memory import release_memory
from impasto.pictures.arrays import to_pil
from impasto.pictures.atomic import atomic_write, try_folder, write_failure
from impasto.pictures.files import check_writable, read_picture, write_picture
from impasto.pictures.picture import Picture
from impasto.pictures.resize import fit, resize
from impasto.plots import check_plottable, plot_losses
from impasto.records import read_record
from impasto.results import Result
from impasto.sheets import contact_sheet
from impasto.synthesis import Step

SECONDS_BETWEEN_PREVIEWS = 2.0
SECONDS_BETWEEN_CHECKPOINTS = 8.0
SHARE_OF_CHECKPOINTS = 0.05
"""Of the time, at most: those of large prints are large, too."""
LARGEST_PREVIEW = 1024
"""Longest side, in pixels."""
LARGEST_CELL = 400
"""Width of a picture on a contact sheet, in pixels."""
MOST_NAMES = 4
"""In the default name of a result."""

PathOrNone = TypeVar("PathOrNone", Path, Path | None)


@dataclass(frozen=True)
class Output:
    """Where and how a result is written. `plot` and `record` are paths of further files.

    `checkpoint` is where the work is kept until it is done; beside the result if not given.
    """

    path: Path
    quality: int = 95
    bits: int | None = None
    plot: Path | None = None
    record: Path | None = None
    preview: bool = True
    force: bool = False
    checkpoint: Path | None = None

    @property
    def preview_path(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.preview.jpg")

    @property
    def checkpoint_path(self) -> Path:
        return self.checkpoint or self.path.with_name(f"{self.path.stem}.checkpoint.safetensors")

    @property
    def files(self) -> list[Path]:
        """All that is written, the result first."""
        extras = [path for path in (self.plot, self.record) if path is not None]
        return [self.path, *extras, self.checkpoint_path, *([self.preview_path] if self.preview else [])]

    def settled(self, inputs: Iterable[Path]) -> Self:
        """The output as it will be, before the work begins: files that exist are kept by numbers, unless forced.

        Raises `UsageError` where an input would be written or an option is impossible, `PictureError` where
        nothing can be written.
        """
        try:
            self._refuse_folders()
            self._refuse_inputs(inputs)
            free = self if self.force else self._numbered()
        except OSError as error:  # a name that is too long, a folder that may not be read
            raise PictureError(write_failure(Path(error.filename or self.path), error)) from error
        free._check()
        return free

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which `from_json` makes it again, from any folder."""
        return {name: str(v.absolute()) if isinstance(v, Path) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], checkpoint: Path) -> Self:
        """The output that a checkpoint was meant for; raises `PictureError` if it cannot be understood."""
        places = {"path", "plot", "record"}
        known = {one.name for one in fields(cls)} - {"checkpoint"}
        try:
            read: dict[str, Any] = {
                name: Path(v) if name in places and v is not None else v for name, v in values.items()
            }
            return cls(**{name: read[name] for name in known}, checkpoint=checkpoint)
        except (KeyError, TypeError):
            raise PictureError(
                f"{checkpoint}: is a checkpoint of another version of impasto; start the work anew"
            ) from None

    def _refuse_folders(self) -> None:
        for path in (self.path, self.plot, self.record):
            if path is not None and path.is_dir():
                raise PictureError(f"{path}: is a folder; add a file name, such as {path / 'picture.png'}")

    def _refuse_inputs(self, inputs: Iterable[Path]) -> None:
        for one in inputs:
            for path in self.files:
                if path.exists() and one.exists() and path.samefile(one):
                    raise UsageError(f"{path}: is an input, and inputs are never written: choose another name with -o")

    def earlier(self) -> Iterator[Self]:
        """Where there are results or unfinished work of this name: as it is, and numbered."""
        return takewhile(lambda one: any(one._traces()), self._versions())

    def _versions(self) -> Iterator[Self]:
        yield self
        for number in count(2):
            yield replace(self, path=self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}"))

    def _numbered(self) -> Self:
        free = next(one for one in self._versions() if not any(one._traces()))
        return replace(free, plot=_free_name(self.plot), record=_free_name(self.record))

    def _traces(self) -> Iterator[Path]:
        """What there is of a result or of unfinished work; the checkpoint gone on from is its own."""
        own = [self.path] if self.checkpoint else [self.path, self.checkpoint_path, self.preview_path]
        yield from (path for path in own if path.exists())

    def _check(self) -> None:
        check_writable(self.path, quality=self.quality, bits=self.bits)
        if self.plot is not None:
            check_plottable(self.plot)
        places = [path.absolute() for path in (self.path, self.plot, self.record) if path is not None]
        for path in places[1:]:
            _check_place(path)
        if len(set(places)) < len(places):
            raise UsageError(f"{self.path}: is named for two things; choose another name")


def default_path(inputs: Iterable[Path]) -> Path:
    """A name made of the inputs' names, of the first few of many, beside the first of them."""
    paths = list(inputs)
    words = [one.stem for one in paths[:MOST_NAMES]]
    if len(paths) > MOST_NAMES:
        words.append(f"and-{len(paths) - MOST_NAMES}")
    return paths[0].with_name("-".join(words) + ".png")


def perform_all(parts: Sequence[Part], sheet: Output, columns: int, console: Console) -> None:
    """Perform jobs that belong together: their results beside a contact sheet of them all, named after it.

    Raises what `perform` does; results that are finished by then stay. Given again, the same parts go on from there:
    what is finished is not painted again, and what was stopped goes on, unless the output is forced.
    """
    for name in ("plot", "record"):
        if getattr(sheet, name) is not None:
            raise UsageError(f"{name}: is of one picture, and these are {len(parts)}: leave it out")
    outputs = [replace(sheet, path=sheet.path.with_name(f"{part.name}.png")) for part in parts]
    if any(output.path == sheet.path for output in outputs):
        raise UsageError(f"{sheet.path}: is the name of one of the pictures: give the sheet another one with -o")
    place = replace(sheet, bits=None).settled(path for part in parts for path in part.job.paths.values())
    done = []
    for part, output in zip(parts, outputs, strict=True):
        done.append((part.caption, _cell(_part(part, output, console))))
        release_memory()
    width = max(picture.width for _, picture in done)
    pictures = read_picture(contact_sheet(done, columns=columns, width=width), name=str(place.path))
    write_picture(pictures, place.path, quality=place.quality)
    console.result(str(place.path), {"width": pictures.width, "height": pictures.height})


def _part(part: Part, output: Output, console: Console) -> Image.Image:
    """The result of a part: painted now, gone on with, or there already."""
    running = part.job.begin(console.download)
    for earlier in [] if output.force else output.earlier():
        finished = _finished(running, earlier, part.job.max_pixels)
        if finished is not None:
            console.result(str(earlier.path), {"width": finished.width, "height": finished.height})
            return to_pil(finished)
        if running.take_up(earlier.checkpoint_path):
            output = replace(earlier, checkpoint=earlier.checkpoint_path)
            break
    output = output.settled(part.job.paths.values())
    try:
        return perform(running, output, console).picture
    except Interrupted as error:
        if output.force or not output.checkpoint_path.exists():
            raise
        raise Interrupted(f"{error}; the same command goes on with all that is left") from None


def _finished(running: Running, output: Output, max_pixels: int) -> Picture | None:
    """The result of this very work, if it is there already."""
    try:
        if not output.path.is_file() or not running.record().same_work(read_record(output.path)):
            return None
        picture = read_picture(output.path, max_pixels=max_pixels)
    except ImpastoError:  # something else of that name
        return None
    return picture if output.bits in (None, picture.bits) else None


def _cell(picture: Image.Image) -> Image.Image:
    """A picture as small as the sheet needs it."""
    width = min(LARGEST_CELL, picture.width)
    return picture.convert("RGB").resize((width, max(1, round(picture.height * width / picture.width))))


def perform(running: Running, output: Output, console: Console) -> Result:
    """Run a job to its end and write the result, with a preview and a checkpoint on the way.

    Interrupted by Ctrl-C or SIGTERM it saves a checkpoint and raises `Interrupted`, which says how to go on. After
    any other failure, too, what was reached stays in the checkpoint.
    """
    keeper = _Keeper(running, output, console)
    try:
        console.begin(running, running.estimate_seconds())
        with _stopped_by_signals(running):
            result = _work(running, output, console, keeper)
        keeper.clean_up()
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
            result.painting, output.path, quality=output.quality, bits=output.bits, record=result.record.to_json()
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
    extras = {"plot": output.plot, "record": output.record}
    return facts | {name: str(path) for name, path in extras.items() if path is not None}


def _write_extras(result: Result, output: Output) -> None:
    if output.plot is not None:
        plot_losses(result.history, output.plot)
    if output.record is not None:
        try:
            with atomic_write(output.record) as temporary:
                temporary.write_text(result.record.to_json(), encoding="utf-8")
        except OSError as error:
            raise PictureError(write_failure(output.record, error)) from error


def _check_place(path: Path) -> None:
    """Raise the `PictureError` that writing a file there would meet, whatever its format."""
    try:
        try_folder(path)
    except OSError as error:
        raise PictureError(write_failure(path, error)) from error


def _free_name(path: PathOrNone) -> PathOrNone:
    """The path, or the first of `name-2`, `name-3`, … that does not exist."""
    candidate, number = path, 2
    while path is not None and candidate is not None and candidate.exists():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate


class _Keeper:
    """Observer that keeps a preview and a checkpoint on disk, each every few seconds.

    They are for safety: where they cannot be written, that is said once and the work goes on.
    """

    def __init__(self, running: Running, output: Output, console: Console) -> None:
        self.running, self.output, self.console = running, output, console
        self._previewed = time.monotonic()
        self._checked = time.monotonic()
        self._said: set[str] = set()

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        if self.output.preview and now - self._previewed > SECONDS_BETWEEN_PREVIEWS:
            self._previewed = now
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
            place = _free_name(Path(tempfile.gettempdir()) / place.name)
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
def _stopped_by_signals(running: Running) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the work after the step at hand; a second one at once."""

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
        for number, handler in before.items():
            signal.signal(number, handler)

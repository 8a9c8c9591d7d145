"""Films from Python: a file made of a file, or painted frames of whatever gives frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

from impasto.console import QuietConsole
from impasto.errors import UsageError
from impasto.films.jobs import film_job
from impasto.films.output import FilmOutput, default_film
from impasto.films.running import FilmRunning
from impasto.films.session import perform_film
from impasto.jobs import as_list
from impasto.machine import Machine, Precision
from impasto.methods.film import FilmPainter, PaintedFrame
from impasto.methods.film_settings import OF_WHOLE_FILMS, FilmSettings
from impasto.pictures.files import Source, read_picture
from impasto.pictures.film import Frame
from impasto.pictures.map_files import read_map
from impasto.records import Record

WHERE = ("device", "precision", "threads", "memory", "max_pixels")
"""Options that say where and within what the work is done."""
OUTPUT = ("codec", "quality", "beside", "preview", "force")


def film(
    content: str | PathLike[str],
    style: str | PathLike[str] | Sequence[str | PathLike[str]],
    output: str | PathLike[str] | None = None,
    *,
    observer: Callable[[int, int, float], None] = lambda done, total, seconds: None,
    cancel: threading.Event | None = None,
    **options: Any,
) -> tuple[Path, Record]:
    """Repaint a film in the manner of `style`, or of a list of styles; returns where it is, and its record.

    `content` is a video, an animation, or a folder of numbered frames; `output`, by default named after the inputs,
    decides by its suffix what is written, as on the command line. `options` are those of `FilmSettings`; `codec`,
    `quality`, `beside`, `preview` and `force`; and `device`, `precision`, `threads`, `memory`, `max_pixels` as of
    `transfer`. The observer is told of frames done, frames in all (0: unknown) and seconds. Setting `cancel`, from
    another thread, stops the work with `Interrupted`, to be gone on with by `impasto resume`. Raises `ImpastoError`.
    """
    where = {name: options.pop(name) for name in WHERE if name in options}
    how = {name: options.pop(name) for name in OUTPUT if name in options}
    paths = [Path(one) for one in (content, *as_list(style))]
    job = film_job(paths, options, **where)
    running = FilmRunning.begin(job)
    if cancel is not None:
        running.cancel = cancel
    place = FilmOutput(Path(output) if output is not None else default_film(paths), **how)
    place = place.settled(job.paths.values())
    perform_film(running, place, _Observed(observer))
    return place.path, running.record()


def paint_frames(
    frames: Iterable[Source],
    style: Source | Sequence[Source],
    *,
    rate: float = 25,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    memory: str | int | None = None,
    **settings: Any,
) -> Iterator[PaintedFrame]:
    """Paint frames as they come, from a camera, say: pictures of one size in any form that `transfer` takes.

    Yields a `PaintedFrame` for each; its `.picture` is like that of a result. `rate` is in frames a second and matters
    to `style_times` and `cuts` alone. `settings` are those of `FilmSettings` but for `between`, `passes` and `loop`;
    masks and maps stay the same throughout. Raises `ImpastoError`.
    """
    if not 0 < rate <= 1000:
        raise UsageError(f"rate {rate}: must lie above 0 and be at most 1000 frames a second")
    fields = FilmSettings.model_fields
    idle = [name for name in OF_WHOLE_FILMS if settings.get(name) not in (None, fields[name].default)]
    if idle:
        raise UsageError(
            f"{', '.join(idle)}: count for whole films, and here frames come one by one: use impasto.film, or leave "
            "them out"
        )
    chosen = FilmSettings.of(**settings)
    machine = Machine.choose(device, precision, threads, memory)
    painter = FilmPainter([read_picture(one) for one in as_list(style)], chosen, machine)
    pictures = {
        role: read_map(path) if chosen.is_map(role) else read_picture(path) for role, path in chosen.pictures.items()
    }
    return _painted(frames, painter, Fraction(str(rate)), pictures)


def _painted(
    frames: Iterable[Source], painter: FilmPainter, rate: Fraction, pictures: Mapping[str, Any]
) -> Iterator[PaintedFrame]:
    size: tuple[int, int] | None = None
    for number, source in enumerate(frames):
        picture = read_picture(source, name=f"frame {number}")
        if size is not None and size != (picture.width, picture.height):
            raise UsageError(
                f"frame {number}: is {picture.width}×{picture.height}, and those before it were {size[0]}×{size[1]}: "
                "give frames of one size"
            )
        size = picture.width, picture.height
        yield painter.paint(Frame(number, number / rate, picture), pictures)


class _Observed(QuietConsole):
    """Tells an observer of frames, and nobody of anything else."""

    def __init__(self, observer: Callable[[int, int, float], None]) -> None:
        super().__init__()
        self._observer = observer

    def progress(self, what: str, done: int, total: int, seconds: float) -> None:
        self._observer(done, total, seconds)

    def result(self, path: str, facts: dict[str, Any]) -> None:
        pass

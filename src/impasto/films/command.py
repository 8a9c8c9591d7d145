"""`impasto film` and `impasto film-report`, as they are typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from impasto.console import Console
from impasto.errors import UsageError
from impasto.options import COMMON, OUTPUT, OutputOptions

if TYPE_CHECKING:
    from impasto.jobs import Job
    from impasto.records import Record

COMPRESSION = ("quality", "codec")
"""Options of a film that its record keeps as facts."""
OF_PICTURES = {
    "quality": "is a word for films: use --set quality=draft, good, high or master",
    "bits": "are those of a film's codec: leave it out, or use --set quality=master",
    "plot": "films have none: use impasto film-report",
    "record": "films hold it themselves: leave it out",
    "field": "films have none: leave it out",
}
"""Options of pictures' output, and what is to be done instead where a film is made again."""


@dataclass(frozen=True)
class FilmOutputOptions:
    """Where films go. Names of fields are names of options."""

    output: Annotated[
        Path | None,
        Parameter(
            name=["--output", "-o"],
            group=COMMON,
            help="Where the film goes: .mp4, .mov, .mkv, .webm, .gif, .webp, .png (animated), or a folder of frames. "
            "[default: named after the inputs]",
        ),
    ] = None
    force: Annotated[
        bool,
        Parameter(group=OUTPUT, negative=(), show_default=False, help="Overwrite what exists; otherwise numbered."),
    ] = False
    quality: Annotated[
        Literal["draft", "good", "high", "master"], Parameter(group=OUTPUT, help="Of the film's compression.")
    ] = "high"
    codec: Annotated[
        Literal["h264", "h265", "vp9", "av1", "prores"] | None,
        Parameter(group=OUTPUT, help="How it is compressed. [default: h264, in .webm vp9]"),
    ] = None
    beside: Annotated[
        Literal["source", "frames"] | None,
        Parameter(
            group=OUTPUT,
            help="A second film: the source beside the result (source), or with each frame painted alone between "
            "them (frames; six times the work).",
        ),
    ] = None
    preview: Annotated[
        bool, Parameter(group=OUTPUT, show_default=False, help="Whether the last frame is on disk while work goes on.")
    ] = True


def run_film(
    console: Console,
    paths: Sequence[Path],
    settings: Mapping[str, Any],
    where: Mapping[str, Any],
    options: FilmOutputOptions,
) -> None:
    """Paint a film; raises `ImpastoError`s."""
    from impasto.films.jobs import film_job
    from impasto.films.output import default_film

    job = film_job(paths, settings, **where)
    perform(console, job, options, default_film(paths))


def again(
    console: Console,
    record: Record,
    film: Path,
    changes: Mapping[str, str],
    where: Mapping[str, Any],
    options: OutputOptions,
) -> None:
    """Make a film again, compressed as it was unless `changes` say how; raises `ImpastoError`s."""
    from impasto.jobs import Job

    refused = [f"{name}: {advice}" for name, advice in OF_PICTURES.items() if getattr(options, name) is not None]
    if refused:
        raise UsageError("; ".join(refused))
    how: dict[str, Any] = {name: record.facts[name] for name in COMPRESSION if name in record.facts}
    if options.output is not None and options.output.suffix != film.suffix:
        how.pop("codec", None)  # another container
    how |= {name: value for name, value in changes.items() if name in COMPRESSION}
    others = {name: value for name, value in changes.items() if name not in COMPRESSION}
    job = Job.from_record(record, film.parent, others, **where)
    place = film.parent if film.suffix == ".json" else film
    perform(console, job, FilmOutputOptions(options.output, options.force, preview=options.preview, **how), place)


def perform(console: Console, job: Job, options: FilmOutputOptions, default: Path) -> None:
    """Do a film job; raises `ImpastoError`s."""
    from impasto.films.output import FilmOutput
    from impasto.films.running import FilmRunning
    from impasto.films.session import perform_film

    running = FilmRunning.begin(job, console.download)
    output = FilmOutput(
        options.output or default,
        codec=options.codec,
        quality=options.quality,
        beside=options.beside,
        preview=options.preview,
        force=options.force,
    )
    perform_film(running, output.settled(job.paths.values()), console)

"""`impasto film-report`: how steady a film is, in numbers and as a plot."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from impasto.console import Console
from impasto.errors import UsageError
from impasto.options import MAX_PIXELS, TalkOptions

if TYPE_CHECKING:
    from impasto.films.report import FilmReport
    from impasto.methods.film_settings import FilmSettings
    from impasto.pictures.picture import Picture

BASELINE = "baseline"


def film_report_command(console: Console) -> Callable[..., None]:
    """The command."""

    def film_report(
        film: Annotated[Path, Parameter(help="The painted film.")],
        /,
        *,
        source: Annotated[
            Path | None, Parameter(help="What it was painted from. [default: as its record says]")
        ] = None,
        baseline: Annotated[
            Path | None, Parameter(help="Another film of the same, to compare with: painted frame by frame, say.")
        ] = None,
        style: Annotated[
            list[Path] | None,
            Parameter(negative=(), consume_multiple=True, help="Its styles. [default: as its record says]"),
        ] = None,
        output: Annotated[
            Path | None,
            Parameter(name=["--output", "-o"], help="A plot over time: .png, .svg or .pdf. [default: none]"),
        ] = None,
        force: Annotated[bool, Parameter(negative=(), show_default=False, help="Overwrite the plot.")] = False,
        max_pixels: Annotated[int, Parameter(help="Largest frame accepted, in pixels.")] = MAX_PIXELS,
        talk: Annotated[TalkOptions | None, Parameter(name="*")] = None,
    ) -> None:
        """Say how steady a painted film is: errors along the motion of its source, style distance, drift of colour."""
        report = _report(console, film, source, baseline, style, output, force, max_pixels)
        console.facts([*_rows(report)])
        if output is not None:
            console.result(str(output), {})

    return film_report


def _report(
    console: Console,
    film: Path,
    source: Path | None,
    baseline: Path | None,
    styles: Sequence[Path] | None,
    output: Path | None,
    force: bool,
    max_pixels: int,
) -> FilmReport:
    from impasto.films.report import measure, plot_report
    from impasto.films.sources import exact_rate, part_of
    from impasto.output import refuse_inputs
    from impasto.pictures.film import open_film
    from impasto.plots import check_plottable

    result = open_film(film, max_pixels=max_pixels)
    source, styles, settings = _as_recorded(console, film, source, styles)
    paths = [source, film, *([] if baseline is None else [baseline])]
    if output is not None:
        check_plottable(output)
        refuse_inputs([output], paths)
        if output.exists() and not force:
            raise UsageError(f"{output}: is there already: choose another name or use --force")
    rate = exact_rate(None if settings is None else settings.rate)
    painted = open_film(source, rate=rate, max_pixels=max_pixels)
    films = {"source": part_of(painted, None if settings is None else settings.between), "result": result}
    if baseline is not None:
        films[BASELINE] = open_film(baseline, max_pixels=max_pixels)
    pictures = _pictures(styles, max_pixels)
    began, total = time.perf_counter(), films["result"].count or 0

    def watch(count: int) -> None:
        console.progress("frames", count, max(total, count), time.perf_counter() - began)

    try:
        report = measure(films, pictures, settings, watch=watch)
    finally:
        console.finish()
    if output is not None:
        plot_report(report, output)
    return report


def _as_recorded(
    console: Console, film: Path, source: Path | None, styles: Sequence[Path] | None
) -> tuple[Path, Sequence[Path], FilmSettings | None]:
    """The source of a film, its styles and its settings, from its record where they are not given.

    Raises `ImpastoError`s where it must say what the source is; otherwise a note tells what is amiss with it.
    """
    from impasto.errors import ImpastoError
    from impasto.jobs import Job, find_input
    from impasto.methods.film_settings import FilmSettings
    from impasto.records import find_record

    found: dict[str, Path] = {}
    settings = None
    try:
        record = find_record(film)
        if record is not None:
            job = Job.from_record(record.model_copy(update={"inputs": ()}), film.parent)
            settings = job.settings if isinstance(job.settings, FilmSettings) else None
            for one in record.inputs:
                option, given = ("--source", source) if one.role == "content" else ("--style", styles)
                if given is None and job.method.is_input(one.role):
                    found[one.role] = find_input(one, film.parent, f"name its new place with {option}")
    except ImpastoError as error:
        if source is None:
            raise
        console.note(str(error))
        found.clear()  # the distance to some of the styles would tell nothing
    source = source or found.pop("content", None)
    if source is None:
        raise UsageError(f"{film}: holds no record of what it was painted from: name it with --source")
    return source, [*found.values()] if styles is None else styles, settings


def _pictures(paths: Sequence[Path], max_pixels: int) -> list[Picture]:
    from impasto.pictures.files import read_picture

    return [read_picture(path, max_pixels=max_pixels) for path in paths]


def _rows(report: FilmReport) -> list[tuple[str, str]]:
    """What is printed: a line for each film, and how ours compares."""
    rows = [("frames", f"{len(report.times)}, {len(report.shots)} shot{'s' if len(report.shots) != 1 else ''}")]
    for name, track in report.tracks.items():
        errors = "  ".join(f"{words} {_number(1e3 * track.mean(which))}" for which, words in ERRORS.items())
        style = "" if not track.style else f"  style {_number(track.style_distance)}"
        rows.append((name, f"{errors}{style}  drift {_number(track.drift)}"))
    if BASELINE in report.tracks:
        ratios = "  ".join(f"{words} {_number(report.ratio(which))}" for which, words in ERRORS.items())
        rows.append(("result / baseline", ratios))
    rows.append(("", "errors in thousandths, squared; style as a relative loss; drift of the mean colour in 1/255"))
    return rows


ERRORS = {"1": "to the last frame", "5": "five back", "first": "to the first"}


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.3g}"

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

BASELINE = "frame by frame"


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
    from impasto.films.sources import part_of
    from impasto.output import refuse_inputs
    from impasto.pictures.film import open_film
    from impasto.plots import check_plottable

    found_source, found_styles, settings = _as_recorded(film)
    source = source or found_source
    if source is None:
        raise UsageError(f"{film}: holds no record of what it was painted from: name it with --source")
    paths = {"source": source, "result": film, **({} if baseline is None else {BASELINE: baseline})}
    if output is not None:
        check_plottable(output)
        refuse_inputs([output], paths.values())
        if output.exists() and not force:
            raise UsageError(f"{output}: is there already: choose another name or use --force")
    films = {name: open_film(path, max_pixels=max_pixels) for name, path in paths.items()}
    films["source"] = part_of(films["source"], None if settings is None else settings.between)
    pictures = _pictures(styles if styles is not None else found_styles, max_pixels)
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


def _as_recorded(film: Path) -> tuple[Path | None, list[Path], FilmSettings | None]:
    """The source, the styles that are still there and the settings of a film, as far as it has a record."""
    from impasto.errors import ImpastoError
    from impasto.jobs import Job
    from impasto.methods.film_settings import FilmSettings
    from impasto.records import read_record

    try:
        record = read_record(film)
        job = Job.from_record(record, film.parent)
    except ImpastoError:
        return None, [], None
    if not isinstance(job.settings, FilmSettings):
        return None, [], None
    paths = job.paths
    styles = [path for role, path in paths.items() if role.startswith("style") and job.method.is_input(role)]
    return paths.get("content"), styles, job.settings


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

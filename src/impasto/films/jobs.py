"""Film jobs from what somebody named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from impasto.films.sources import first_frame, open_source, part_of
from impasto.jobs import Job, inputs_of
from impasto.methods import find_method
from impasto.methods.film_settings import FilmSettings
from impasto.pictures.picture import Picture
from impasto.sets import blend_job


def film_job(paths: Sequence[str | PathLike[str]], settings: Mapping[str, Any], **where: Any) -> Job:
    """The job of painting the first of some paths in the manner of the others; raises `ImpastoError`s.

    With `blend` among the settings those may be folders and style libraries, too: the works nearest to the first frame
    that is painted are chosen.
    """
    method = find_method("film")
    sources = [Path(path) for path in paths]
    inputs = inputs_of(method, sources)
    job = Job.of("film", inputs, settings, **where)
    chosen = job.settings
    if not isinstance(chosen, FilmSettings) or not chosen.blend:
        return job
    film, *works = sources
    folders = any(work.is_dir() for work in works)
    seen = _first_painted(film, chosen, job.max_pixels) if folders else None
    return blend_job(film, works, settings, seen=seen, method="film", **where)


def _first_painted(path: Path, settings: FilmSettings, max_pixels: int) -> Picture:
    """The first frame that is painted."""
    return first_frame(part_of(open_source(path, settings.rate, max_pixels), settings.between))

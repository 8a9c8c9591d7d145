"""Film jobs from what somebody named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from impasto.films.sources import first_frame
from impasto.jobs import Job, inputs_of
from impasto.methods import find_method
from impasto.pictures.film import open_film
from impasto.sets import blend_job


def film_job(paths: Sequence[str | PathLike[str]], settings: Mapping[str, Any], **where: Any) -> Job:
    """The job of painting the first of some paths in the manner of the others; raises `ImpastoError`s.

    With `blend` among the settings those may be folders and style libraries, too: the works nearest to the first frame
    are chosen.
    """
    method = find_method("film")
    sources = [Path(path) for path in paths]
    inputs = inputs_of(method, sources)
    if not method.settings.of(**settings).model_dump()["blend"]:
        return Job.of("film", inputs, settings, **where)
    limit = {"max_pixels": where["max_pixels"]} if "max_pixels" in where else {}
    film, *works = sources
    return blend_job(film, works, settings, seen=first_frame(open_film(film, **limit)), method="film", **where)

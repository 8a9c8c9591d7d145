"""Several jobs that belong together: grids of contents and styles, strips from one style to another."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any, cast

from impasto.encoders import DownloadObserver
from impasto.errors import UsageError, counted
from impasto.jobs import Job
from impasto.pictures.files import Source, read_picture
from impasto.pictures.picture import Picture

MOST_PICTURES = 1000


@dataclass(frozen=True)
class Part:
    """One of several jobs, with the name of its result (no suffix) and what a contact sheet says of it."""

    job: Job
    name: str
    caption: str


def grid(
    contents: Sequence[Source], styles: Sequence[Source], settings: Mapping[str, Any], **where: Any
) -> tuple[Part, ...]:
    """Every content in every style, row by row: one style a column. Raises `ImpastoError`s before any work."""
    if not contents or not styles:
        given = f"{counted(len(contents), 'content')} and {counted(len(styles), 'style')}"
        raise UsageError(f"grid: {given} given: it takes contents, and after --styles their styles")
    _check_count(len(contents) * len(styles))
    rows, columns = (_checked(sources, where) for sources in (contents, styles))
    names = list(_unique(f"{_stem(content)}-{_stem(style)}" for content, style in product(rows, columns)))
    known: dict[Any, Any] = {}
    return tuple(
        Part(
            Job.of("transfer", {"content": content, "style": style}, settings, known=known, **where),
            name,
            f"{_name(content)}  ·  {_name(style)}",
        )
        for name, (content, style) in zip(names, product(rows, columns), strict=True)
    )


def strip(
    content: Source, styles: Sequence[Source], count: int, settings: Mapping[str, Any], **where: Any
) -> tuple[Part, ...]:
    """`count` pictures on the way from one style to another. Raises `ImpastoError`s before any work."""
    if len(styles) != 2:
        raise UsageError(f"strip takes one content and two style pictures, {counted(len(styles), 'style')} given")
    if count < 2:
        raise UsageError(f"pictures: a strip has 2 or more, not {count}")
    if settings.get("style_weights") is not None:
        raise UsageError("style_weights: a strip goes through all of them: leave them out")
    _check_count(count)
    photo, first, second = _checked([content, *styles], where)
    inputs = {"content": photo, "style": first, "style2": second}
    known: dict[Any, Any] = {}
    found = []
    for number in range(count):
        share = number / (count - 1)
        weights = (1 - share, share)
        job = Job.of("transfer", inputs, {**settings, "style_weights": weights}, known=known, **where)
        found.append(Part(job, str(number + 1), f"{1 - share:.2f} {_name(first)}  ·  {share:.2f} {_name(second)}"))
    return tuple(found)


def prepare(parts: Sequence[Part], downloads: DownloadObserver | None = None) -> None:
    """Raise what would stop any of the parts: each picture is prepared once, with whatever it comes with first."""
    seen: set[tuple[str, int | str]] = set()
    for part in parts:
        own = {(role, str(s) if isinstance(s, str | PathLike) else id(s)) for role, s in part.job.inputs.items()}
        if own - seen:
            with warnings.catch_warnings(action="ignore"):  # they come again when the part's turn comes
                part.job.begin(downloads)
        seen |= own


def _check_count(count: int) -> None:
    if count > MOST_PICTURES:
        raise UsageError(f"{counted(count, 'picture')} at once are too many for one sheet: {MOST_PICTURES} at most")


def _checked(sources: Sequence[Source], where: Mapping[str, Any]) -> list[Source]:
    """The sources, once each of them has been read: files are read again when their turn comes, to save memory."""
    limit = {"max_pixels": where["max_pixels"]} if "max_pixels" in where else {}
    found: list[Source] = []
    for one in sources:
        name = Path(one).name if isinstance(one, str | PathLike) else None
        picture = read_picture(one, **limit, name=name)
        found.append(picture if name is None else one)
    return found


def _name(source: Source) -> str:
    """What a picture is called: by its file, or the name of one in memory."""
    return Path(source).name if isinstance(source, str | PathLike) else cast(Picture, source).name


def _stem(source: Source) -> str:
    return Path(_name(source)).stem


def _unique(names: Iterator[str]) -> Iterator[str]:
    """The names, with a number where one comes again."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"

"""`impasto library …`: style libraries on the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from impasto.console import Console
from impasto.errors import LibraryError, UsageError, counted
from impasto.options import MAX_PIXELS, TalkOptions

if TYPE_CHECKING:
    from impasto.library.report import Report
    from impasto.library.searching import Selection

MOST_LISTED = 20
"""Files that were refused, in full; of more the number."""

Talk = Annotated[TalkOptions | None, Parameter(name="*")]
Place = Annotated[Path, Parameter(help="The library's folder.")]
Tags = Annotated[
    list[str] | None,
    Parameter(negative=(), help="Works with this tag; given several times, with all."),
]
Author = Annotated[str | None, Parameter(help="Works of an author; a part of the name will do.")]
Text = Annotated[str | None, Parameter(help="Works with this in a title, author, tag or path.")]
Like = Annotated[Path | None, Parameter(help="A picture: those most like it come first.")]
Processes = Annotated[int | None, Parameter(help="How many read pictures at once. [default: one for each core]")]
MaxPixels = Annotated[int, Parameter(help="Largest picture accepted, in pixels.")]


def library_app(console: Console) -> App:
    """The commands."""
    app = App(name="library", help="Style libraries: works with their tags, searched and blended by the thousand.")

    @app.command
    def add(
        library: Place,
        /,
        *pictures: Annotated[Path, Parameter(help="Pictures, and folders of them.", show_default=False)],
        tags_from: Annotated[
            str | None,
            Parameter(
                help="folders, sidecar, or a .csv, .tsv, .parquet or .jsonl with a column of files. "
                "[default: folders, for new works]"
            ),
        ] = None,
        encoder: Annotated[str | None, Parameter(help="Of a new library. [default: lite]")] = None,
        processes: Processes = None,
        max_pixels: MaxPixels = MAX_PIXELS,
        talk: Talk = None,
    ) -> None:
        """Add pictures to a library, which is made if it is not there; what is known is not read again."""
        from impasto.library.adding import add as add_to

        if not pictures:
            raise UsageError("library add takes a library and pictures or folders, none was given")
        observer = _watching(console, library)
        report = add_to(
            library,
            pictures,
            facts=tags_from,
            encoder=encoder,
            processes=_processes(processes),
            max_pixels=max_pixels,
            observer=observer,
        )
        _tell(report, library, console)

    @app.command
    def rebuild(
        library: Place,
        /,
        *,
        encoder: Annotated[str | None, Parameter(help="Another one. [default: the same]")] = None,
        missing: Annotated[bool, Parameter(negative=(), help="Leave out works and folders that are gone.")] = False,
        processes: Processes = None,
        max_pixels: MaxPixels = MAX_PIXELS,
        talk: Talk = None,
    ) -> None:
        """Make a damaged library anew, or one of another encoder, from all that was added to it."""
        from impasto.library.upkeep import rebuild as rebuild_all

        report = rebuild_all(
            library,
            encoder=encoder,
            missing=missing,
            processes=_processes(processes),
            max_pixels=max_pixels,
            observer=_watching(console, library),
        )
        _tell(report, library, console, "work")

    @app.command
    def search(
        library: Place,
        /,
        *,
        tag: Tags = None,
        author: Author = None,
        text: Text = None,
        like: Like = None,
        limit: Annotated[int | None, Parameter(help="Most works that are listed (1 …).")] = None,
        sheet: Annotated[Path | None, Parameter(help="Also write a sheet of their thumbnails: found.jpg.")] = None,
        talk: Talk = None,
    ) -> None:
        """List the works that have a tag, an author, a text, or the look of a picture."""
        from impasto.pictures.files import check_writable

        if sheet is not None:
            check_writable(sheet)
        found = _found(library, tag, author, text, like, limit)
        console.listing("work", found.rows("path", "title", "author", "tags"))
        if sheet is not None:
            _write_sheet(found, sheet)
            console.result(str(sheet), {})

    @app.command(name="list")
    def list_(library: Place, /, *, talk: Talk = None) -> None:
        """List the tags and authors, with the numbers of their works."""
        from impasto.library.searching import counts
        from impasto.library.store import open_library

        console.listing("tally", counts(open_library(library)))

    @app.command
    def info(library: Place, /, *, talk: Talk = None) -> None:
        """What a library holds, what it is made with, and whether its files are sound."""
        from impasto.library.store import open_library
        from impasto.library.upkeep import facts

        console.facts(facts(open_library(library)))

    @app.command
    def remove(
        library: Place,
        /,
        *pictures: Annotated[Path, Parameter(help="Pictures that were added, and folders.", show_default=False)],
        tag: Tags = None,
        author: Author = None,
        text: Text = None,
        missing: Annotated[bool, Parameter(negative=(), help="Works whose pictures are gone.")] = False,
        talk: Talk = None,
    ) -> None:
        """Take works out of a library for good; their pictures stay where they are."""
        from impasto.library import upkeep
        from impasto.library.store import open_library

        asked = [bool(pictures), (tag, author, text) != (None, None, None), missing]
        if sum(asked) != 1:
            raise UsageError("library remove takes pictures or folders, or --tag, --author and --text, or --missing")
        if missing:
            chosen = upkeep.missing(open_library(library))
        elif pictures:
            chosen = upkeep.named(open_library(library), pictures)
        else:
            chosen = _found(library, tag, author, text)
        upkeep.remove(chosen, for_good=not missing)
        console.note(f"{counted(len(chosen), 'work')} taken out of {library}")

    return app


def _found(
    library: Path,
    tag: Sequence[str] | None,
    author: str | None,
    text: str | None,
    like: Path | None = None,
    limit: int | None = None,
) -> Selection:
    from impasto.library.searching import search
    from impasto.library.store import open_library
    from impasto.pictures.files import read_picture

    picture = None if like is None else read_picture(like)
    return search(open_library(library), tags=tag or (), author=author, text=text, like=picture, limit=limit)


def _processes(wanted: int | None) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if wanted is not None and not 1 <= wanted <= 4 * cores:
        raise UsageError(f"processes {wanted}: must be a whole number of 1 to {4 * cores}, four for each core")
    return wanted or cores


def _watching(console: Console, library: Path) -> Callable[[int, int], None]:
    began = time.monotonic()
    return lambda done, total: console.progress(library.name, done, total, time.monotonic() - began)


def _tell(report: Report, library: Path, console: Console, noun: str = "new work") -> None:
    """What has become of the files; raises `LibraryError` if something is to be mended."""
    parts = [f"{counted(report.added, noun)} in {library}"]
    parts += [f"{report.known} known already"] if report.known else []
    parts += [f"{report.changed} of them with new facts"] if report.changed else []
    parts += [f"{report.unlisted} not in the table of facts"] if report.unlisted else []
    parts += [f"{counted(len(report.duplicates), 'duplicate')} left out"] if report.duplicates else []
    were = "was" if report.removed == 1 else "were"
    parts += [f"{report.removed} that {were} removed before left out"] if report.removed else []
    pictures_are = "picture is" if report.gone == 1 else "pictures are"
    parts += [f"{counted(report.gone, 'work')} left out whose {pictures_are} gone"] if report.gone else []
    console.note(", ".join(parts))
    for table, rows in report.unused.items():
        are = "is" if rows == 1 else "are"
        console.note(f"{counted(rows, 'row')} of {Path(table).name} {are} about no picture here")
    reasons = [*report.refused.values(), *report.stale.values()]
    for reason in reasons[:MOST_LISTED]:
        console.error(reason)
    if reasons:
        outcomes = [f"{counted(len(report.refused), 'picture')} left out"] if report.refused else []
        outcomes += [f"{counted(len(report.stale), 'work')} with old facts"] if report.stale else []
        more = f" ({len(reasons) - MOST_LISTED} more)" if len(reasons) > MOST_LISTED else ""
        raise LibraryError(
            f"{' and '.join(outcomes)}, as said above{more}: mend or remove what is named there, and give the same "
            "command again"
        )


def _write_sheet(found: Selection, path: Path) -> None:
    import io

    from PIL import Image

    from impasto.pictures.files import read_picture, write_picture
    from impasto.sheets import contact_sheet

    rows = found.rows("title", "thumbnail")
    pictures = [(row["title"], Image.open(io.BytesIO(row["thumbnail"]))) for row in rows]
    write_picture(read_picture(contact_sheet(pictures, columns=6, width=160)), path)

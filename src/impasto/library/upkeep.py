"""Keeping a library: works taken out of it, and all of it made anew."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from impasto.errors import ImpastoError, Interrupted, LibraryError, counted, near_file
from impasto.library.adding import Observer, Report, add, open_or_create
from impasto.library.search import Selection, counts
from impasto.library.store import Change, Library, commit, open_library, replace_by

REBUILT = ".rebuilt"
"""Where a library grows that is to take the place of the one around it."""


def remove(selection: Selection) -> Library:
    """The library without some works; their pictures stay. Raises `LibraryError` where it cannot be written."""
    gone = frozenset(row["id"] for row in selection.rows("id"))
    return commit(selection.library, Change(gone=gone))


def missing(library: Library) -> Selection:
    """The works whose pictures are not there any more."""
    rows = library.works("path")["path"].to_pylist()
    return Selection(library, np.array([n for n, path in enumerate(rows) if not _is_there(library, path)], np.intp))


def named(library: Library, paths: Sequence[Path]) -> Selection:
    """The works of some pictures; raises `LibraryError`, with a near match, for one that is none of them."""
    known = {path: place for place, path in enumerate(library.works("path")["path"].to_pylist())}
    places = []
    for path in paths:
        whole = str(path.resolve())
        if whole not in known:
            near = near_file(path.name, {Path(one).name for one in known})
            raise LibraryError(f"{path}: is no work of {library.folder}{near}")
        places.append(known[whole])
    return Selection(library, np.array(sorted(set(places)), np.intp))


def facts(library: Library) -> list[tuple[str, str]]:
    """What there is, as pairs of names and words; raises `LibraryError` for a file that is damaged."""
    manifest = library.manifest
    for shard in manifest.shards:
        library.works_of(shard)
        library.sketches_of(shard).isfinite().all()
    tallies = counts(library)
    skipped = library.skipped().to_pylist()
    sizes = sum(one.stat().st_size for one in library.folder.iterdir() if one.is_file())
    return [
        ("works", f"{len(library):,} in {counted(len(manifest.shards), 'shard')}, {sizes / 1e6:.1f} MB"),
        ("encoder", manifest.encoder),
        ("tags", str(sum(one["kind"] == "tag" for one in tallies))),
        ("authors", str(sum(one["kind"] == "author" for one in tallies))),
        ("without pictures", f"{len(missing(library)):,}"),
        ("duplicates left out", f"{sum(one['duplicate'] for one in skipped):,}"),
        ("not readable", f"{sum(not one['duplicate'] for one in skipped):,}"),
        *(("added", f"{one.path}, tags from {one.facts}") for one in manifest.sources),
    ]


def _is_there(library: Library, path: str) -> bool:
    try:
        library.find(path)
    except LibraryError:
        return False
    return True


def rebuild(
    folder: str | PathLike[str],
    *,
    encoder: str | None = None,
    processes: int = 1,
    max_pixels: int = 200_000_000,
    observer: Observer | None = None,
) -> Report:
    """Make a library anew from all that was ever added to it, with its encoder or another one.

    Until all is done the library is as it was, and if the work is stopped, the same call goes on with it. Works whose
    pictures are gone are left out. Raises what `add` does, and `LibraryError` if nothing is left that could be read.
    """
    folder = Path(folder)
    before = open_library(folder)
    encoder = encoder or before.manifest.encoder
    anew = folder / REBUILT
    try:
        open_or_create(anew, encoder)
    except LibraryError:  # begun with another encoder
        shutil.rmtree(anew, ignore_errors=True)
    reports = []
    for source in before.manifest.sources:
        try:
            own = add(
                anew,
                [source.path],
                facts=source.facts,
                encoder=encoder,
                processes=processes,
                max_pixels=max_pixels,
                observer=observer,
            )
        except Interrupted:
            raise
        except ImpastoError as error:
            own = Report(refused={source.path: str(error)})
        reports.append(own)
    report = Report(added=sum(own.added + own.known for own in reports))
    for own in reports:
        report.duplicates.update(own.duplicates)
        report.refused.update(own.refused)
    if not report.added:
        raise LibraryError(f"{folder}: nothing that was added to it can be read any more; it stays as it is")
    replace_by(before, open_library(anew))
    shutil.rmtree(anew, ignore_errors=True)
    return report

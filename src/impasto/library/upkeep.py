"""Keeping a library: works taken out of it, and all of it made anew."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from impasto.errors import LibraryError, PictureError, counted, near_file
from impasto.library.adding import Observer, Report, add_listed
from impasto.library.changes import Change, commit, replace_by
from impasto.library.encoder import open_or_create
from impasto.library.listing import Listing
from impasto.library.searching import Selection, counts
from impasto.library.store import ChangedError, Library, is_there, open_library

REBUILT = ".rebuilt"
"""Where a library grows that is to take the place of the one around it."""
MOST_SOURCES = 20
"""Folders and files that were added, when they are told."""


def remove(selection: Selection) -> Library:
    """The library without some works; their pictures stay. Raises `LibraryError` where it cannot be written."""
    gone = frozenset(row["id"] for row in selection.rows("id"))
    return commit(selection.library, Change(gone=gone))


def missing(library: Library) -> Selection:
    """The works whose pictures are not there any more."""
    paths = library.works("path")["path"].to_pylist()
    return Selection(library, np.array([n for n, path in enumerate(paths) if not is_there(path)], np.intp))


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
    check(library)
    tallies = counts(library)
    skipped = library.skipped()["id"].to_pylist()
    duplicates = sum(one is not None for one in skipped)
    names = [name for shard in manifest.shards for name in (shard.works, shard.sketches)]
    sizes = sum((library.folder / name).stat().st_size for name in names)
    told = [f"{one.path}, tags from {one.facts}" for one in manifest.sources[:MOST_SOURCES]]
    told += [f"{len(manifest.sources) - MOST_SOURCES} more"] if len(manifest.sources) > MOST_SOURCES else []
    return [
        ("works", f"{len(library):,} in {counted(len(manifest.shards), 'shard')}, {sizes / 1e6:.1f} MB"),
        ("encoder", manifest.encoder),
        ("tags", str(sum(one["kind"] == "tag" for one in tallies))),
        ("authors", str(sum(one["kind"] == "author" for one in tallies))),
        ("without pictures", f"{len(missing(library)):,}"),
        ("duplicates left out", f"{duplicates:,}"),
        ("not readable", f"{len(skipped) - duplicates:,}"),
        *((f"added {number}", one) for number, one in enumerate(told, 1)),
    ]


def check(library: Library) -> None:
    """Read all of a library's files; raises `LibraryError` for one that is damaged."""
    library.skipped()
    for shard in library.manifest.shards:
        library.works_of(shard)
        if not library.sketches_of(shard).isfinite().all():
            raise library.damaged(shard.sketches)


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
    pictures are gone are left out, and those that were taken out are in it again. Raises what `add` does, and
    `LibraryError` if nothing is left that could be read.
    """
    folder = Path(folder)
    before = open_library(folder)
    encoder = encoder or before.now_at(before.manifest.encoder)
    anew = folder / REBUILT
    _begin(anew, encoder)
    while True:
        report = _add_all(before, anew, encoder, processes, max_pixels, observer)
        rebuilt = open_library(anew)
        gone = missing(rebuilt)
        rebuilt = remove(gone) if len(gone) else rebuilt
        if not len(rebuilt):
            raise LibraryError(f"{folder}: nothing that was added to it can be read any more; it stays as it is")
        try:
            replace_by(before, rebuilt)
            break
        except ChangedError:  # what was added meanwhile is to be in it, too
            before = open_library(folder)
    shutil.rmtree(anew, ignore_errors=True)
    report.added, report.known, report.changed = len(rebuilt), 0, 0
    return report


def _begin(anew: Path, encoder: str) -> None:
    """Go on with what is there, if it is sound and of the same encoder."""
    try:
        check(open_or_create(anew, encoder))
    except LibraryError:
        shutil.rmtree(anew, ignore_errors=True)
        open_or_create(anew, encoder)


def _add_all(
    library: Library, anew: Path, encoder: str, processes: int, max_pixels: int, observer: Observer | None
) -> Report:
    """Add all that was added to a library to another one; what is not there any more is in the report as refused."""
    listing, gone = Listing(), {}
    for source in sorted(library.manifest.sources, key=lambda one: one.facts != "folders"):  # tables know better
        path, facts = library.now_at(source.path), library.now_at(source.facts)
        try:
            listing.add(Path(path), facts, source.model_copy(update={"path": path, "facts": facts}))
        except PictureError as error:
            gone[path] = str(error)
    report = add_listed(anew, listing, encoder, processes, max_pixels, observer)
    report.refused |= gone
    return report

"""Keeping a library: works taken out of it, and all of it made anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path

import numpy as np

from impasto.errors import LibraryError, PictureError, counted, near_file
from impasto.library.adding import Observer, add_listed
from impasto.library.changes import Change, commit, replace_by
from impasto.library.encoder import open_or_create
from impasto.library.listing import Listing
from impasto.library.report import Report
from impasto.library.searching import Selection, counts
from impasto.library.store import REMOVED, ChangedError, Library, Row, is_there, open_library

REBUILT = ".rebuilt"
"""Where a library grows that is to take the place of the one around it."""
MOST_SOURCES = 20
"""Folders and files that were added, when they are told."""


def remove(selection: Selection, *, for_good: bool = True) -> Library:
    """The library without some works; their pictures stay. Raises `LibraryError` where it cannot be written.

    What is taken out `for_good` does not come back with its folder, nor when the library is made anew, but only if its
    picture is added by itself. Of a folder without works that are left nothing is remembered.
    """
    library = selection.library
    gone = {row["id"]: row for row in selection.rows("id", "path", "bytes", "modified")}
    kept = [row["path"] for row in library.works("id", "path").to_pylist() if row["id"] not in gone]
    places = _around(row["path"] for row in gone.values()) - _around(kept)
    return commit(
        library,
        Change(
            gone=frozenset(gone),
            skipped=_taken_out(gone.values()) if for_good else {},
            forgotten=frozenset(one.path for one in library.sources if Path(one.path) in places),
        ),
    )


def _taken_out(rows: Iterable[Row]) -> dict[str, Row | None]:
    """Works as files that are skipped, by path."""
    return {row["path"]: {**row, "reason": REMOVED, "max_pixels": None} for row in rows}


def _around(paths: Iterable[str]) -> set[Path]:
    """Paths, and the folders that they are in."""
    found: set[Path] = set()
    for path in map(Path, paths):
        place = path
        while place not in found:
            found.add(place)
            place = place.parent
    return found


def missing(library: Library) -> Selection:
    """The works whose pictures are not there any more."""
    paths = library.works("path")["path"].to_pylist()
    return Selection(library, np.array([n for n, path in enumerate(paths) if not is_there(path)], np.intp))


def named(library: Library, paths: Sequence[Path]) -> Selection:
    """The works of some pictures, and all below some folders; raises `LibraryError`, with a near match, for one that is
    none of them.
    """
    known = {path: place for place, path in enumerate(library.works("path")["path"].to_pylist())}
    places = set()
    for path in paths:
        whole = str(path.resolve())
        within = f"{whole.rstrip(os.sep)}{os.sep}"
        found = [known[whole]] if whole in known else [known[one] for one in known if one.startswith(within)]
        if not found and path.is_dir():
            raise LibraryError(f"{path}: no work of {library.folder} is in this folder")
        if not found:
            near = near_file(path.name, {Path(one).name for one in known})
            raise LibraryError(f"{path}: is no work of {library.folder}{near}")
        places.update(found)
    return Selection(library, np.array(sorted(places), np.intp))


def facts(library: Library) -> list[tuple[str, str]]:
    """What there is, as pairs of names and words; raises `LibraryError` for a file that is damaged."""
    manifest = library.manifest
    check(library)
    tallies = counts(library)
    skipped = library.skipped().to_pylist()
    removed = sum(one["reason"] == REMOVED for one in skipped)
    unreadable = sum(one["id"] is None for one in skipped)
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
        ("duplicates left out", f"{len(skipped) - removed - unreadable:,}"),
        ("not readable", f"{unreadable:,}"),
        ("taken out", f"{removed:,}"),
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
    missing: bool = False,
    processes: int = 1,
    max_pixels: int = 200_000_000,
    observer: Observer | None = None,
) -> Report:
    """Make a library anew from all that was ever added to it, with its encoder or another one.

    Until all is done the library is as it was, and if the work is stopped, the same call goes on with it. What was
    taken out stays out. Raises what `add` does, and `LibraryError` if pictures or folders are gone, unless what is
    `missing` is to be left out, or if nothing is left that could be read.
    """
    folder = Path(folder)
    before = open_library(folder)
    encoder = encoder or before.now_at(before.manifest.encoder)
    listing, gone = _all_of(before, missing)
    anew = folder / REBUILT
    _begin(anew, encoder)
    while True:
        _keep_out(before, open_library(anew))
        report = add_listed(anew, listing, encoder, processes, max_pixels, observer)
        rebuilt = open_library(anew)
        if missing:
            rebuilt = _without_missing(rebuilt)
        if not len(rebuilt):
            raise LibraryError(f"{folder}: nothing that was added to it can be read any more; it stays as it is")
        try:
            replace_by(before, rebuilt)
            break
        except ChangedError:  # what was added meanwhile is to be in it, too
            before = open_library(folder)
            listing, gone = _all_of(before, missing)
    report.gone = len(gone - {*rebuilt.works("id")["id"].to_pylist()})
    report.added, report.known, report.changed = len(rebuilt), 0, 0
    shutil.rmtree(anew, ignore_errors=True)
    return report


def _begin(anew: Path, encoder: str) -> None:
    """Go on with what is there, if it is sound and of the same encoder."""
    try:
        check(open_or_create(anew, encoder))
    except LibraryError:
        shutil.rmtree(anew, ignore_errors=True)
        open_or_create(anew, encoder)


def _without_missing(library: Library) -> Library:
    gone = missing(library)
    return remove(gone, for_good=False) if len(gone) else library


def _all_of(library: Library, leave_out: bool) -> tuple[Listing, set[str]]:
    """All that was added to a library, and the ids of works whose pictures are gone, as far as sound files tell.

    Raises `LibraryError` for anything that is gone, unless it is to be left out.
    """
    listing, away = Listing(), []
    for source in sorted(library.sources, key=lambda one: one.facts != "folders"):  # tables know better
        try:
            listing.add(Path(source.path), source.facts, source)
        except PictureError as error:
            if isinstance(error.__cause__, PermissionError):
                raise
            away.append(source.path)
    works = {row["path"]: row["id"] for row in _sound_works(library) if not is_there(row["path"])}
    lost = [path for path in works if not path.startswith(tuple(f"{one}{os.sep}" for one in away))]
    gone = [*dict.fromkeys([*away, *lost])]
    if gone and not leave_out:
        several = len(gone) > 1
        raise LibraryError(
            f"{gone[0]}{f' and {len(gone) - 1} more' if several else ''}: {'are' if several else 'is'} not there any "
            f"more: put {'them' if several else 'it'} back, or leave out what is gone with --missing; {library.folder} "
            "stays as it is"
        )
    return listing, {*works.values()}


def _sound_works(library: Library) -> list[Row]:
    """Ids and paths of works, as far as they can be read, where they lie now."""
    rows: list[Row] = []
    for shard in library.manifest.shards:
        with suppress(LibraryError):
            rows += library.works_of(shard, ["id", "path"]).to_pylist()
    return [{**row, "path": library.now_at(row["path"])} for row in rows]


def _keep_out(library: Library, anew: Library) -> None:
    """Bring to another library what was taken out of one, and nothing else."""
    before, now = _removed(anew), _removed(library)
    if before or now:
        skipped = {**dict.fromkeys(row["path"] for row in before), **_taken_out(now)}
        commit(anew, Change(gone=frozenset(row["id"] for row in now), skipped=skipped))


def _removed(library: Library) -> list[Row]:
    """What was taken out; of a damaged file nothing is known."""
    with suppress(LibraryError):
        skipped = [row for row in library.skipped().to_pylist() if row["reason"] == REMOVED]
        return [{**row, "path": library.now_at(row["path"])} for row in skipped]
    return []

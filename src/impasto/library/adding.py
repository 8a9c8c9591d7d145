"""Bringing works into a library: what is new is read, the rest only looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

from impasto.errors import ImpastoError, Interrupted, LibraryError, UsageError, counted
from impasto.library.changes import commit
from impasto.library.encoder import open_or_create
from impasto.library.facts import PLACES
from impasto.library.known import ATTEMPTS, COLUMNS, Known, has
from impasto.library.listing import Listing
from impasto.library.reading import Found, ReaderDiedError, read_all
from impasto.library.report import Report, Waiting
from impasto.library.store import (
    REMOVED,
    SKIPPED,
    ChangedError,
    Library,
    Row,
    Source,
    as_text,
    is_library,
    is_text,
    open_library,
    size_of,
)

SECONDS_TO_FIRST_COMMIT, SECONDS_BETWEEN_COMMITS, WORKS_BETWEEN_COMMITS = 2.0, 20.0, 1024
"""What a kill can cost, at most; from the first commit on twice as long each time."""

Observer = Callable[[int, int], None]
"""Told how many new files are done, and how many there are."""


def add(
    library: str | PathLike[str],
    sources: Sequence[str | PathLike[str]],
    *,
    facts: str | None = None,
    encoder: str | None = None,
    processes: int = 1,
    max_pixels: int = 200_000_000,
    observer: Observer | None = None,
) -> Report:
    """Add pictures, or all those in folders, to a library in a folder, which is made if it is not there.

    `facts` says where titles, authors and tags come from (`facts_from`); without it new works have theirs from what the
    folder was added with, and what tables and sidecar files have said of others stays. Of what they do not know, works
    keep their facts, and new ones have the tags of their folders. A file whose size and time of change are known is not
    read again; one whose content is known is a duplicate, and what was taken out comes back only if it is named by
    itself. What cannot be read is in the report. With several `processes` a script needs a main guard. Whatever ends
    the work, what is done stays, and the same call goes on.

    Raises `UsageError` for impossible arguments, `LibraryError` for a library that is damaged, made with another
    encoder or not writable, `PictureError` for sources without pictures, `Interrupted` for Ctrl-C.
    """
    place = facts or "folders"
    place = place if place in PLACES else as_text(Path(place))
    library, listing = Path(library), Listing()
    before = open_library(library).sources if facts is None and is_library(library) else []
    tables = [one for one in before if one.facts != "folders"]
    for source in sources:
        own = Source(path=as_text(Path(source)), facts=place)
        around = {own.path, *map(str, Path(own.path).parents)}
        listing.add(Path(source), facts or "folders", own, [one for one in tables if one.path in around])
    listing.is_silent = facts is None
    listing.named = frozenset(one.path for one in listing.sources)
    if facts is not None:
        listing.check_tables()
    return add_listed(library, listing, encoder, processes, max_pixels, observer)


def add_listed(
    library: Path,
    listing: Listing,
    encoder: str | None,
    processes: int,
    max_pixels: int,
    observer: Observer | None,
) -> Report:
    """`add`, of pictures that are found already."""
    for name, value in (("processes", processes), ("max_pixels", max_pixels)):
        if value < 1:
            raise UsageError(f"{name} {value}: must be a whole number of at least 1")
    adding = _begun(library, listing, encoder, max_pixels)
    adding.add(processes, observer)
    return adding.report


def _begun(folder: Path, listing: Listing, encoder: str | None, max_pixels: int) -> _Adding:
    for _ in range(ATTEMPTS - 1):
        try:
            return _Adding(open_or_create(folder, encoder), listing, max_pixels)
        except ChangedError:
            continue
    return _Adding(open_or_create(folder, encoder), listing, max_pixels)


FACTS = ("title", "author", "tags", "licence", "facts")


class _Adding:
    """A library under change: what is known, what is found, and what waits to be written."""

    def __init__(self, library: Library, listing: Listing, max_pixels: int) -> None:
        self._known = Known(library)
        self.report = Report()
        if not listing.is_silent:
            self.report.unlisted, self.report.unused = listing.unlisted, listing.unused_rows()
        self._listed, self._named, self._is_silent = listing.pictures, listing.named, listing.is_silent
        self._folders = tuple(f"{one.path}{os.sep}" for one in listing.sources)
        self._max_pixels = max_pixels
        self._skipped: dict[str, Row] = {row["path"]: row for row in library.skipped().to_pylist()}
        self._removed = {row["id"] for row in self._skipped.values() if row["reason"] == REMOVED}
        self._kept_out: set[str] = set()
        self._waiting = Waiting(sources=_new_sources(library, listing))
        self._since, self._patience = time.monotonic(), SECONDS_TO_FIRST_COMMIT

    def add(self, processes: int, observer: Observer | None) -> None:
        """Look at files, read those that are new, and write what has become of them."""
        try:
            self._read([name for name in self._listed if not self._is_known(name)], processes, observer)
            self._read([name for name in self._listed if self._is_left_alone(name)], processes, observer)
            self._forget()
            self._write()
        except KeyboardInterrupt:
            self._write()
            raise Interrupted(
                f"stopped; {self._known.library.folder} keeps {counted(self.report.added, 'new work')}, and the same "
                "command goes on"
            ) from None
        except ReaderDiedError:
            self._write()
            raise LibraryError(
                "one of the processes that read pictures died, of too little memory perhaps; what was done stays: give "
                "the same command with --processes 1"
            ) from None

    def _read(self, names: Sequence[str], processes: int, observer: Observer | None) -> None:
        files = [(name, str(self._listed[name].path)) for name in names]
        with closing(read_all(files, self._known.library.manifest, processes, self._max_pixels)) as results:
            for done, (name, found) in enumerate(zip(names, results, strict=True), 1):
                self._take(name, found)
                if observer is not None:
                    observer(done, len(names))
                late = time.monotonic() - self._since > self._patience
                if late or len(self._waiting.new) >= WORKS_BETWEEN_COMMITS:
                    self._write()
                    self._since, self._patience = time.monotonic(), min(2 * self._patience, SECONDS_BETWEEN_COMMITS)

    def _is_known(self, name: str) -> bool:
        """Whether a file is as it was; then its facts alone may be new."""
        path = self._listed[name].path
        if not is_text(name):
            self.report.refused[name] = f"{path}: the name is not UTF-8, and a library holds no others: rename it"
            return True
        try:
            size = size_of(path)
        except OSError:
            return False  # to read it says what is wrong
        skipped = self._skipped.get(name)
        if skipped is not None and has(skipped, size):
            return self._is_skipped(name, skipped)
        row = self._known.by_path.get(name)
        if row is None or not has(row, size):
            return False
        try:
            facts = self._facts(name, row["id"])
        except ImpastoError as error:
            self._keep_stale(name, error)
            return True
        if not has(row, facts):
            self._waiting.replaced[row["id"]] = facts
            self._known.by_path[name] = {**row, **facts}
            self.report.changed += not _say_the_same(row, facts)
        self.report.known += 1
        return True

    def _facts(self, name: str, work: str) -> dict[str, Any]:
        """The facts of a file that is a work, or is to be one."""
        before = self._known.by_path.get(self._known.path_of.get(work, name), self._known.by_path.get(name))
        kept = None if before is None else {key: before[key] for key in FACTS}
        if kept is not None and self._is_silent and kept["facts"] != "folders":
            return kept
        listed = self._listed[name]
        return listed.said() or kept or listed.folders.facts()

    def _keep_stale(self, name: str, error: ImpastoError) -> None:
        self.report.stale[name] = f"{error}; {self._listed[name].path.name} keeps its facts until then"

    def _is_skipped(self, name: str, row: Row) -> bool:
        """Whether a file that was no work of its own, and is as it was, still is none."""
        if row["reason"] == REMOVED:
            still = name not in self._named
        elif row["id"] is None:
            still = self._max_pixels <= row["max_pixels"]
        else:
            still = self._known.stands(row["id"])
            row = {**row, "reason": self._likeness(row["id"])} if still else row
        if still:
            self._tell(name, row)
        return still

    def _is_left_alone(self, name: str) -> bool:
        """Whether a file was a duplicate of a work that now turns out to be another one."""
        return name in self.report.duplicates and not self._known.stands(self._skipped[name]["id"])

    def _likeness(self, work: str) -> str:
        return f"the same picture as {self._known.path_of[work]}"

    def _take(self, name: str, found: Found) -> None:
        """Enter a file that was read: a new work, one that is known by another name, or none."""
        if found.reason and not found.lasting:
            self.report.refused[name] = found.reason
            return
        path = self._listed[name].path
        row = {**found.row, "path": name}
        reason = found.reason.removeprefix(f"{path}: ")
        if row["id"] in self._removed and name in self._named:
            self._take_back(row["id"])
        elif row["id"] in self._removed:
            reason = REMOVED
        try:
            row |= {} if reason else self._facts(name, row["id"])
        except ImpastoError as error:  # the picture is not to blame: once this is mended it is looked at again
            if name in self._known.by_path:
                self._keep_stale(name, error)
            else:
                self.report.refused[name] = f"{error}; {path.name} is left out until then"
            return
        self._pass_over(name, None)
        known = self._known.path_of.get(row["id"])
        if reason:
            self._drop(name)
            self._pass_over(name, row | {"reason": reason})
        elif known not in (None, name) and self._known.stands(row["id"]):
            self._drop(name, keep=row["id"])
            self._pass_over(name, row | {"reason": self._likeness(row["id"])})
        else:
            before, work = self._known.by_path.get(name), self._known.by_path.get(known or name)
            self._drop(name, keep=row["id"])
            self._known.by_path[name], self._known.path_of[row["id"]] = row, name
            if known is None:
                self._waiting.new.append((row, found.sketch))
                self.report.added += 1
            else:
                self._enter_again(row, before)
                self.report.changed += work is None or work["id"] != row["id"] or not _say_the_same(work, row)

    def _take_back(self, work: str) -> None:
        """Let a work that was taken out come back, wherever its copies lie."""
        self._removed.discard(work)
        for name in [one for one, row in self._skipped.items() if row["id"] == work and row["reason"] == REMOVED]:
            self._pass_over(name, None)

    def _enter_again(self, row: Row, before: Row | None) -> None:
        """A work that is known: its file was touched or moved, or another process was faster."""
        if before is None or not has(before, {key: row[key] for key in COLUMNS}):
            self._waiting.replaced[row["id"]] = row
        self.report.known += 1

    def _drop(self, name: str, keep: str | None = None) -> None:
        """Let go of the work that a file was, unless that is the one to `keep` or lies elsewhere now."""
        before = self._known.by_path.pop(name, None)
        if before is not None and before["id"] != keep and self._known.path_of.get(before["id"]) == name:
            self._waiting.gone.add(before["id"])
            del self._known.path_of[before["id"]]

    def _pass_over(self, name: str, row: Row | None) -> None:
        """Enter a file among those that are no works of their own, or strike it off."""
        self.report.duplicates.pop(name, None)
        if row is not None:
            self._tell(name, row)
            whole = {**row, "max_pixels": self._max_pixels}
            self._skipped[name] = self._waiting.skipped[name] = {key: whole[key] for key in SKIPPED.names}
        elif self._skipped.pop(name, None) is not None:
            self._waiting.skipped[name] = None

    def _tell(self, name: str, row: Row) -> None:
        """Report a file that is no work of its own."""
        if row["reason"] == REMOVED:
            self._kept_out.add(row["id"])
            self.report.removed = len(self._kept_out)
        elif row["id"] is None:
            self.report.refused[name] = f"{self._listed[name].path}: {row['reason']}"
        else:
            self.report.duplicates[name] = row["reason"]

    def _forget(self) -> None:
        """Strike off files in the folders that are not there any more; what was taken out is so wherever it is."""
        gone = [one for one in self._skipped if one.startswith(self._folders) and one not in self._listed]
        for name in gone:
            if self._skipped[name]["reason"] != REMOVED:
                self._pass_over(name, None)

    def _write(self) -> None:
        """Commit what waits, if anything does, and learn what other processes have added meanwhile."""
        waiting = self._waiting
        if not waiting:
            return
        library = commit(self._known.library, waiting.change)
        self._waiting = Waiting()  # first: what is committed twice is not added twice, as long as `library` is old
        self._known.take_in(library)
        for row in waiting.rows:
            if self._known.path_of.get(row["id"], row["path"]) != row["path"]:
                self._known.by_path.pop(row["path"], None)
                self._pass_over(row["path"], {**row, "reason": self._likeness(row["id"])})
                self.report.added -= 1
        self._write()


def _new_sources(library: Library, listing: Listing) -> list[Source]:
    """What a library is to remember: neither what it was told last of a path, nor that nothing was said."""
    before, now = _by_path(library.manifest.sources), _by_path(dict.fromkeys(listing.sources))
    new = {path: told for path, told in now.items() if before.get(path, [])[-len(told) :] != told}
    return [one for path, told in new.items() if not (listing.is_silent and path in before) for one in told]


def _by_path(sources: Iterable[Source]) -> dict[str, list[Source]]:
    found: dict[str, list[Source]] = {}
    for one in sources:
        found.setdefault(one.path, []).append(one)
    return found


def _say_the_same(row: Row, other: Row) -> bool:
    """Whether the facts are alike, wherever they come from."""
    return all(row[key] == other[key] for key in FACTS if key != "facts")

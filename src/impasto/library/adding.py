"""Bringing works into a library: what is new is read, the rest only looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.errors import ImpastoError, Interrupted, LibraryError, UsageError, counted
from impasto.library.changes import Change, commit
from impasto.library.encoder import open_or_create
from impasto.library.facts import PLACES
from impasto.library.listing import Listing
from impasto.library.reading import Found, ReaderDiedError, read_all
from impasto.library.store import (
    SCHEMA,
    SKIPPED,
    ChangedError,
    Library,
    Row,
    Shard,
    Source,
    as_text,
    is_text,
    open_library,
    size_of,
)

SECONDS_BETWEEN_COMMITS, WORKS_BETWEEN_COMMITS = 20.0, 1024
"""What a kill can cost, at most."""
ATTEMPTS = 10
"""To read a library that another process is changing."""

Observer = Callable[[int, int], None]
"""Told how many new files are done, and how many there are."""


@dataclass
class Report:
    """What became of files; `duplicates` and `refused` with reasons, by path."""

    added: int = 0
    known: int = 0
    """Files that were there already, unchanged."""
    changed: int = 0
    """Works whose facts, or places, are new."""
    unlisted: int = 0
    """Files that are not in the table that says the facts."""
    duplicates: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


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

    `facts` says where titles, authors and tags come from (`facts_from`); without it works have the tags of their
    folders, and what tables and sidecar files have said of others stays. A file whose size and time of change are
    known is not read again; one whose content is known is a duplicate. What cannot be read is in the report. With
    several `processes` a script needs a main guard. Whatever ends the work, what is done stays, and the same call goes
    on.

    Raises `UsageError` for impossible arguments, `LibraryError` for a library that is damaged, made with another
    encoder or not writable, `PictureError` for sources without pictures, `Interrupted` for Ctrl-C.
    """
    place = facts or "folders"
    place = place if place in PLACES else as_text(Path(place))
    listing = Listing()
    for source in sources:
        listing.add(Path(source), facts or "folders", Source(path=as_text(Path(source)), facts=place))
    listing.is_silent = facts is None
    return add_listed(Path(library), listing, encoder, processes, max_pixels, observer)


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
    listing.check_tables()
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


COLUMNS = tuple(name for name in SCHEMA.names if name not in ("thumbnail", "width", "height"))
"""What tells whether a file is known."""
FACTS = ("title", "author", "tags", "licence", "facts")


@dataclass
class _Waiting:
    """What is to be written."""

    new: list[tuple[Row, NDArray[np.float32]]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    replaced: dict[str, Row] = field(default_factory=dict)
    skipped: dict[str, Row | None] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)


class _Adding:
    """A library under change: what is known, what is found, and what waits to be written."""

    def __init__(self, library: Library, listing: Listing, max_pixels: int) -> None:
        self.library = library
        self.report = Report(unlisted=listing.unlisted)
        self._listed, self._places, self._is_silent = listing.pictures, listing.places, listing.is_silent
        self._sources = [*listing.sources.values()]
        self._max_pixels = max_pixels
        self._by_path: dict[str, Row] = {}
        self._path_of: dict[str, str] = {}
        self._shards: set[Shard] = set()
        self._learn()
        self._skipped: dict[str, Row] = {row["path"]: row for row in library.skipped().to_pylist()}
        self._waiting = _Waiting()

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
                f"stopped; {self.library.folder} keeps {counted(self.report.added, 'new work')}, and the same command "
                "goes on"
            ) from None
        except ReaderDiedError:
            self._write()
            raise LibraryError(
                "one of the processes that read pictures died, of too little memory perhaps; what was done stays: give "
                "the same command with --processes 1"
            ) from None

    def _read(self, names: Sequence[str], processes: int, observer: Observer | None) -> None:
        files = [(name, str(self._listed[name][0])) for name in names]
        with closing(read_all(files, self.library.manifest, processes, self._max_pixels)) as results:
            for done, (name, found) in enumerate(zip(names, results, strict=True), 1):
                self._take(name, found)
                if observer is not None:
                    observer(done, len(names))
                late = time.monotonic() - self._waiting.since > SECONDS_BETWEEN_COMMITS
                if late or len(self._waiting.new) >= WORKS_BETWEEN_COMMITS:
                    self._write()

    def _is_known(self, name: str) -> bool:
        """Whether a file is as it was; then its facts alone may be new."""
        path, _ = self._listed[name]
        if not is_text(name):
            self.report.refused[name] = f"{name}: the name is not UTF-8, and a library holds no others: rename it"
            return True
        try:
            size = size_of(path)
        except OSError:
            return False  # to read it says what is wrong
        skipped = self._skipped.get(name)
        if skipped is not None and _has(skipped, size):
            return self._is_skipped(name, skipped)
        row = self._by_path.get(name)
        if row is None or not _has(row, size):
            return False
        try:
            facts = self._facts(name, row["id"])
        except ImpastoError as error:
            self.report.refused[name] = str(error)
            return True
        if not _has(row, facts):
            self._waiting.replaced[row["id"]] = facts
            self._by_path[name] = {**row, **facts}
            self.report.changed += 1
        self.report.known += 1
        return True

    def _facts(self, name: str, work: str) -> dict[str, Any]:
        """The facts of a file that is a work, or is to be one."""
        before = self._by_path.get(self._path_of.get(work, name), self._by_path.get(name))
        if self._is_silent and before is not None and before["facts"] != "folders":
            return {key: before[key] for key in FACTS}
        path, facts_of = self._listed[name]
        facts = facts_of(path)
        return asdict(facts) | {"tags": [*facts.tags], "facts": self._places[name]}

    def _is_skipped(self, name: str, row: Row) -> bool:
        """Whether a file that was no work of its own, and is as it was, still is none."""
        if row["id"] is None:
            if self._max_pixels > row["max_pixels"]:
                return False
            self.report.refused[name] = row["reason"]
            return True
        if not self._stands(row["id"]):
            return False
        self.report.duplicates[name] = self._likeness(row["id"])
        return True

    def _is_left_alone(self, name: str) -> bool:
        """Whether a file was a duplicate of a work that now turns out to be another one."""
        return name in self.report.duplicates and not self._stands(self._skipped[name]["id"])

    def _stands(self, work: str) -> bool:
        """Whether a work's picture is where it was, unchanged."""
        path = self._path_of.get(work)
        try:
            return path is not None and _has(self._by_path[path], size_of(Path(path)) | {"id": work})
        except OSError:
            return False

    def _likeness(self, work: str) -> str:
        return f"the same picture as {self._path_of[work]}"

    def _take(self, name: str, found: Found) -> None:
        """Enter a file that was read: a new work, one that is known by another name, or none."""
        if found.reason and not found.lasting:
            self.report.refused[name] = found.reason
            return
        row = {**found.row, "path": name}
        try:
            row |= {} if found.reason else self._facts(name, row["id"])
        except ImpastoError as error:  # the picture is not to blame: once this is mended it is looked at again
            self.report.refused[name] = str(error)
            return
        self._pass_over(name, None)
        known = self._path_of.get(row["id"])
        if found.reason:
            self._drop(name)
            self._pass_over(name, row | {"reason": found.reason})
        elif known not in (None, name) and self._stands(row["id"]):
            self._drop(name, keep=row["id"])
            self._pass_over(name, row | {"reason": self._likeness(row["id"])})
        else:
            before = self._by_path.get(name)
            self._drop(name, keep=row["id"])
            self._by_path[name], self._path_of[row["id"]] = row, name
            if known is None:
                self._waiting.new.append((row, found.sketch))
                self.report.added += 1
            else:
                self._enter_again(row, before)

    def _enter_again(self, row: Row, before: Row | None) -> None:
        """A work that is known: its file was touched or moved, or another process was faster."""
        if before is None or not _has(before, {key: row[key] for key in COLUMNS}):
            self._waiting.replaced[row["id"]] = row
        self.report.known += 1
        self.report.changed += before is None or not _has(before, {key: row[key] for key in ("id", *FACTS)})

    def _drop(self, name: str, keep: str | None = None) -> None:
        """Let go of the work that a file was, unless that is the one to `keep` or lies elsewhere now."""
        before = self._by_path.pop(name, None)
        if before is not None and before["id"] != keep and self._path_of.get(before["id"]) == name:
            self._waiting.gone.add(before["id"])
            del self._path_of[before["id"]]

    def _pass_over(self, name: str, row: Row | None) -> None:
        """Enter a file among those that are no works of their own, or strike it off."""
        self.report.duplicates.pop(name, None)
        if row is not None:
            told = self.report.refused if row["id"] is None else self.report.duplicates
            told[name] = row["reason"]
            whole = {**row, "max_pixels": self._max_pixels}
            self._skipped[name] = self._waiting.skipped[name] = {key: whole[key] for key in SKIPPED.names}
        elif self._skipped.pop(name, None) is not None:
            self._waiting.skipped[name] = None

    def _forget(self) -> None:
        """Strike off files in the folders that are not there any more."""
        folders = tuple(f"{one.path}{os.sep}" for one in self._sources)
        for name in [one for one in self._skipped if one.startswith(folders) and one not in self._listed]:
            self._pass_over(name, None)

    def _write(self) -> None:
        """Commit what waits, if anything does, and learn what other processes have added meanwhile."""
        waiting = self._waiting
        known = self.library.manifest.sources
        told = {one.path for one in known if one.facts != "folders"} if self._is_silent else set()
        sources = [one for one in self._sources if one not in known and one.path not in told]
        if not (waiting.new or waiting.gone or waiting.replaced or waiting.skipped or sources):
            return
        rows, sketches = [row for row, _ in waiting.new], [torch.from_numpy(one) for _, one in waiting.new]
        change = Change(rows, sketches, frozenset(waiting.gone), waiting.replaced, waiting.skipped, sources)
        library = commit(self.library, change)
        self._waiting = _Waiting()  # first: what is committed twice is not added twice, as long as `library` is old
        self.library = library
        self._learn()
        for row in rows:
            if self._path_of.get(row["id"], row["path"]) != row["path"]:
                self._by_path.pop(row["path"], None)
                self._pass_over(row["path"], {**row, "reason": self._likeness(row["id"])})
                self.report.added -= 1
        self._write()

    def _learn(self) -> None:
        """Take in what the library holds, as far as it is new."""
        for attempt in range(1, ATTEMPTS + 1):
            new = [shard for shard in self.library.manifest.shards if shard not in self._shards]
            try:
                tables = [self.library.works_of(shard, COLUMNS) for shard in new]
                break
            except ChangedError:
                if attempt == ATTEMPTS:
                    raise
                self.library = open_library(self.library.folder)
        for row in (row for table in tables for row in table.to_pylist()):
            self._by_path[row["path"]], self._path_of[row["id"]] = row, row["path"]
        self._shards = set(self.library.manifest.shards)


def _has(row: Row, values: Row) -> bool:
    return all(row[key] == value for key, value in values.items())

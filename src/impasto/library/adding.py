"""Bringing works into a library: what is new is read, the rest only looked at."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from impasto.encoders import load_encoder, weights_checksum
from impasto.encoders.vgg import VGG
from impasto.errors import ImpastoError, Interrupted, LibraryError, PictureError, counted
from impasto.library.facts import PLACES, Facts, FactsOf, facts_from
from impasto.library.signature import signature
from impasto.library.sketch import plan, sketch
from impasto.library.store import (
    SCHEMA,
    Change,
    Library,
    Manifest,
    Source,
    commit,
    create_library,
    is_library,
    open_library,
)
from impasto.pictures.files import read_picture, to_pil
from impasto.pictures.folders import pictures_in
from impasto.pictures.picture import Picture

THUMBNAIL = 128
"""Longest side, in pixels."""
FEW = 32
"""New pictures that are not worth the start of other processes."""
AHEAD = 8
"""Pictures that wait for each process."""
SECONDS_BETWEEN_COMMITS, WORKS_BETWEEN_COMMITS = 20.0, 1024
"""What a kill can cost, at most."""

Observer = Callable[[int, int], None]
"""Told how many new files are done, and how many there are."""


@dataclass
class Report:
    """What became of files; `duplicates` and `refused` with reasons, by path."""

    added: int = 0
    known: int = 0
    """Files that were there already, unchanged."""
    changed: int = 0
    """Works whose facts are new."""
    duplicates: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def add(
    library: str | PathLike[str],
    sources: Sequence[str | PathLike[str]],
    *,
    facts: str = "folders",
    encoder: str | None = None,
    processes: int = 1,
    max_pixels: int = 200_000_000,
    observer: Observer | None = None,
) -> Report:
    """Add pictures, or all those in folders, to a library in a folder, which is made if it is not there.

    `facts` says where titles, authors and tags come from (`facts_from`). A file whose size and time of change are
    known is not read again; one whose content is known is a duplicate. What cannot be read is in the report. With
    several `processes` a script needs a main guard. Whatever ends the work, what is done stays, and the same call goes
    on.

    Raises `UsageError` for impossible arguments, `LibraryError` for a library that is damaged, made with another
    encoder or not writable, `PictureError` for sources without pictures, `Interrupted` for Ctrl-C.
    """
    listed = [one for source in sources for one in _listed(Path(source), facts)]
    place = facts if facts in PLACES else str(Path(facts).resolve())
    named = [Source(path=str(Path(source).resolve()), facts=place) for source in sources]
    adding = _Adding(open_or_create(Path(library), encoder))
    adding.add(listed, named, lambda new, manifest: _read_all(new, manifest, processes, max_pixels), observer)
    return adding.report


def _listed(source: Path, facts: str) -> list[tuple[Path, FactsOf]]:
    """The pictures of a source, and what says their facts."""
    if not source.exists():
        read_picture(source)  # says what is wrong
    within = source.is_dir()
    facts_of = facts_from(facts, source if within else source.parent)
    return [(path, facts_of) for path in (pictures_in(source) if within else [source])]


def open_or_create(folder: Path, encoder: str | None) -> Library:
    """The library, made if need be, if it is one of the encoder."""
    if not is_library(folder):
        network = load_encoder(encoder or "lite")
        manifest = Manifest(encoder=encoder or "lite", encoder_checksum=weights_checksum(network), layers=plan(network))
        return create_library(folder, manifest)
    library = open_library(folder)
    if encoder not in (None, library.manifest.encoder):
        raise LibraryError(
            f"{folder}: is made with {library.manifest.encoder}, and encoders do not mix: leave --encoder out, or make "
            f"it anew with impasto library rebuild {folder} --encoder {encoder}"
        )
    encoder_of(library)
    return library


def encoder_of(library: Library) -> VGG:
    """The encoder that a library is made with; raises `LibraryError` if it is another one now."""
    manifest = library.manifest
    network = load_encoder(manifest.encoder)
    if weights_checksum(network) != manifest.encoder_checksum:
        raise LibraryError(
            f"{library.folder}: the encoder {manifest.encoder} has changed since it was made: "
            f"impasto library rebuild {library.folder}"
        )
    return network


COLUMNS = tuple(name for name in SCHEMA.names if name not in ("thumbnail", "width", "height"))
"""What tells whether a file is known."""


class _Adding:
    """A library under change: what is known, what is found, and what waits to be written."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.report = Report()
        rows = library.works(*COLUMNS).to_pylist()
        self._by_path = {row["path"]: row for row in rows}
        self._path_of = {row["id"]: row["path"] for row in rows}
        self._skipped = {row["path"]: row for row in library.skipped().to_pylist()}
        self._skipped_before = dict(self._skipped)
        self._clear()

    def add(
        self,
        listed: Sequence[tuple[Path, FactsOf]],
        sources: Sequence[Source],
        read: Callable[[Sequence[Path], Manifest], Iterable[Found]],
        observer: Observer | None,
    ) -> None:
        """Look at files, read those that are new, and write what has become of them."""
        try:
            new = [one for one in listed if not self._is_known(*one)]
            results = read([path for path, _ in new], self.library.manifest)
            for done, (found, (_, facts_of)) in enumerate(zip(results, new, strict=True), 1):
                self._take(found, facts_of)
                if observer is not None:
                    observer(done, len(new))
                late = time.monotonic() - self._written > SECONDS_BETWEEN_COMMITS
                if late or len(self._rows) >= WORKS_BETWEEN_COMMITS:
                    self._write()
            self._write(sources)
        except KeyboardInterrupt:
            self._write()
            raise Interrupted(
                f"stopped; {counted(self.report.added, 'new work')} stay in {self.library.folder}, and the same "
                "command goes on"
            ) from None

    def _is_known(self, path: Path, facts_of: FactsOf) -> bool:
        """Whether a file is as it was; then its facts alone may be new."""
        name, stat = str(path.resolve()), path.stat()
        size = {"bytes": stat.st_size, "modified": stat.st_mtime_ns}
        skipped = self._skipped.get(name)
        if skipped is not None and {key: skipped[key] for key in size} == size:
            told = self.report.duplicates if skipped["duplicate"] else self.report.refused
            told[name] = skipped["reason"]
            return True
        row = self._by_path.get(name)
        if row is None or {key: row[key] for key in size} != size:
            return False
        facts = _columns(facts_of(path))
        if facts != {key: row[key] for key in facts}:
            self._replaced[row["id"]] = facts
            row |= facts
            self.report.changed += 1
        self.report.known += 1
        return True

    def _take(self, found: Found, facts_of: FactsOf) -> None:
        """Enter a file that was read: a new work, one that is known by another name, or none."""
        row, name = found.row, found.row["path"]
        self._skipped.pop(name, None)
        reason, duplicate = found.reason, False
        if not reason:
            try:
                row |= _columns(facts_of(Path(name)))
            except ImpastoError as error:
                reason = str(error)
        known = self._path_of.get(row["id"])
        if not reason and known not in (None, name) and Path(str(known)).exists():
            reason, duplicate = f"the same picture as {known}", True
        before = self._by_path.pop(name, None)
        if before is not None and (reason or before["id"] != row["id"]):
            self._gone.add(before["id"])
            del self._path_of[before["id"]]
        if reason:
            self._skipped[name] = {key: row[key] for key in ("path", "bytes", "modified")}
            self._skipped[name] |= {"reason": reason, "duplicate": duplicate}
            told = self.report.duplicates if duplicate else self.report.refused
            told[name] = reason
            return
        self._by_path[name], self._path_of[row["id"]] = row, name
        if known is not None:  # touched, or moved
            self._replaced[row["id"]] = row
            self.report.changed += 1
            return
        self._rows.append(row)
        self._sketches.append(found.sketch)
        self.report.added += 1

    def _write(self, sources: Sequence[Source] = ()) -> None:
        """Commit what waits, if anything does."""
        skipped = None if self._skipped == self._skipped_before else [*self._skipped.values()]
        new_sources = tuple(one for one in sources if one not in self.library.manifest.sources)
        if self._rows or self._gone or self._replaced or skipped is not None or new_sources:
            gone = frozenset(self._gone)
            change = Change(self._rows, self._sketches, gone, self._replaced, skipped, new_sources)
            self.library = commit(self.library, change)
        self._skipped_before = dict(self._skipped)
        self._clear()

    def _clear(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._sketches: list[Tensor] = []
        self._gone: set[str] = set()
        self._replaced: dict[str, dict[str, Any]] = {}
        self._written = time.monotonic()


def _columns(facts: Facts) -> dict[str, Any]:
    return asdict(facts) | {"tags": [*facts.tags]}


# Reading


@dataclass(frozen=True)
class Found:
    """What a file gives: of a row what is not said by facts, the sketch, or the reason why there is none."""

    row: dict[str, Any]
    sketch: Tensor
    reason: str = ""


@dataclass(frozen=True)
class _Eye:
    """Reads files in the manner of a library."""

    encoder: VGG
    layers: dict[str, int]
    max_pixels: int

    @classmethod
    def of(cls, manifest: Manifest, max_pixels: int) -> _Eye:
        return cls(load_encoder(manifest.encoder), manifest.layers, max_pixels)

    def read(self, path: Path) -> Found:
        stat = path.stat()
        row = {"path": str(path.resolve()), "bytes": stat.st_size, "modified": stat.st_mtime_ns, "id": None}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of many files, what is odd about one
                picture = read_picture(path, max_pixels=self.max_pixels)
            parts = sketch(signature(self.encoder, picture, [*self.layers]), self.layers)
        except PictureError as error:
            return Found(row, torch.empty(0), str(error))
        row |= {"id": picture.sha256, "width": picture.width, "height": picture.height}
        return Found(row | {"thumbnail": _thumbnail(picture)}, torch.cat([*parts.values()]))


def _thumbnail(picture: Picture) -> bytes:
    image = to_pil(picture).convert("RGB")
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    return data.getvalue()


def _read_all(paths: Sequence[Path], manifest: Manifest, processes: int, max_pixels: int) -> Iterator[Found]:
    """What the files give, in their order, here or in several processes."""
    if processes == 1 or len(paths) <= FEW:
        if paths:
            yield from map(_Eye.of(manifest, max_pixels).read, paths)
        return
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _open_eye, (manifest, max_pixels))
    waiting: deque[Future[Found]] = deque()
    try:
        for path in paths:
            waiting.append(pool.submit(_read, path))
            if len(waiting) >= AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise LibraryError(
            "one of the processes that read pictures died, of too little memory perhaps; what was done stays: give the "
            "same command with --processes 1"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_eye: _Eye
"""Of a process that reads for another one."""


def _open_eye(manifest: Manifest, max_pixels: int) -> None:
    global _eye
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _eye = _Eye.of(manifest, max_pixels)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read(path: Path) -> Found:
    return _eye.read(path)

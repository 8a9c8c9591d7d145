"""Changing a style library: whole or not at all, one process after the other, on a disk that may be full."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import torch
from filelock import BaseFileLock, FileLock, Timeout
from pyarrow import parquet
from safetensors.torch import save
from torch import Tensor

from impasto.errors import LibraryError
from impasto.library.store import (
    LOCK,
    MANIFEST,
    OURS,
    SCHEMA,
    SKIPPED,
    TEMPORARY,
    ChangedError,
    Library,
    Manifest,
    Row,
    Shard,
    Source,
    as_text,
    is_library,
    no_library,
    open_library,
    read_manifest,
)
from impasto.pictures.atomic import atomic_write, write_failure

SECONDS_TO_WAIT = 60.0
"""For another process's change; one takes a second."""
WORKS_OF_A_SHARD = 4096
LARGEST = float(torch.finfo(torch.float16).max)


def create_library(folder: Path, manifest: Manifest) -> Library:
    """A library without works in a folder that is empty or not there yet; raises `LibraryError`.

    Where another process has made one meanwhile, it is that one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_other_things(folder, (MANIFEST, *OURS))  # another process may be making it: what counts comes below
    except FileExistsError:
        raise LibraryError(f"{folder}: is a file; a library is a folder: choose another name") from None
    except OSError as error:
        raise LibraryError(write_failure(folder, error)) from error
    as_text(folder)
    with _alone(folder):
        if not is_library(folder):
            _refuse_other_things(folder, (TEMPORARY,))
            _write_manifest(folder, manifest)
    return open_library(folder)


def _refuse_other_things(folder: Path, ours: tuple[str, ...]) -> None:
    """Raise `LibraryError` if there is anything in a folder but names that begin so, and the lock."""
    others = [one.name for one in folder.iterdir() if one.name != LOCK and not one.name.startswith(ours)]
    if any(name.startswith(OURS) for name in others):
        raise no_library(folder)
    if others:
        raise LibraryError(
            f"{folder}: is a folder with other things in it; name a new one for the library, as art.library"
        )


@dataclass(frozen=True)
class Change:
    """What is to become of a library."""

    added: Sequence[Row] = ()
    sketches: Sequence[Tensor] = ()
    """Of what is added, in units of 1."""
    gone: frozenset[str] = frozenset()
    """Ids."""
    replaced: Mapping[str, Row] = field(default_factory=dict)
    """New values, by id."""
    skipped: Mapping[str, Row | None] = field(default_factory=dict)
    """Of files by path, what is new; None for those that are skipped no more."""
    sources: Sequence[Source] = ()
    forgotten: frozenset[str] = frozenset()
    """Paths of sources."""


def commit(library: Library, change: Change) -> Library:
    """Make a change, whole or not at all; works that another process has added meanwhile are not added twice.

    Where library and pictures have moved together, it takes over where they lie now. Raises `LibraryError` where the
    disk is full or read-only, another process does not finish its own change or has made another library of it.
    """
    with _alone(library.folder):
        now = open_library(library.folder)
        with _tidied(library.folder):
            manifest = _changed(now, library, change)
            _write_manifest(library.folder, manifest)
    return Library(library.folder, manifest)


def replace_by(library: Library, other: Library) -> Library:
    """A library with all that another one holds, in place of its own; the other one stays whole.

    Raises `ChangedError` if the library has been changed since it was opened, `LibraryError` where it cannot be
    written.
    """
    manifest = other.manifest
    names = [name for shard in manifest.shards for name in (shard.works, shard.sketches)]
    names += [manifest.skipped] if manifest.skipped else []
    with _alone(library.folder):
        if read_manifest(library.folder) != library.manifest:
            raise ChangedError(f"{library.folder}: was changed meanwhile: try again")
        with _tidied(library.folder):
            for name in names:
                _copy(other.folder / name, library.folder / name)
            manifest = manifest.model_copy(update={"home": as_text(library.folder)})
            _write_manifest(library.folder, manifest)
    return Library(library.folder, manifest)


def _copy(source: Path, target: Path) -> None:
    """The same file under another name, if the disk knows how, or else a copy."""
    try:
        target.hardlink_to(source)
    except OSError:  # or it is there, from an attempt that was cut off
        with atomic_write(target) as temporary:
            shutil.copyfile(source, temporary)


def _changed(now: Library, before: Library, change: Change) -> Manifest:
    if (now.manifest.encoder_checksum, now.manifest.layers) != (
        before.manifest.encoder_checksum,
        before.manifest.layers,
    ):
        raise ChangedError(f"{now.folder}: was made anew with another encoder meanwhile: try again")
    shards = [_shard_changed(now, shard, change) for shard in now.manifest.shards]
    shards = [shard for shard in shards if shard.count]
    units = now.manifest.units
    theirs = _others(now, before) - change.gone
    added = [
        ({**row, **change.replaced.get(row["id"], {})}, sketch)
        for row, sketch in zip(change.added, change.sketches, strict=True)
        if row["id"] not in theirs
    ]
    if added:
        rows, sketches = pa.Table.from_pylist([row for row, _ in added], SCHEMA), torch.stack([one for _, one in added])
        units = units or _units(sketches, now.manifest.layers)
        scale = torch.cat([torch.full((n,), 1 / units[layer]) for layer, n in now.manifest.layers.items()])
        # Far from all others is as far as a number can be.
        shards = _appended(now, shards, rows, (sketches * scale).clamp(-LARGEST, LARGEST).half())
    return now.manifest.model_copy(
        update={
            "shards": tuple(shards),
            "units": units,
            "skipped": _skipped_changed(now, change.skipped),
            "home": as_text(now.folder),
            "encoder": now.now_at(now.manifest.encoder),
            "sources": _sources_changed(now, change),
        }
    )


def _others(now: Library, before: Library) -> set[str]:
    """Ids of what another process has added since."""
    new = [shard for shard in now.manifest.shards if shard not in before.manifest.shards]
    return {one for shard in new for one in now.works_of(shard, ["id"])["id"].to_pylist()}


def _shard_changed(now: Library, shard: Shard, change: Change) -> Shard:
    """The shard without what is gone, with what is replaced, and with paths where the pictures lie now."""
    if not change.gone and not change.replaced and not now.has_moved:
        return shard
    known = now.works_of(shard, ["id", "path"]).to_pylist()
    keep = [place for place, row in enumerate(known) if row["id"] not in change.gone]
    if not keep:
        return shard.model_copy(update={"count": 0})
    new = any(row["id"] in change.replaced or now.now_at(row["path"]) != row["path"] for row in known)
    if len(keep) == shard.count and not new:
        return shard
    rows = [row | {"path": now.now_at(row["path"])} for row in now.works_of(shard).take(keep).to_pylist()]
    table = pa.Table.from_pylist([row | change.replaced.get(row["id"], {}) for row in rows], SCHEMA)
    sketches = shard.sketches
    if len(keep) < shard.count:
        sketches = _write_sketches(now.folder, now.sketches_of(shard)[keep])
    return Shard(works=_write_table(now.folder, "works", table), sketches=sketches, count=len(keep))


def _skipped_changed(now: Library, changes: Mapping[str, Row | None]) -> str | None:
    """The name of the file that says what is skipped; None where nothing is."""
    if not changes and not now.has_moved:
        return now.manifest.skipped
    moved = [row | {"path": now.now_at(row["path"])} for row in now.skipped().to_pylist()]
    rows = {row["path"]: row for row in moved} | dict(changes)
    left = [row for row in rows.values() if row is not None]
    return _write_table(now.folder, "skipped", pa.Table.from_pylist(left, SKIPPED)) if left else None


def _sources_changed(now: Library, change: Change) -> tuple[Source, ...]:
    """The sources in the order in which they have spoken: a table need not say everything, folders do."""
    moved = now.sources
    anew: dict[str, set[str]] = {}
    for one in change.sources:
        anew.setdefault(one.path, set()).add(one.facts)
    replaced = {one for one in moved if {"folders", one.facts} & anew.get(one.path, set())}
    replaced |= {one for one in moved if one.facts == "folders" and one.path in anew}
    return (*(one for one in moved if one not in replaced and one.path not in change.forgotten), *change.sources)


def _appended(library: Library, shards: list[Shard], added: pa.Table, sketches: Tensor) -> list[Shard]:
    """The shards and more of them; the last one is filled up first."""
    if shards and shards[-1].count < WORKS_OF_A_SHARD:
        last = shards[-1]
        added = pa.concat_tables([library.works_of(last), added])
        sketches = torch.cat([library.sketches_of(last), sketches])
        shards = shards[:-1]
    for start in range(0, added.num_rows, WORKS_OF_A_SHARD):
        rows, own = added.slice(start, WORKS_OF_A_SHARD), sketches[start : start + WORKS_OF_A_SHARD]
        works, names = _write_table(library.folder, "works", rows), _write_sketches(library.folder, own)
        shards = [*shards, Shard(works=works, sketches=names, count=rows.num_rows)]
    return shards


def _units(sketches: Tensor, layers: Mapping[str, int]) -> dict[str, float]:
    """By layer, the root of the mean square of the first works' sketches."""
    parts = sketches.split([*layers.values()], 1)  # type: ignore[no-untyped-call]
    squares = [float(part.square().sum(1).mean()) for part in parts]
    return {layer: square**0.5 or 1.0 for layer, square in zip(layers, squares, strict=True)}


def _write_table(folder: Path, kind: str, table: pa.Table) -> str:
    name = f"{kind}-{secrets.token_hex(8)}.parquet"
    with atomic_write(folder / name) as temporary, temporary.open("wb") as file:
        parquet.write_table(table, file, compression="zstd", write_page_checksum=True)
    return name


def _write_sketches(folder: Path, sketches: Tensor) -> str:
    name = f"sketches-{secrets.token_hex(8)}.safetensors"
    with atomic_write(folder / name) as temporary:
        temporary.write_bytes(save({"sketches": sketches.contiguous()}))
    return name


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    with atomic_write(folder / MANIFEST) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While nobody else changes the library; raises `LibraryError` where that, or a write within, is not possible."""
    lock = FileLock(folder / LOCK, timeout=SECONDS_TO_WAIT)
    try:
        _acquire(lock, folder)
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise LibraryError(write_failure(folder / MANIFEST, error)) from error


def _acquire(lock: BaseFileLock, folder: Path) -> None:
    try:
        lock.acquire()
    except Timeout:
        raise LibraryError(f"{folder}: another process has been changing it for a while: try again later") from None
    except NotImplementedError:
        raise LibraryError(f"{folder}: this disk knows no locks, so that works could be lost; choose another") from None


@contextmanager
def _tidied(folder: Path) -> Iterator[None]:
    """Afterwards, however it ends, files are gone that do not count: old ones, and what a process left that died."""
    try:
        yield
    finally:
        with suppress(OSError, LibraryError):
            manifest = read_manifest(folder)  # the one that counts now: a change may have ended just after it
            listed = {name for shard in manifest.shards for name in (shard.works, shard.sketches)} | {manifest.skipped}
            for path in folder.iterdir():
                if path.name.startswith(OURS) and path.name not in listed:
                    with suppress(OSError):  # still open somewhere, on Windows
                        path.unlink()

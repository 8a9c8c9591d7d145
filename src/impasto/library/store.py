"""A style library on disk: a folder with a manifest, and shards of works.

    library.json                what the library is made with, and which files belong to it
    works-….parquet             a row a work: `SCHEMA`
    sketches-….safetensors      their sketches in the same order, (works, numbers) in half precision
    skipped-….parquet           files that are no works of their own: duplicates and what cannot be read

Files are never changed: a change writes new ones, and then a new manifest, which alone says what counts. So a reader
sees the library as it was when it was opened, or is told that it has changed, and a process that dies leaves nothing
but files without meaning, which the next change removes. Changes take turns by a lock. Other programs may read the
Parquet files as they are.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import torch
from filelock import BaseFileLock, FileLock, Timeout
from pyarrow import parquet
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from impasto.errors import LibraryError, near_file
from impasto.pictures.atomic import atomic_write, write_failure

Row = Mapping[str, Any]
"""Values of a work by column."""

FORMAT = 1
MANIFEST = "library.json"
LOCK = ".lock"
TEMPORARY = ".impasto-"
"""What names of files begin with that are not yet whole."""
OURS = ("works-", "sketches-", "skipped-", TEMPORARY)
SECONDS_TO_WAIT = 60.0
"""For another process's change; one takes a second."""
WORKS_OF_A_SHARD = 4096
LARGEST = float(torch.finfo(torch.float16).max)

SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # sha256 of the file
        ("path", pa.string()),
        ("title", pa.string()),
        ("author", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("licence", pa.string()),
        ("facts", pa.string()),  # where the four before it come from
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("modified", pa.int64()),  # nanoseconds since 1970
        ("thumbnail", pa.binary()),  # JPEG
    ]
)
SKIPPED = pa.schema(
    [
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("modified", pa.int64()),
        ("reason", pa.string()),
        ("id", pa.string()),  # of a duplicate: the work's
        ("max_pixels", pa.int64()),  # the limit within which it was looked at
    ]
)


class ChangedError(LibraryError):
    """Another process has changed the library since it was opened."""


class Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shard(Plain):
    """Some of the works: names of files, and how many works there are in them."""

    works: str
    sketches: str
    count: int


class Source(Plain):
    """A folder or file that was added, and where the facts about its pictures came from."""

    path: str
    facts: str


class Manifest(Plain):
    """What a library is made with and consists of.

    `layers` are the numbers of a sketch by layer, `units` what they are divided by, so that layers count alike;
    `home` is where it lay when it was changed last: pictures may move with it.
    """

    format: int = FORMAT
    encoder: str
    encoder_checksum: str
    layers: dict[str, int]
    units: dict[str, float] = {}
    shards: tuple[Shard, ...] = ()
    skipped: str | None = None
    home: str = ""
    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.units.keys() != self.layers.keys() and (self.units or self.shards):
            raise ValueError("units of other layers")
        return self


@dataclass(frozen=True)
class Library:
    """A library as it was when it was opened. Raises `LibraryError` for files that are damaged or gone."""

    folder: Path
    manifest: Manifest

    def __len__(self) -> int:
        return sum(shard.count for shard in self.manifest.shards)

    def works(self, *columns: str) -> pa.Table:
        """Columns of all works, in order; paths are those where the pictures lie now."""
        tables = [self.works_of(shard, columns) for shard in self.manifest.shards]
        found = pa.concat_tables([_columns(columns).empty_table(), *tables])
        if "path" in columns and self.has_moved:
            paths = pa.array([self.now_at(path) for path in found["path"].to_pylist()], pa.string())
            found = found.set_column(found.schema.get_field_index("path"), SCHEMA.field("path"), paths)
        return found

    def works_of(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of a shard, as they were written."""
        schema = _columns(SCHEMA.names if columns is None else columns)
        table = self._read(shard.works, lambda path: _read_table(path, schema))
        if table.num_rows != shard.count:
            raise self.damaged(shard.works)
        return table

    def sketches_of(self, shard: Shard) -> Tensor:
        """Sketches of a shard `(count, numbers)`, float16, read from disk as far as they are looked at."""
        found: Tensor = self._read(shard.sketches, _mapped)
        if found.shape != (shard.count, sum(self.manifest.layers.values())) or found.dtype != torch.float16:
            raise self.damaged(shard.sketches)
        return found

    def sketches(self) -> list[Tensor]:
        """Sketches of all works, shard by shard."""
        return [self.sketches_of(shard) for shard in self.manifest.shards]

    def skipped(self) -> pa.Table:
        """Files that were looked at and are no works of their own."""
        if self.manifest.skipped is None:
            return SKIPPED.empty_table()
        return self._read(self.manifest.skipped, lambda path: _read_table(path, SKIPPED))

    @cached_property
    def has_moved(self) -> bool:
        """Whether it lies elsewhere than when it was changed last."""
        return self.manifest.home not in ("", str(self.folder.resolve()))

    def now_at(self, path: str) -> str:
        """Where a file lies that may have moved together with the library; the path itself if it is nowhere."""
        if not self.has_moved or not Path(path).is_absolute() or is_there(path):
            return path
        try:
            within = os.path.relpath(path, self.manifest.home)
        except ValueError:  # on another drive
            return path
        moved = os.path.normpath(self.folder.resolve() / within)
        return moved if is_there(moved) else path

    def find(self, path: str) -> Path:
        """A work's picture, also where it has moved together with the library; raises `LibraryError`."""
        found = self.now_at(path)
        if not is_there(found):
            raise LibraryError(
                f"{path}: no such file any more; put it back, or impasto library remove {self.folder} --missing"
            )
        return Path(found)

    def damaged(self, name: str, how: str = "is damaged") -> LibraryError:
        """What there is to say about one of the files."""
        return LibraryError(f"{self.folder / name}: {how}; impasto library rebuild {self.folder} makes it anew")

    def _read(self, name: str, read: Callable[[Path], Any]) -> Any:
        try:
            return read(self.folder / name)
        except FileNotFoundError:
            if _read_manifest(self.folder) != self.manifest:
                raise ChangedError(f"{self.folder}: was changed while it was read: try again") from None
            raise self.damaged(name, "is missing") from None
        except PermissionError:
            raise LibraryError(f"{self.folder / name}: may not be read; change its permissions") from None
        except (OSError, ValueError, pa.ArrowException, SafetensorError) as error:
            raise self.damaged(name) from error


def open_library(folder: str | PathLike[str]) -> Library:
    """The library in a folder; raises `LibraryError` if there is none, or one of a later format."""
    manifest = _read_manifest(Path(folder))
    as_text(Path(folder))
    return Library(Path(folder), manifest)


def is_library(path: Path) -> bool:
    """Whether there is a library in a folder, sound or damaged."""
    return (path / MANIFEST).is_file()


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
        raise LibraryError(f"{folder / MANIFEST}: is missing, and works are there; put it back, or move {folder} away")
    if others:
        raise LibraryError(
            f"{folder}: is a folder with other things in it; name a new one for the library, as art.library"
        )


def is_there(path: str) -> bool:
    """Whether there is such a file or folder; what may not be looked at is not gone."""
    try:
        return Path(path).exists()
    except OSError:
        return True


def size_of(path: Path) -> dict[str, Any]:
    """What tells that a file has changed, by column; raises OSError."""
    stat = path.stat()
    return {"bytes": stat.st_size, "modified": stat.st_mtime_ns}


def is_text(name: str) -> bool:
    """Whether a file's name is one that tables and JSON can hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(path: Path) -> str:
    """A whole path as the library's files hold it; raises `LibraryError` for a name that is no UTF-8."""
    try:
        whole = str(path.resolve())
    except (OSError, RuntimeError):  # links that lead to each other
        whole = str(path.absolute())
    if not is_text(whole):
        raise LibraryError(f"{whole}: the name is not UTF-8, and a library holds no others: rename it")
    return whole


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
        if _read_manifest(library.folder) != library.manifest:
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
            "sources": _sources_changed(now, change.sources),
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


def _sources_changed(now: Library, added: Sequence[Source]) -> tuple[Source, ...]:
    moved = [Source(path=now.now_at(one.path), facts=now.now_at(one.facts)) for one in now.manifest.sources]
    replaced = {one.path for one in added}
    return (*(one for one in moved if one.path not in replaced), *added)


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


def _columns(names: Sequence[str]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in names])


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    # A file of Arrow's own, and no threads: those that let go of a Python file last end in an abort of the process.
    with pa.OSFile(str(path)) as file, parquet.ParquetFile(file, page_checksum_verification=True) as found:
        return found.read(schema.names, use_threads=False).cast(schema)


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


def _mapped(path: Path) -> Tensor:
    with safe_open(path, "pt") as file:
        found: Tensor = file.get_tensor("sketches")
    return found


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    with atomic_write(folder / MANIFEST) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > FORMAT:
            raise LibraryError(f"{folder}: was written by a later impasto: bring this one up to date")
        return Manifest.model_validate(found)
    except (FileNotFoundError, NotADirectoryError):
        near = _near_library(folder)
        raise LibraryError(
            f"{folder}: is no style library{near}; impasto library add {folder} PICTURES makes one"
        ) from None
    except OSError as error:
        raise LibraryError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    except (ValueError, ValidationError):
        raise LibraryError(
            f"{path}: is damaged; move {folder} away and add its pictures again: impasto library add"
        ) from None


def _near_library(folder: Path) -> str:
    try:
        return near_file(folder.name, [one.name for one in folder.parent.iterdir() if is_library(one)])
    except OSError:
        return ""


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
            manifest = _read_manifest(folder)  # the one that counts now: a change may have ended just after it
            listed = {name for shard in manifest.shards for name in (shard.works, shard.sketches)} | {manifest.skipped}
            for path in folder.iterdir():
                if path.name.startswith(OURS) and path.name not in listed:
                    with suppress(OSError):  # still open somewhere, on Windows
                        path.unlink()

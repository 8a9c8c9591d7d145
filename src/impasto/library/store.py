"""A style library on disk: a folder with a manifest, and shards of works.

    library.json                what the library is made with, and which files belong to it
    works-….parquet             a row a work: `SCHEMA`
    sketches-….safetensors      their sketches in the same order, (works, numbers) in half precision
    skipped-….parquet           files that are no works of their own: duplicates and what cannot be read

Files are never changed: a change writes new ones, and then a new manifest, which alone says what counts. So a reader
sees the library as it was when it was opened, and a process that dies leaves nothing but files without meaning, which
the next change removes. Changes take turns by a lock. Other programs may read the Parquet files as they are.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from filelock import FileLock, Timeout
from pyarrow import parquet
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from impasto.errors import LibraryError
from impasto.pictures.atomic import atomic_write, write_failure

Row = Mapping[str, Any]
"""Values of a work by column."""

FORMAT = 1
MANIFEST = "library.json"
LOCK = ".lock"
SECONDS_TO_WAIT = 60.0
"""For another process's change; one takes a second."""
WORKS_OF_A_SHARD = 4096

SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # sha256 of the file
        ("path", pa.string()),
        ("title", pa.string()),
        ("author", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("licence", pa.string()),
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
        ("duplicate", pa.bool_()),
    ]
)


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


@dataclass(frozen=True)
class Library:
    """A library as it was when it was opened. Raises `LibraryError` for files that are damaged or gone."""

    folder: Path
    manifest: Manifest

    def __len__(self) -> int:
        return sum(shard.count for shard in self.manifest.shards)

    def works(self, *columns: str) -> pa.Table:
        """Columns of all works, in order."""
        tables = [self.works_of(shard, columns) for shard in self.manifest.shards]
        wanted = pa.schema([SCHEMA.field(name) for name in columns])
        return pa.concat_tables([wanted.empty_table(), *tables])

    def works_of(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of a shard."""
        names = SCHEMA.names if columns is None else [*columns]
        table = self._read(shard.works, lambda path: parquet.read_table(path, columns=names))
        if table.num_rows != shard.count:
            raise self._damaged(shard.works)
        return table.cast(pa.schema([SCHEMA.field(name) for name in names]))

    def sketches_of(self, shard: Shard) -> Tensor:
        """Sketches of a shard `(count, numbers)`, float16, read from disk as far as they are looked at."""
        found: Tensor = self._read(shard.sketches, _mapped)
        if found.shape != (shard.count, sum(self.manifest.layers.values())) or found.dtype != torch.float16:
            raise self._damaged(shard.sketches)
        return found

    def sketches(self) -> list[Tensor]:
        """Sketches of all works, shard by shard."""
        return [self.sketches_of(shard) for shard in self.manifest.shards]

    def skipped(self) -> pa.Table:
        """Files that were looked at and are no works of their own."""
        if self.manifest.skipped is None:
            return SKIPPED.empty_table()
        return self._read(self.manifest.skipped, parquet.read_table).cast(SKIPPED)

    def find(self, path: str) -> Path:
        """A work's picture, also where it has moved together with the library; raises `LibraryError`."""
        moved = self.folder.resolve() / os.path.relpath(path, self.manifest.home)
        for one in (Path(path), moved):
            if one.is_file():
                return one
        raise LibraryError(
            f"{path}: no such file any more; put it back, or impasto library remove {self.folder} --missing"
        )

    def _read(self, name: str, read: Callable[[Path], Any]) -> Any:
        try:
            return read(self.folder / name)
        except FileNotFoundError:
            if _read_manifest(self.folder) != self.manifest:
                raise LibraryError(f"{self.folder}: was changed while it was read: try again") from None
            raise self._damaged(name, "is missing") from None
        except (OSError, pa.ArrowException, SafetensorError, KeyError) as error:
            raise self._damaged(name) from error

    def _damaged(self, name: str, how: str = "is damaged") -> LibraryError:
        return LibraryError(f"{self.folder / name}: {how}; impasto library rebuild {self.folder} makes it anew")


def open_library(folder: str | PathLike[str]) -> Library:
    """The library in a folder; raises `LibraryError` if there is none, or one of a later format."""
    return Library(Path(folder), _read_manifest(Path(folder)))


def is_library(path: Path) -> bool:
    """Whether there is a library in a folder, sound or damaged."""
    return (path / MANIFEST).is_file()


def create_library(folder: Path, manifest: Manifest) -> Library:
    """A library without works in a folder that is empty or not there yet; raises `LibraryError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(one.name not in (LOCK, MANIFEST) for one in folder.iterdir()):
            raise LibraryError(
                f"{folder}: is a folder with other things in it; name a new one for the library, as art.library"
            )
    except FileExistsError:
        raise LibraryError(f"{folder}: is a file; a library is a folder: choose another name") from None
    except OSError as error:
        raise LibraryError(write_failure(folder, error)) from error
    with _alone(folder):
        if not is_library(folder):  # of another process
            _write_manifest(folder, manifest)
    return open_library(folder)


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
    skipped: Sequence[Row] | None = None
    """All of them, in place of those before."""
    sources: Sequence[Source] = ()


def commit(library: Library, change: Change) -> Library:
    """Make a change, whole or not at all; works that another process has added meanwhile are not added twice.

    Raises `LibraryError` where the disk is full or read-only, or another process does not finish its own.
    """
    try:
        with _alone(library.folder):
            now = open_library(library.folder)
            manifest = _changed(now, library, change)
            _write_manifest(library.folder, manifest)
            _tidy(library.folder, manifest)
    except OSError as error:
        raise LibraryError(write_failure(library.folder / MANIFEST, error)) from error
    return Library(library.folder, manifest)


def replace_by(library: Library, other: Library) -> Library:
    """A library with all that another one holds, in place of its own; the other one is of no use after."""
    manifest = other.manifest
    names = [name for shard in manifest.shards for name in (shard.works, shard.sketches)]
    names += [manifest.skipped] if manifest.skipped else []
    try:
        with _alone(library.folder):
            for name in names:
                (other.folder / name).replace(library.folder / name)
            manifest = manifest.model_copy(update={"home": str(library.folder.resolve())})
            _write_manifest(library.folder, manifest)
            _tidy(library.folder, manifest)
    except OSError as error:
        raise LibraryError(write_failure(library.folder / MANIFEST, error)) from error
    return Library(library.folder, manifest)


def _changed(now: Library, before: Library, change: Change) -> Manifest:
    shards = [_shard_changed(now, shard, change) for shard in now.manifest.shards]
    shards = [shard for shard in shards if shard.count]
    units = now.manifest.units
    theirs = _others(now, before)
    added = [
        (row, sketch) for row, sketch in zip(change.added, change.sketches, strict=True) if row["id"] not in theirs
    ]
    if added:
        rows, sketches = pa.Table.from_pylist([row for row, _ in added], SCHEMA), torch.stack([one for _, one in added])
        units = units or _units(sketches, now.manifest.layers)
        scale = torch.cat([torch.full((n,), 1 / units[layer]) for layer, n in now.manifest.layers.items()])
        shards = _appended(now, shards, rows, (sketches * scale).half())
    changes: dict[str, Any] = {"shards": tuple(shards), "units": units, "home": str(now.folder.resolve())}
    if change.skipped is not None:
        changes["skipped"] = _write_table(now.folder, "skipped", pa.Table.from_pylist(change.skipped, SKIPPED))
    replaced = {one.path for one in change.sources}
    rest = [one for one in now.manifest.sources if one.path not in replaced]
    changes["sources"] = (*rest, *change.sources)
    return now.manifest.model_copy(update=changes)


def _others(now: Library, before: Library) -> set[str]:
    """Ids of what another process has added since."""
    new = [shard for shard in now.manifest.shards if shard not in before.manifest.shards]
    return {one for shard in new for one in now.works_of(shard, ["id"])["id"].to_pylist()}


def _shard_changed(now: Library, shard: Shard, change: Change) -> Shard:
    """The shard without what is gone, and with what is replaced."""
    if not change.gone and not change.replaced:
        return shard
    ids = now.works_of(shard, ["id"])["id"].to_pylist()
    keep = [row for row, one in enumerate(ids) if one not in change.gone]
    if len(keep) == shard.count and not any(one in change.replaced for one in ids):
        return shard
    rows = now.works_of(shard).take(keep).to_pylist()
    table = pa.Table.from_pylist([row | change.replaced.get(row["id"], {}) for row in rows], SCHEMA)
    sketches = shard.sketches
    if len(keep) < shard.count:
        sketches = _write_sketches(now.folder, now.sketches_of(shard)[keep])
    return Shard(works=_write_table(now.folder, "works", table), sketches=sketches, count=len(keep))


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
    with atomic_write(folder / name) as temporary:
        parquet.write_table(table, temporary, compression="zstd")
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
        raise LibraryError(f"{folder}: is no style library; impasto library add {folder} PICTURES makes one") from None
    except OSError as error:
        raise LibraryError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    except (ValueError, ValidationError):
        raise LibraryError(
            f"{path}: is damaged; move {folder} away and add its pictures again: impasto library add"
        ) from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While nobody else changes the library."""
    try:
        with FileLock(folder / LOCK, timeout=SECONDS_TO_WAIT):
            yield
    except Timeout:
        raise LibraryError(f"{folder}: another process has been changing it for a while: try again later") from None


def _tidy(folder: Path, manifest: Manifest) -> None:
    """Remove files that no longer count, and what a process left that died."""
    listed = {name for shard in manifest.shards for name in (shard.works, shard.sketches)}
    listed |= {MANIFEST, LOCK, manifest.skipped or ""}
    for path in folder.iterdir():
        ours = path.name.startswith(("works-", "sketches-", "skipped-", ".impasto-"))
        if ours and path.name not in listed:
            with suppress(OSError):  # still open somewhere, on Windows
                path.unlink()

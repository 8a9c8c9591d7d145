"""A style library on disk: a folder with a manifest, and shards of works.

    library.json                what the library is made with, and which files belong to it
    works-….parquet             a row a work: `SCHEMA`
    sketches-….safetensors      their sketches in the same order, (works, numbers) in half precision
    skipped-….parquet           files that are no works: duplicates, what cannot be read, and what was taken out

Files are never changed: a change writes new ones, and then a new manifest, which alone says what counts. So a reader
sees the library as it was when it was opened, or is told that it has changed, and a process that dies leaves nothing
but files without meaning, which the next change removes. Changes take turns by a lock. Other programs may read the
Parquet files as they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import torch
from pyarrow import parquet
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from torch import Tensor

from impasto.errors import LibraryError, near_file

Row = Mapping[str, Any]
"""Values of a work by column."""

FORMAT = 1
MANIFEST = "library.json"
LOCK = ".lock"
TEMPORARY = ".impasto-"
"""What names of files begin with that are not yet whole."""
OURS = ("works-", "sketches-", "skipped-", TEMPORARY)
REMOVED = "taken out"
"""The reason why a file is skipped whose work was taken out for good."""

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
        ("id", pa.string()),  # of a duplicate, or of what was taken out: the work's
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
        """Files that were looked at and are no works."""
        if self.manifest.skipped is None:
            return SKIPPED.empty_table()
        return self._read(self.manifest.skipped, lambda path: _read_table(path, SKIPPED))

    @property
    def sources(self) -> list[Source]:
        """What was added, where it lies now; of the same path, the last one has the last word."""
        here = self.now_at
        return [Source(path=here(one.path), facts=here(one.facts)) for one in self.manifest.sources]

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
            if read_manifest(self.folder) != self.manifest:
                raise ChangedError(f"{self.folder}: was changed while it was read: try again") from None
            raise self.damaged(name, "is missing") from None
        except PermissionError:
            raise LibraryError(f"{self.folder / name}: may not be read; change its permissions") from None
        except (OSError, ValueError, pa.ArrowException, SafetensorError) as error:
            raise self.damaged(name) from error


def open_library(folder: str | PathLike[str]) -> Library:
    """The library in a folder; raises `LibraryError` if there is none, or one of a later format."""
    manifest = read_manifest(Path(folder))
    as_text(Path(folder))
    return Library(Path(folder), manifest)


def is_library(path: Path) -> bool:
    """Whether there is a library in a folder, sound or damaged."""
    return (path / MANIFEST).is_file()


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
        raise LibraryError(f"{path}: the name is not UTF-8, and a library holds no others: rename it")
    return whole


def _columns(names: Sequence[str]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in names])


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    # A file of Arrow's own, and no threads: those that let go of a Python file last end in an abort of the process.
    with pa.OSFile(str(path)) as file, parquet.ParquetFile(file, page_checksum_verification=True) as found:
        return found.read(schema.names, use_threads=False).cast(schema)


def _mapped(path: Path) -> Tensor:
    with safe_open(path, "pt") as file:
        found: Tensor = file.get_tensor("sketches")
    return found


def read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > FORMAT:
            raise LibraryError(f"{folder}: was written by a later impasto: bring this one up to date")
        return Manifest.model_validate(found)
    except (FileNotFoundError, NotADirectoryError):
        raise no_library(folder) from None
    except OSError as error:
        raise LibraryError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    except (ValueError, ValidationError):
        raise LibraryError(
            f"{path}: is damaged; move {folder} away and add its pictures again: impasto library add"
        ) from None


def no_library(folder: Path) -> LibraryError:
    """What there is to say about a place without a manifest."""
    if folder.is_file():
        return LibraryError(f"{folder}: is a file, and a style library is a folder")
    try:
        names = [one.name for one in folder.iterdir() if not one.name.startswith(TEMPORARY) and one.name != LOCK]
    except OSError:
        names = []
    if any(name.startswith(OURS) for name in names):
        return LibraryError(f"{folder / MANIFEST}: is missing, and works are there; put it back, or move {folder} away")
    if names:
        library = f"{folder if folder.name else folder.resolve().name}.library"
        return LibraryError(
            f"{folder}: is a folder of other things and no style library; impasto library add {library} {folder} makes "
            "one of its pictures"
        )
    near = _near_library(folder)
    return LibraryError(f"{folder}: is no style library{near}; impasto library add {folder} PICTURES makes one")


def _near_library(folder: Path) -> str:
    try:
        return near_file(folder.name, [one.name for one in folder.parent.iterdir() if is_library(one)])
    except OSError:
        return ""

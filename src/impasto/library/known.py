"""What a library holds, by path and by content, while it grows."""

from __future__ import annotations

from pathlib import Path

from impasto.library.store import SCHEMA, ChangedError, Library, Row, Shard, open_library, size_of

COLUMNS = tuple(name for name in SCHEMA.names if name not in ("thumbnail", "width", "height"))
"""What tells whether a file is known."""
ATTEMPTS = 10
"""To read a library that another process is changing."""


class Known:
    """The works of a library: rows by path, and paths by id. Raises `LibraryError` for one that is damaged."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.by_path: dict[str, Row] = {}
        self.path_of: dict[str, str] = {}
        self._shards: set[Shard] = set()
        self._learn()
        self._check()

    def take_in(self, library: Library) -> None:
        """Learn what the library holds now."""
        self.library = library
        self._learn()

    def stands(self, work: str) -> bool:
        """Whether a work's picture is where it was, unchanged."""
        path = self.path_of.get(work)
        try:
            return path is not None and has(self.by_path[path], size_of(Path(path)) | {"id": work})
        except OSError:
            return False

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
            self.by_path[row["path"]], self.path_of[row["id"]] = row, row["path"]
        self._shards = set(self.library.manifest.shards)

    def _check(self) -> None:
        """Find damage, as far as a look does, that would else be found when much has been read."""
        shards = self.library.manifest.shards
        for shard in shards:
            self.library.sketches_of(shard)
        for shard in shards[-1:]:  # it is filled up
            self.library.works_of(shard)


def has(row: Row, values: Row) -> bool:
    return all(row[key] == value for key, value in values.items())

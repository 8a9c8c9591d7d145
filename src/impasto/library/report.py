"""What becomes of files that are brought into a library: told in the end, and waiting to be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.library.changes import Change
from impasto.library.store import Row, Source


@dataclass
class Report:
    """What became of files; `duplicates`, `refused` and `stale` with reasons, by path."""

    added: int = 0
    known: int = 0
    """Files that were there already, unchanged."""
    changed: int = 0
    """Works whose facts are new."""
    unlisted: int = 0
    """Files that are not in the table that says the facts."""
    unused: dict[str, int] = field(default_factory=dict)
    """Rows of tables, by table, that are about none of the pictures."""
    removed: int = 0
    """Works that were taken out before, and are not added again."""
    gone: int = 0
    """Works that are left out because their pictures are gone."""
    duplicates: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    """Works whose facts stay as they were, because what says them cannot be read."""


@dataclass
class Waiting:
    """What is to be written."""

    new: list[tuple[Row, NDArray[np.float32]]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    replaced: dict[str, Row] = field(default_factory=dict)
    skipped: dict[str, Row | None] = field(default_factory=dict)
    sources: Sequence[Source] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.replaced or self.skipped or self.sources)

    @property
    def rows(self) -> list[Row]:
        """Of what is new."""
        return [row for row, _ in self.new]

    @property
    def change(self) -> Change:
        sketches = [torch.from_numpy(one) for _, one in self.new]
        return Change(self.rows, sketches, frozenset(self.gone), self.replaced, self.skipped, self.sources)

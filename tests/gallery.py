"""What tests of style libraries share: libraries of the works in the fixture `gallery`, and who reads what."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from impasto.library.adding import Report, add
from impasto.library.store import Library, open_library

LIBRARY = "art.library"
EVERY = ["carp.png", "crane.png", "hare.png", "hill.png", "river.png"]
HARE = Path("works/ink/hare.png")


def fill(*sources: str | Path, library: str | Path = LIBRARY, **options: Any) -> Report:
    """Add the works, or other sources, to a library."""
    return add(library, sources or ("works",), **{"encoder": "brief.safetensors", **options})


def opened(library: str | Path = LIBRARY) -> Library:
    return open_library(library)


def names(library: Library) -> list[str]:
    """Of the works' files, in order."""
    return [Path(path).name for path in library.works("path")["path"].to_pylist()]


def row_of(name: str, library: str | Path = LIBRARY) -> dict[str, Any]:
    """All that a library says of the work in a file."""
    found = [row for row in opened(library).works(*COLUMNS).to_pylist() if Path(row["path"]).name == name]
    assert len(found) == 1
    return found[0]


COLUMNS = ("id", "path", "title", "author", "tags", "licence", "width", "height", "bytes", "modified")


def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a picture that is read is a failure."""

    def fail(path: object, **_: object) -> None:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("impasto.library.reading.read_picture", fail)


def reading(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None] = lambda _: None) -> list[str]:
    """Names of the files that are read from now on; `before` is told each path, and may raise what reading would."""
    from impasto.library import reading as module

    seen: list[str] = []
    original = module.read_picture

    def read(path: str, **options: Any) -> Any:
        seen.append(Path(path).name)
        before(path)
        return original(path, **options)

    monkeypatch.setattr(module, "read_picture", read)
    return seen


def whole(path: str | Path) -> str:
    return str(Path(path).resolve())


def touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


def truncated(path: Path) -> None:
    path.write_bytes(HARE.read_bytes()[:200])

"""What is known of works beside their pictures: titles, authors, tags and licences, from wherever people keep them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto.errors import LibraryError, UsageError, near_file, near_match

PLACES = ("folders", "sidecar")
"""Where facts come from, other than a table."""
TABLES = (".csv", ".tsv", ".parquet", ".jsonl")

NAMES = {
    "path": ("path", "file", "filename", "file_name", "name", "image", "picture"),
    "title": ("title",),
    "author": ("author", "artist", "creator", "painter"),
    "tags": ("tags", "tag", "keywords", "labels", "style", "genre"),
    "licence": ("licence", "license", "rights"),
}
"""What columns are called that hold a fact; the first one that is there counts, of tags all do."""


@dataclass(frozen=True)
class Facts:
    """Of one work. Tags are in small letters, in order, each once."""

    title: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    licence: str = ""


FactsOf = Callable[[Path], Facts]


def facts_from(place: str, folder: Path) -> FactsOf:
    """What says the facts of pictures in `folder`.

    `place` is `folders` (`folder` and those between it and a picture are its tags), `sidecar` (a .json or .txt beside
    the picture) or a table: CSV, TSV, Parquet or JSON lines with a column of paths, names or stems of files. Raises
    `UsageError` for another place, `LibraryError` for a table that cannot be read.
    """
    if place == "folders":
        own = folder.resolve().name
        return lambda path: Facts(_title(path), tags=tags_of([own, *path.relative_to(folder).parts[:-1]]))
    if place == "sidecar":
        return _beside
    table = Path(place)
    if table.suffix.lower() not in TABLES:
        near = near_match(place, PLACES)
        raise UsageError(f"tags from {place}: unknown{near}; there are folders, sidecar and {', '.join(TABLES)} files")
    return _Table(table, folder)


def tags_of(words: Any) -> tuple[str, ...]:
    """Tags from words, or from a text in which commas, semicolons or bars separate them; None has none."""
    if words is None:
        return ()
    if not isinstance(words, list | tuple):
        words = str(words).replace(";", ",").replace("|", ",").split(",")
    plain = (" ".join(str(word).casefold().split()) for word in words)
    return tuple(dict.fromkeys(word for word in plain if word))


def _title(path: Path) -> str:
    return " ".join(path.stem.replace("_", " ").replace("-", " ").split())


def _beside(path: Path) -> Facts:
    """From `picture.json`, `picture.jpg.json`, `picture.txt` or `picture.jpg.txt`, the first that is there."""
    for suffix in (".json", ".txt"):
        for one in (path.with_suffix(suffix), path.with_name(path.name + suffix)):
            if one.is_file():
                text = _read(one)
                if suffix == ".txt":
                    return Facts(_title(path), tags=tags_of(text.replace("\n", ",")))
                return _facts(_parsed(text, one), path)
    return Facts(_title(path))


class _Table:
    """Facts by the path of a picture: from the table's folder, from the pictures', or by its name or stem alone."""

    def __init__(self, table: Path, folder: Path) -> None:
        self._folders = (folder.resolve(), table.resolve().parent)
        self._rows: dict[str, Mapping[str, Any]] = {}
        rows = _rows(table)
        column = _column(rows[0] if rows else {}, "path")
        if column is None:
            raise LibraryError(
                f"{table}: no column says which file a row is about; call it one of {', '.join(NAMES['path'])}"
            )
        for row in rows:
            self._rows.setdefault(Path(str(row[column]).replace("\\", "/")).as_posix(), row)

    def __call__(self, path: Path) -> Facts:
        whole = path.resolve()
        within = [whole.relative_to(one).as_posix() for one in self._folders if whole.is_relative_to(one)]
        for name in (whole.as_posix(), *within, path.name, path.stem):
            if name in self._rows:
                return _facts(self._rows[name], path)
        return Facts(_title(path))


def _facts(row: Mapping[str, Any], path: Path) -> Facts:
    found = {name: _column(row, name) for name in NAMES}
    text = {name: str(row[key] or "").strip() if key else "" for name, key in found.items()}
    tags = [one for key in row if key.lower() in NAMES["tags"] for one in tags_of(row[key])]
    return Facts(text["title"] or _title(path), text["author"], tags_of(tags), text["licence"])


def _column(row: Mapping[str, Any], name: str) -> str | None:
    by_name = {str(key).strip().lower(): key for key in row}
    return next((by_name[one] for one in NAMES[name] if one in by_name), None)


def _rows(table: Path) -> list[Mapping[str, Any]]:
    suffix = table.suffix.lower()
    if suffix == ".parquet":
        return _parquet_rows(table)
    text = _read(table)
    if suffix == ".jsonl":
        return [_parsed(line, table, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    try:
        return list(csv.DictReader(text.splitlines(), delimiter="\t" if suffix == ".tsv" else ",", strict=True))
    except csv.Error as error:
        raise LibraryError(f"{table}: is no table that can be read ({error}): mend it, or save it anew") from error


def _parquet_rows(table: Path) -> list[Mapping[str, Any]]:
    from pyarrow import ArrowException, parquet

    try:
        rows: list[Mapping[str, Any]] = parquet.read_table(table).to_pylist()
    except FileNotFoundError:
        raise LibraryError(_missing(table)) from None
    except (OSError, ArrowException) as error:
        raise LibraryError(f"{table}: is no Parquet file, or a damaged one: save it anew") from error
    return rows


def _parsed(text: str, file: Path, line: int | None = None) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        where = "" if line is None else f", line {line}"
        raise LibraryError(f'{file}{where}: is no JSON object, as {{"title": …, "tags": […]}}: mend it')
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise LibraryError(_missing(file)) from None
    except OSError as error:
        raise LibraryError(f"{file}: cannot be read ({error.strerror}): check its permissions") from error
    except UnicodeDecodeError:
        raise LibraryError(f"{file}: is not UTF-8 text: save it as UTF-8") from None


def _missing(file: Path) -> str:
    try:
        near = near_file(file.name, [one.name for one in file.parent.iterdir()])
    except OSError:
        near = ""
    return f"{file}: no such file{near}"

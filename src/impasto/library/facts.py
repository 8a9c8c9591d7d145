"""What is known of works beside their pictures: titles, authors, tags and licences, from wherever people keep them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
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
    return Table(table, folder)


def tags_of(words: Any) -> tuple[str, ...]:
    """Tags from words or texts in which commas, semicolons or bars separate them; None and NaN have none."""
    several = words if isinstance(words, list | tuple) else [words]
    plain = (as_words(part).casefold() for one in several for part in re.split("[,;|]", as_words(one)))
    return tuple(dict.fromkeys(word for word in plain if word))


def as_words(value: Any) -> str:
    """A value as text in one line, composed and without what is no character; nothing for None and NaN.

    Raises TypeError for a value that has parts with names.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, Mapping):
        raise TypeError("has parts with names")
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(as_words, value)))
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return " ".join(unicodedata.normalize("NFC", text.encode(errors="replace").decode()).split())


def _title(path: Path) -> str:
    return as_words(path.stem.replace("_", " ").replace("-", " "))


def _beside(path: Path) -> Facts:
    """From `picture.json`, `picture.jpg.json`, `picture.txt` or `picture.jpg.txt`, the first that is there."""
    for suffix in (".json", ".txt"):
        for one in (path.with_suffix(suffix), path.with_name(path.name + suffix)):
            if one.is_file():
                text = _read(one)
                if suffix == ".txt":
                    return Facts(_title(path), tags=tags_of(text.replace("\n", ",")))
                return _facts(_parsed(text, one), path, one)
    return Facts(_title(path))


class Table:
    """Facts by the path of a picture: from the table's folder, from the pictures', or by its name or stem alone."""

    def __init__(self, table: Path, folder: Path) -> None:
        self.path = table
        self._folders = (folder.resolve(), folder, table.resolve().parent)
        self._rows: dict[str, Mapping[str, Any]] = {}
        named = False
        for row in _rows(table):
            column = _column(row, "path")
            named = named or column is not None
            name = as_words(row[column]) if column is not None and not isinstance(row[column], Mapping) else ""
            if name:
                self._rows.setdefault(Path(name.replace("\\", "/")).as_posix(), row)
        if not named:
            raise LibraryError(
                f"{table}: no column says which file a row is about; call it one of {', '.join(NAMES['path'])}"
            )

    def __call__(self, path: Path) -> Facts:
        row = self._row(path)
        return Facts(_title(path)) if row is None else _facts(row, path, self.path)

    def knows(self, path: Path) -> bool:
        """Whether there is a row about a picture."""
        return self._row(path) is not None

    def _row(self, path: Path) -> Mapping[str, Any] | None:
        whole = path.resolve()
        within = [
            one.relative_to(folder).as_posix()
            for folder in self._folders
            for one in (whole, path)
            if one.is_relative_to(folder)
        ]
        names = (as_words(name) for name in (whole.as_posix(), *within, path.name, path.stem))
        return next((self._rows[name] for name in names if name in self._rows), None)


def _facts(row: Mapping[str, Any], path: Path, place: Path) -> Facts:
    found = {name: _column(row, name) for name in NAMES}
    try:
        text = {name: as_words(row[key]) if key else "" for name, key in found.items() if name != "path"}
        tags = [one for key in row if _plain(key) in NAMES["tags"] for one in tags_of(row[key])]
    except TypeError:
        raise LibraryError(f"{place}: what it says of {path.name} is no text, or a list of words: mend it") from None
    return Facts(text["title"] or _title(path), text["author"], tags_of(tags), text["licence"])


def _column(row: Mapping[str, Any], name: str) -> str | None:
    by_name = {_plain(key): key for key in row}
    return next((by_name[one] for one in NAMES[name] if one in by_name), None)


def _plain(key: str) -> str:
    return key.strip().lower()


def _rows(table: Path) -> list[Mapping[str, Any]]:
    suffix = table.suffix.lower()
    if suffix == ".parquet":
        return _parquet_rows(table)
    if suffix == ".jsonl":
        lines = enumerate(_read(table).split("\n"), 1)
        return [_parsed(line, table, number) for number, line in lines if line.strip()]
    return _separated_rows(table, "\t" if suffix == ".tsv" else ",")


def _separated_rows(table: Path, separator: str) -> list[Mapping[str, Any]]:
    reader = csv.DictReader(io.StringIO(_read(table)), delimiter=separator, strict=True)
    rows: list[Mapping[str, Any]] = []
    try:
        for row in reader:
            if None in row:
                raise LibraryError(
                    f"{table}, line {reader.line_num}: has more fields than the first line; put one that holds "
                    "separators in quotes"
                )
            rows.append(row)
    except csv.Error as error:
        raise LibraryError(f"{table}: is no table that can be read ({error}): mend it, or save it anew") from error
    return rows or [dict.fromkeys(reader.fieldnames or ())]


def _parquet_rows(table: Path) -> list[Mapping[str, Any]]:
    from pyarrow import ArrowException, OSFile, parquet

    try:
        with OSFile(str(table)) as file, parquet.ParquetFile(file) as opened:  # as in `store`
            found = opened.read(use_threads=False)
        rows: list[Mapping[str, Any]] = found.to_pylist()
    except (FileNotFoundError, PermissionError) as error:
        raise _unreadable(table, error) from error
    except (OSError, ValueError, ArrowException) as error:
        raise LibraryError(f"{table}: is no Parquet file, or a damaged one: save it anew") from error
    return rows or [dict.fromkeys(found.column_names)]


def _parsed(text: str, file: Path, line: int | None = None) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        where = "" if line is None else f", line {line}"
        raise LibraryError(f'{file}{where}: is no JSON object, as {{"title": …, "tags": […]}}: mend it')
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _unreadable(file, error) from error
    except UnicodeDecodeError:
        raise LibraryError(f"{file}: is not UTF-8 text: save it as UTF-8") from None


def _unreadable(file: Path, error: OSError) -> LibraryError:
    if not isinstance(error, FileNotFoundError):
        return LibraryError(f"{file}: cannot be read ({error.strerror}): check its permissions")
    try:
        near = near_file(file.name, [one.name for one in file.parent.iterdir()])
    except OSError:
        near = ""
    return LibraryError(f"{file}: no such file{near}")

"""What is known of works beside their pictures: titles, authors, tags and licences, from wherever people keep them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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


class FactsOf(Protocol):
    """What says the facts of pictures; raises `LibraryError` where that cannot be read."""

    def __call__(self, path: Path) -> Facts: ...

    def knows(self, path: Path) -> bool:
        """Whether it says anything of a picture."""


def facts_from(place: str, folder: Path) -> FactsOf:
    """What says the facts of pictures in `folder`.

    `place` is `folders` (`folder` and those between it and a picture are its tags), `sidecar` (a .json or .txt beside
    the picture) or a table: CSV, TSV, Parquet or JSON lines with a column of paths, names or stems of files. Raises
    `UsageError` for another place, `LibraryError` for a table that cannot be read.
    """
    if place == "folders":
        return Folders(folder)
    if place == "sidecar":
        return Sidecars()
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


class Folders:
    """The folder that was added, and those between it and a picture, are its tags."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._name = folder, folder.resolve().name

    def __call__(self, path: Path) -> Facts:
        return Facts(_title(path), tags=tags_of([self._name, *path.relative_to(self._folder).parts[:-1]]))

    def knows(self, path: Path) -> bool:
        return True


class Sidecars:
    """`picture.json`, `picture.jpg.json`, `picture.txt` or `picture.jpg.txt`, the first that is there."""

    def __call__(self, path: Path) -> Facts:
        beside = _beside(path)
        if beside is None:
            return Facts(_title(path))
        text = _read(beside)
        if beside.suffix == ".txt":
            return Facts(_title(path), tags=tags_of(text.replace("\n", ",")))
        return _facts(_parsed(text, beside), path, beside)

    def knows(self, path: Path) -> bool:
        return _beside(path) is not None


def _beside(path: Path) -> Path | None:
    names = (one for end in (".json", ".txt") for one in (path.with_suffix(end), path.with_name(path.name + end)))
    return next((one for one in names if one.is_file()), None)


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
        name = self.name_of(path)
        return Facts(_title(path)) if name is None else _facts(self._rows[name], path, self.path)

    def knows(self, path: Path) -> bool:
        return self.name_of(path) is not None

    @property
    def names(self) -> set[str]:
        """What the table calls the pictures that it has rows about."""
        return {*self._rows}

    def name_of(self, path: Path) -> str | None:
        """What the table calls a picture; None where it has no row about it."""
        whole = path.resolve()
        within = [
            one.relative_to(folder).as_posix()
            for folder in self._folders
            for one in (whole, path)
            if one.is_relative_to(folder)
        ]
        names = (as_words(name) for name in (whole.as_posix(), *within, path.name, path.stem))
        return next((name for name in names if name in self._rows), None)


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

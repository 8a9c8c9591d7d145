"""Pictures that are to be brought into a library, and what says their facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from impasto.errors import LibraryError, PictureError
from impasto.library.facts import FactsOf, Table, facts_from
from impasto.library.store import Source
from impasto.pictures.files import read_picture
from impasto.pictures.folders import pictures_in


@dataclass(frozen=True)
class Voice:
    """What may say the facts of a picture, the picture as it knows it, and how a library remembers it."""

    facts_of: FactsOf
    path: Path
    place: str

    @property
    def speaks(self) -> bool:
        return self.facts_of.knows(self.path)

    def facts(self) -> dict[str, Any]:
        """By column; raises `LibraryError`."""
        facts = self.facts_of(self.path)
        return asdict(facts) | {"tags": [*facts.tags], "facts": self.place}


@dataclass(frozen=True)
class Listed:
    """A picture as it was given, and what may say its facts: the last word first, and in the end its folders."""

    path: Path
    voices: tuple[Voice, ...]
    folders: Voice

    def said(self) -> dict[str, Any] | None:
        """Its facts, by column; None where nothing is said of it. Raises `LibraryError`."""
        return next((voice.facts() for voice in self.voices if voice.speaks), None)

    @cached_property
    def tables(self) -> list[tuple[Table, str | None]]:
        """Tables that may say its facts, and what they call it."""
        of_tables = ((one.facts_of, one.path) for one in self.voices)
        return [(table, table.name_of(path)) for table, path in of_tables if isinstance(table, Table)]


class Listing:
    """Pictures by their whole paths, with what says their facts; a later source has the last word on them.

    One that `is_silent` leaves the facts of known works as tables and sidecar files have said them; pictures that are
    `named` one by one are added even if they were taken out before.
    """

    def __init__(self) -> None:
        self.is_silent = False
        self.named: frozenset[str] = frozenset()
        self.pictures: dict[str, Listed] = {}
        self.sources: list[Source] = []
        self._facts: dict[tuple[str, Path], FactsOf] = {}

    def add(self, path: Path, facts: str, source: Source, before: Sequence[Source] = ()) -> None:
        """Enter the pictures of a source, of which sources `before` may say more; raises `PictureError` where there are
        none, and what `facts_from` does.
        """
        try:
            within = path.is_dir()
            if not path.exists():
                read_picture(path)  # says what is wrong
        except OSError as error:
            raise PictureError(f"{path}: may not be looked at ({error.strerror}); change its permissions") from error
        folder = path if within else path.parent
        tellers = [(self._told_by(one), one.facts) for one in reversed(before)]
        tellers.append((self._facts_from(facts, folder), source.facts))
        folders = self._facts_from("folders", folder)
        found: dict[str, Listed] = {}
        for one in pictures_in(path) if within else [path]:
            whole = str(one.resolve())  # a link counts as what it leads to
            earlier = self.pictures[whole].voices if whole in self.pictures else ()
            voices = *(Voice(facts_of, one, place) for facts_of, place in tellers), *earlier
            found.setdefault(whole, Listed(one, voices, Voice(folders, one, "folders")))
        self.pictures |= found
        self.sources.append(source)

    def _facts_from(self, facts: str, folder: Path) -> FactsOf:
        key = facts, folder
        if key not in self._facts:
            self._facts[key] = facts_from(*key)
        return self._facts[key]

    def _told_by(self, source: Source) -> FactsOf:
        path = Path(source.path)
        try:
            return self._facts_from(source.facts, path if path.is_dir() else path.parent)
        except LibraryError as error:
            raise LibraryError(
                f"{error}, or choose with --tags-from what says the facts of {source.path} from now on"
            ) from error

    def check_tables(self) -> None:
        """Raise `LibraryError` for a table without a row about any of its pictures: it is another one's."""
        for table, used in self._used().items():
            if not used:
                raise LibraryError(
                    f"{table}: has no row about any of these pictures; its column of files holds paths, names or names "
                    "without suffix: mend it, or choose another table"
                )

    def unused_rows(self) -> dict[str, int]:
        """By table, how many files it has rows about that are no pictures here."""
        names: dict[Path, set[str]] = {}
        for facts_of in self._facts.values():
            if isinstance(facts_of, Table):
                names.setdefault(facts_of.path, set()).update(facts_of.names)
        unused = {table: names[table] - used for table, used in self._used().items()}
        return {str(table): len(rows) for table, rows in unused.items() if rows}

    @property
    def unlisted(self) -> int:
        """How many pictures are in none of the tables that may say their facts."""
        tables = [one.tables for one in self.pictures.values()]
        return sum(bool(several) and not any(name for _, name in several) for several in tables)

    def _used(self) -> dict[Path, set[str]]:
        """By table, what it calls these pictures."""
        used: dict[Path, set[str]] = {}
        for listed in self.pictures.values():
            for table, name in listed.tables:
                names = used.setdefault(table.path, set())
                if name is not None:
                    names.add(name)
        return used

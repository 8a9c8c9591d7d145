"""Pictures that are to be brought into a library, and what says their facts."""

from __future__ import annotations

from pathlib import Path

from impasto.errors import LibraryError, PictureError
from impasto.library.facts import FactsOf, Table, facts_from
from impasto.library.store import Source
from impasto.pictures.files import read_picture
from impasto.pictures.folders import pictures_in


class Listing:
    """Pictures by their whole paths, with what says their facts; a later source has the last word on them.

    One that `is_silent` leaves the facts of known works as tables and sidecar files have said them.
    """

    def __init__(self) -> None:
        self.is_silent = False
        self.pictures: dict[str, tuple[Path, FactsOf]] = {}
        self.places: dict[str, str] = {}
        self.sources: dict[str, Source] = {}
        self._facts: dict[tuple[str, Path], FactsOf] = {}

    def add(self, path: Path, facts: str, source: Source) -> None:
        """Enter the pictures of a source; raises `PictureError` where there are none, and what `facts_from` does."""
        try:
            within = path.is_dir()
            if not path.exists():
                read_picture(path)  # says what is wrong
        except OSError as error:
            raise PictureError(f"{path}: may not be looked at ({error.strerror}); change its permissions") from error
        key = facts, path if within else path.parent
        if key not in self._facts:
            self._facts[key] = facts_from(*key)
        found: dict[str, tuple[Path, FactsOf]] = {}
        for one in pictures_in(path) if within else [path]:
            found.setdefault(str(one.resolve()), (one, self._facts[key]))  # a link counts as what it leads to
        self.pictures |= found
        self.places |= dict.fromkeys(found, source.facts)
        self.sources[source.path] = source

    def check_tables(self) -> None:
        """Raise `LibraryError` for a table without a row about any of its pictures: it is another one's."""
        used = {id(facts_of) for path, facts_of in self.pictures.values() if _is_in_table(facts_of, path)}
        for _, facts_of in self.pictures.values():
            if isinstance(facts_of, Table) and id(facts_of) not in used:
                raise LibraryError(
                    f"{facts_of.path}: has no row about any of these pictures; its column of files holds paths, names "
                    "or names without suffix: mend it, or choose another table"
                )

    @property
    def unlisted(self) -> int:
        """How many pictures are not in their table."""
        return sum(not _is_in_table(facts_of, path) for path, facts_of in self.pictures.values())


def _is_in_table(facts_of: FactsOf, path: Path) -> bool:
    return not isinstance(facts_of, Table) or facts_of.knows(path)

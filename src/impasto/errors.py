"""What can go wrong, as one helpful sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from impasto.results import Result


class ImpastoError(Exception):
    """Something failed; the message says what, where and what to do. The command line exits with 1."""

    exit_code = 1


class UsageError(ImpastoError, ValueError):
    """An argument is wrong: an unknown name, a value out of range. The command line exits with 2."""

    exit_code = 2


class PictureError(ImpastoError):
    """A picture cannot be read or written."""


class WeightsError(ImpastoError):
    """An encoder's weights cannot be found, downloaded or trusted."""


class FlowError(ImpastoError):
    """A flow cannot be read or written."""


class LibraryError(ImpastoError):
    """A style library cannot be read or written, or holds nothing that was asked for."""


class OutOfMemoryError(ImpastoError):
    """The work does not fit into memory; the message says what would."""


class Interrupted(ImpastoError):  # noqa: N818  (nothing went wrong)
    """Somebody stopped the work; the message says what became of it. The command line exits with 130.

    In Python, `result` is what was reached, if anything was.
    """

    exit_code = 130

    def __init__(self, message: str, reached: Callable[[], Result] | None = None) -> None:
        super().__init__(message)
        self._reached = reached

    @property
    def result(self) -> Result | None:
        return None if self._reached is None else self._reached()


def near_match(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` if something known is close to `word`, else an empty string."""
    return _nearest(word, {one: one.lstrip("-").lower() for one in known}, word.lstrip("-").lower())


def near_file(name: str, names: Iterable[str]) -> str:
    """The same of the name of a file: suffixes and capitals say little."""
    return _nearest(name, {one: Path(one).stem.lower() for one in names}, Path(name).stem.lower())


def _nearest(word: str, known: dict[str, str], plain: str) -> str:
    """Of what is known by plain words; of those that are equally close, the one closest to the word itself."""
    close = get_close_matches(plain, list(known.values()), n=1, cutoff=0.6)
    if not close:
        return ""
    alike = [one for one, spelt in known.items() if spelt == close[0]]
    best = get_close_matches(word, alike, n=1, cutoff=0.0)
    return f" (did you mean {best[0]}?)"


def counted(count: int, noun: str) -> str:
    """`1 style`, `3 styles`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

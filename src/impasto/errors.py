"""What can go wrong, as one helpful sentence each."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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


class OutOfMemoryError(ImpastoError):
    """The work does not fit into memory; the message says what would."""


class Interrupted(ImpastoError):  # noqa: N818  (nothing went wrong)
    """Somebody stopped the work; what was reached is saved. The command line exits with 130."""

    exit_code = 130


def near_match(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` if something known is close to `word`, else an empty string."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def counted(count: int, noun: str) -> str:
    """`1 style`, `3 styles`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

"""Files opened, or one sentence that says why they cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from impasto.errors import PictureError, near_file

HEAD = 64
"""Bytes that tell what a file is."""


@contextmanager
def opened(path: Path, label: str, what: str) -> Iterator[tuple[BinaryIO, bytes]]:
    """A file that is to be a `what`, with its first bytes, after which it goes on.

    Raises `PictureError`, also for what the system says while the block reads it; `label` is what messages call it.
    """
    try:
        if path.exists() and not path.is_file():
            raise PictureError(f"{label}: not a regular file; save the {what} to a file first")
        with path.open("rb") as file:
            head = file.read(HEAD)
            if not head:
                raise PictureError(f"{label}: the file is empty; copy or download it again")
            yield file, head
    except FileNotFoundError as error:
        raise PictureError(f"{label}: {_what_is_missing(path)}") from error
    except PermissionError as error:
        raise PictureError(f"{label}: may not be read; change its permissions") from error
    except OSError as error:
        raise PictureError(f"{label}: cannot be read ({error.strerror}); check the disk or the name") from error
    except ValueError as error:  # a name with a null character
        raise PictureError(f"{label!r}: no such file") from error


def _what_is_missing(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"no such file, there is no folder {path.parent}"
    return f"no such file{near_file(path.name, names)}"

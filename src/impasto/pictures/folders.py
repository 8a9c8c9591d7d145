"""Folders of pictures."""

from __future__ import annotations

from pathlib import Path

from impasto.errors import PictureError

SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"),
)
"""Of files that are pictures."""


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder and in those within it, by name, without hidden ones.

    Raises `PictureError` for a folder that holds none or cannot be read.
    """
    try:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:
        raise PictureError(f"{folder}: cannot be read ({error.strerror}): check its permissions") from error
    shown = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not shown:
        raise PictureError(f"{folder}: there are no pictures in this folder; put some there, or choose another")
    return shown

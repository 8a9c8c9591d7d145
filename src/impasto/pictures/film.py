"""Films from files and folders: videos, animations and numbered pictures."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

from impasto.errors import PictureError, UsageError
from impasto.pictures.decoding import identify
from impasto.pictures.footage import Film, Frame
from impasto.pictures.numbered import is_pattern, open_numbered
from impasto.pictures.opening import opened

__all__ = ["Film", "Frame", "open_film"]

_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")


def open_film(
    path: str | os.PathLike[str], *, rate: Fraction | int | None = None, max_pixels: int = 200_000_000
) -> Film:
    """Open a film: its frames come upright, in sRGB, float32 in 0..1, at their exact times.

    Files: whatever FFmpeg reads as a video, GIF, animated PNG, WebP and AVIF. Folders of numbered pictures, such as
    frame_0001.png, without gaps and of one size; a pattern such as frames/f_%04d.png names one of several series.
    `rate` is in frames a second and needed by folders only, 25 by default. `max_pixels` bounds width × height and is
    checked before anything is decoded.

    Raises PictureError for what is missing, unreadable, no film or too large, UsageError for an impossible `rate`.
    """
    path = Path(path)
    if rate is not None and not 0 < rate <= 1000:
        raise UsageError(f"rate {rate}: must lie above 0 and be at most 1000 frames a second")
    if is_pattern(path) or path.is_dir():
        return open_numbered(path, Fraction(rate or 25), max_pixels)
    kind = _kind(path)
    if kind in _ANIMATED:
        from impasto.pictures.animation import open_animation

        return open_animation(path, kind, max_pixels)
    if kind is not None:
        raise PictureError(f"{path}: is a picture, not a film; use impasto transfer")
    from impasto.pictures.video import open_video

    return open_video(path, max_pixels)


def _kind(path: Path) -> str | None:
    """The format of a picture file, None of what may be a video. Raises PictureError if there is no such file."""
    with opened(path, str(path), "film") as (_, head):
        try:
            return identify(head, path.name)
        except PictureError:  # no picture: perhaps a film
            return None

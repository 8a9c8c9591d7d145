"""Animations as films: GIF, and animated PNG, WebP and AVIF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from PIL import Image

from impasto.errors import ImpastoError, PictureError, counted
from impasto.pictures import png_chunks
from impasto.pictures.decoding import reported
from impasto.pictures.embedding import find_record
from impasto.pictures.footage import Film, Frame, frame_name, picture_of
from impasto.pictures.formats8 import open_lazily, raster_of_image
from impasto.pictures.picture import Picture
from impasto.pictures.raster import SizeCheck

TIME_BASE = Fraction(1, 1000)
FINEST = 65_535  # a PNG's durations are fractions of two such numbers
HURRIED, _UNHURRIED = Fraction(2, 100), Fraction(1, 10)
"""Seconds; a frame of a GIF that wants less than the first is shown for the second, as browsers do."""
FOREVER = 0
RECORD_MARK = b"impasto:"


# Reading


def open_animation(path: Path, kind: str, max_pixels: int) -> Film:
    """The film in a GIF, PNG, WEBP or AVIF file. Raises PictureError for a still picture, damage or too many pixels."""
    times = _times(path, kind, max_pixels)
    count, seconds = len(times) - 1, times[-1]
    with reported(str(path)), _opened(path, kind, max_pixels) as image:
        width, height = image.size
        loops = image.info.get("loop") == FOREVER

    def decode(start: int) -> Iterator[Frame]:
        with _opened(path, kind, max_pixels) as image:
            hidden = _hidden_frames(image)
            for number in range(start, count):
                picture = _frame(image, number + hidden, number, path, max_pixels)
                own = replace(picture, pixels=picture.pixels[..., :height, :width])  # what lies beyond is not shown
                yield Frame(number, times[number], own, times[number + 1])

    return Film(
        path=path,
        width=width,
        height=height,
        rate=count / seconds,
        time_base=TIME_BASE,
        count=count,
        seconds=float(seconds),
        decode=decode,
        files=(path,),
        loops=loops,
    )


def read_animation_record(path: Path) -> str | None:
    """The record that `join_parts` left, or None. Raises PictureError for a broken file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}); check the disk or the name") from error
    if data[:4] != b"GIF8":
        return find_record(data, "PNG" if data.startswith(png_chunks.SIGNATURE) else "WEBP", str(path))
    with reported(str(path)), open_lazily(data, "GIF", str(path), lambda *_: None) as image:
        comment = image.info.get("comment", b"")
        return comment.removeprefix(RECORD_MARK).decode() if comment.startswith(RECORD_MARK) else None


def _opened(path: Path, kind: str, max_pixels: int) -> Image.Image:
    try:
        return open_lazily(path.read_bytes(), kind, str(path), _size_check(path, max_pixels))
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror or 'it is damaged'}); copy it again") from error


def _times(path: Path, kind: str, max_pixels: int) -> list[Fraction]:
    """When each frame begins, and the last one ends."""
    with reported(str(path)), _opened(path, kind, max_pixels) as image:
        hidden, count = _hidden_frames(image), getattr(image, "n_frames", 1)
        if count - hidden < 2:
            raise PictureError(f"{path}: is a picture, not a film; use impasto transfer")
        times = [Fraction(0)]
        for index in range(hidden, count):
            image.seek(index)
            if kind in ("WEBP", "AVIF"):
                image.load()  # they know a frame's duration only then
            times.append(times[-1] + _duration(image, kind))
        return times


def _duration(image: Image.Image, kind: str) -> Fraction:
    seconds = Fraction(image.info.get("duration") or 0).limit_denominator(10_000) / 1000
    if kind == "PNG":  # Pillow multiplied the fraction in the file by 1000
        seconds = Fraction((image.info.get("duration") or 0) / 1000).limit_denominator(FINEST)
    return seconds if seconds >= (HURRIED if kind == "GIF" else TIME_BASE) else _UNHURRIED


def _hidden_frames(image: Image.Image) -> int:
    """1 for a PNG whose first picture is for viewers without animation only, else 0."""
    return int(bool(image.info.get("default_image")))


def _frame(image: Image.Image, index: int, number: int, path: Path, max_pixels: int) -> Picture:
    name = frame_name(path.name, number)
    try:
        with reported(name):
            image.seek(index)
            return picture_of(raster_of_image(image, name, _size_check(path, max_pixels)), name)
    except ImpastoError as error:
        raise PictureError(f"{path}: breaks off after {counted(number, 'frame')}; copy or download it again") from error


def _size_check(path: Path, max_pixels: int) -> SizeCheck:
    def check(width: int, height: int) -> None:
        if width * height > max_pixels:
            raise PictureError(
                f"{path}: {width}×{height} is more than the limit of {max_pixels} pixels; "
                f"if you trust it, use --max-pixels {width * height}"
            )

    return check

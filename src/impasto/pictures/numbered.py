"""Folders of numbered pictures as films, in and out."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from PIL import Image

from impasto.errors import PictureError
from impasto.pictures.atomic import atomic_write, write_failure
from impasto.pictures.files import read_picture, write_picture
from impasto.pictures.folders import SUFFIXES
from impasto.pictures.footage import Film, Frame
from impasto.pictures.formats8 import orientation
from impasto.pictures.opening import opened
from impasto.pictures.picture import Picture

RECORD = "record.json"
_USUAL_SERIES = "frame"
_USUAL_NAME = f"{_USUAL_SERIES}_%05d.png"
_PATTERN = re.compile(r"%0?\d*d")
_PATTERN_LAST = re.compile(r"%0?\d*d$")
_NUMBER_LAST = re.compile(r"(?P<stem>.*?)(?P<number>\d+)$")


def is_pattern(path: Path) -> bool:
    """Whether the name is one of numbered pictures, such as frame_%04d.png, and not of something that is there."""
    pattern = _PATTERN if path.suffix.lower() in SUFFIXES else _PATTERN_LAST
    return pattern.search(path.name) is not None and not path.exists()


def open_numbered(path: Path, rate: Fraction, max_pixels: int) -> Film:
    """The film in a folder, or of a pattern such as folder/frame_%04d.png, at `rate` frames a second.

    Raises PictureError for a folder or pattern without frames, a gap in their numbers, several series, several sizes.
    """
    files = _frames_of_pattern(path) if is_pattern(path) else _frames_in(path)
    first = read_picture(files[0], max_pixels=max_pixels)
    _check_sizes(files, first.width, first.height)

    def decode(start: int) -> Iterator[Frame]:
        for number in range(start, len(files)):
            picture = read_picture(files[number], max_pixels=max_pixels)
            _check_size(files[number], (picture.width, picture.height), (first.width, first.height))
            yield Frame(number, number / rate, picture)

    return Film(
        path=path,
        width=first.width,
        height=first.height,
        rate=rate,
        time_base=1 / rate,
        count=len(files),
        seconds=float(len(files) / rate),
        decode=decode,
        files=files,
        bits=min(first.bits, 16),
    )


def check_numbered(path: Path, count: int) -> None:
    """Raise PictureError for a folder or pattern with frames that would mix with a new film's, 1 to `count`."""
    present = _numbers_of(_pattern_of(path))
    if any(not 1 <= number <= count for number in present):
        raise PictureError(f"{path}: frames of another film are there already; empty it or choose another folder")


def remove_other_numbers(path: Path, count: int) -> None:
    """Remove from a folder, or of a pattern, the frames of a film that are no frames 1 to `count`.

    Raises PictureError for one that cannot be removed.
    """
    for number, frame in _numbers_of(_pattern_of(path)).items():
        if not 1 <= number <= count:
            try:
                frame.unlink(missing_ok=True)
            except OSError as error:
                raise PictureError(f"{frame}: cannot be removed ({error.strerror}); remove it yourself") from error


def write_numbered(path: Path, pictures: Iterable[Picture], *, bits: int, record: str | None) -> None:
    """Write PNGs of 8 or 16 bits numbered from 1, each of them whole, and the record beside them at `record_path`.

    `path` is a folder, which is made if need be, or a pattern. Raises PictureError where they cannot be written.
    """
    pattern = _pattern_of(path)
    try:
        pattern.parent.mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(pictures, 1):
            write_picture(picture, _numbered(pattern, number), bits=bits)
        if record is not None:
            with atomic_write(record_path(path)) as temporary:
                temporary.write_text(record, encoding="utf-8")
    except OSError as error:
        raise PictureError(write_failure(pattern.parent, error)) from error


def record_path(path: Path) -> Path:
    """Where the record of a folder or pattern is written: record.json, or a.record.json of a series a_%04d.png."""
    pattern = _pattern_of(path)
    series = _PATTERN.sub("", pattern.stem, count=1).strip("_-. ")
    return pattern.with_name(RECORD if series in ("", _USUAL_SERIES) else f"{series}.{RECORD}")


def read_numbered_record(path: Path) -> str | None:
    """The record of a folder or pattern, or None; a folder may hold that of a single series.

    Raises PictureError for what cannot be read, and for several series.
    """
    places = [record_path(path)]
    if not places[0].exists():
        places = [] if is_pattern(path) else [one for one in _entries(path) if one.name.endswith(f".{RECORD}")]
    if len(places) > 1:
        names = ", ".join(one.name for one in places[:3])
        raise PictureError(f"{path}: holds the records of {len(places)} films ({names}); name one of them")
    if not places:
        return None
    with opened(places[0], str(places[0]), "record") as (file, head):
        return (head + file.read()).decode(errors="replace")


def parts_of_pattern(pattern: Path) -> tuple[str, str]:
    """What comes before the number in a name such as frame_%04d.png, and after it."""
    before, after = _PATTERN.split(pattern.name, maxsplit=1)
    return before, after


def _pattern_of(path: Path) -> Path:
    return path if is_pattern(path) else path / _USUAL_NAME


def _numbered(pattern: Path, number: int) -> Path:
    return pattern.with_name(_PATTERN.sub(lambda found: found[0] % number, pattern.name, count=1))


def _numbers_of(pattern: Path) -> dict[int, Path]:
    before, after = parts_of_pattern(pattern)
    name = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    found = ((name.fullmatch(path.name), path) for path in _entries(pattern.parent))
    numbers: dict[int, Path] = {}
    for match, path in found:
        if match:
            _add(numbers, int(match[1]), path)
    return numbers


def _add(found: dict[int, Path], number: int, path: Path) -> None:
    if number in found:
        raise PictureError(f"{path}: is frame {number}, and so is {found[number].name}; remove one of them")
    found[number] = path


def _frames_of_pattern(pattern: Path) -> tuple[Path, ...]:
    found = _numbers_of(pattern)
    if not found:
        raise PictureError(f"{pattern}: no such frames; check the name, in which %04d stands for four digits")
    return _without_gaps(pattern.parent, found)


def _frames_in(folder: Path) -> tuple[Path, ...]:
    series: dict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
    for path in _entries(folder):
        match = _NUMBER_LAST.match(path.stem)
        if match and path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            _add(series[match["stem"], path.suffix], int(match["number"]), path)
    if not series:
        raise PictureError(f"{folder}: holds no numbered pictures, such as frame_0001.png; choose another folder")
    if len(series) > 1:
        names = ", ".join(f"{stem}…{suffix}" for stem, suffix in sorted(series)[:3])
        stem, suffix = min(series)
        raise PictureError(
            f"{folder}: holds {len(series)} series of numbered pictures ({names}); "
            f"name one, such as {folder / f'{stem}%04d{suffix}'}"
        )
    return _without_gaps(folder, next(iter(series.values())))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PictureError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error


def _without_gaps(folder: Path, found: dict[int, Path]) -> tuple[Path, ...]:
    numbers = sorted(found)
    for before, after in pairwise(numbers):
        if after != before + 1:
            raise PictureError(
                f"{folder}: frame {before + 1} is missing between {found[before].name} and {found[after].name}; "
                "add it or number the frames anew"
            )
    return tuple(found[number] for number in numbers)


def _check_sizes(files: tuple[Path, ...], width: int, height: int) -> None:
    """Look at the headers, so that a stray picture shows before hours of work rather than after them."""
    for file in files:
        # What is not Pillow's format, or damaged, will tell when the frame is read.
        with suppress(OSError, ValueError, SyntaxError), _opened_quietly(file) as image:
            turned = orientation(image) in (5, 6, 7, 8)
            _check_size(file, image.size[::-1] if turned else image.size, (width, height))


def _opened_quietly(file: Path) -> Image.Image:
    with warnings.catch_warnings(action="ignore"):
        return Image.open(file)


def _check_size(file: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    if size != expected:
        raise PictureError(
            f"{file}: is {size[0]}×{size[1]}, and the first frame {expected[0]}×{expected[1]}; "
            "make all frames of one size"
        )

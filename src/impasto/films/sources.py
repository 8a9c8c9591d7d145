"""What goes into a painted film: the film itself, pictures, and films of masks and maps that go along with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import Self

from impasto.errors import PictureError, UsageError
from impasto.jobs import Job
from impasto.pictures.files import read_picture
from impasto.pictures.film import Film, Frame, open_film
from impasto.pictures.folders import SUFFIXES
from impasto.pictures.map_files import read_map
from impasto.pictures.numbered import is_pattern
from impasto.pictures.picture import Picture

FINEST_RATE = 1001
"""Denominator of rates: 29.97002997 means 30000/1001, and containers hold no finer ones."""
NOTHING_BETWEEN = "between: there are no frames at these times: the film is shorter"
"""What is said where times lie beyond a film's end."""
ALONG = frozenset({"mask", "segmentation", "map", "start"})
"""Roles of what may move along with the film: a film or a folder of frames in place of a picture."""


@dataclass(frozen=True, eq=False)
class Sources:
    """The inputs of a film job, opened. `still` pictures by role, and films that move `along`, by role."""

    film: Film
    styles: Sequence[Picture]
    still: Mapping[str, Picture]
    along: Mapping[str, Film]

    @classmethod
    def of(cls, job: Job, rate: float | None = None) -> Self:
        """Open and read all that a job names; raises `ImpastoError`s for whatever cannot be."""
        film = open_source(_path(job), rate, job.max_pixels)
        read: dict[str, Picture] = {}
        along: dict[str, Film] = {}
        for role, source in job.sources.items():
            if role == "content":
                continue
            if role.rstrip("0123456789") in ALONG and isinstance(source, str | Path) and _moves(Path(source)):
                along[role] = _of_length(open_film(source, max_pixels=job.max_pixels), film, role)
            else:
                reader = read_map if job.settings.is_map(role) else read_picture
                name = Path(source).name if isinstance(source, str | Path) else role
                read[role] = reader(source, max_pixels=job.max_pixels, name=name)
        styles = [picture for role, picture in read.items() if job.method.is_input(role)]
        return cls(film, styles, {role: one for role, one in read.items() if not job.method.is_input(role)}, along)

    def frames(self, first: int = 0) -> Iterator[tuple[Frame, dict[str, Picture]]]:
        """Frames from `first` on, each with the pictures that belong to it, by role.

        Raises `PictureError` where the film breaks off, and where something that goes along ends before it.
        """
        films = {role: film.frames(first) for role, film in self.along.items()}
        own = self.film.frames(first)
        try:
            for frame in own:
                moving = {}
                for role, frames in films.items():
                    other = next(frames, None)
                    if other is None:
                        raise PictureError(
                            f"{self.along[role].path}: ends after {frame.number} frames, and "
                            f"{self.film.path.name} goes on: give a {role} for each of its frames"
                        )
                    moving[role] = other.picture
                yield frame, {**self.still, **moving}
        finally:
            for one in (own, *films.values()):
                close = getattr(one, "close", None)  # of generators: what they have open
                if close is not None:
                    close()


def open_source(path: Path, rate: float | None, max_pixels: int) -> Film:
    """The film that is painted; raises `UsageError` where it has a rate of its own, and what `open_film` raises."""
    film = open_film(path, rate=exact_rate(rate), max_pixels=max_pixels)
    if rate is not None and not (path.is_dir() or is_pattern(path)):
        raise UsageError(f"rate: is that of numbered pictures, and {path.name} has its own: leave it out")
    return film


def exact_rate(rate: float | None) -> Fraction | None:
    """The rate that is meant by a number such as 29.97002997."""
    return None if rate is None else Fraction(str(rate)).limit_denominator(FINEST_RATE)


def part_of(film: Film, between: tuple[float, ...] | None) -> Film:
    """The frames of a film from one time to another, in seconds, counted from 0 again.

    Where there are none, `UsageError` says so when they are asked for.
    """
    if between is None:
        return film
    start, end = exactly(between)

    def decode(first: int) -> Iterator[Frame]:
        begun: Fraction | None = None
        chosen = (frame for frame in film.frames() if frame.time >= start)
        for number, frame in enumerate(takewhile(lambda frame: frame.time < end, chosen)):
            begun = frame.time if begun is None else begun
            if number >= first:
                ends = None if frame.end is None else min(frame.end, end) - begun
                yield replace(frame, number=number, time=frame.time - begun, end=ends)
        if begun is None:
            raise UsageError(NOTHING_BETWEEN)

    return replace(film, decode=decode, count=None)


def exactly(between: tuple[float, ...]) -> tuple[Fraction, ...]:
    """Times as they were typed: 0.4 as a float is a little more, and the frame at 2/5 would come too early."""
    return tuple(Fraction(str(time)) for time in between)


def first_frame(film: Film) -> Picture:
    """The first frame of a film; raises `PictureError` if there is none."""
    frames = film.frames()
    frame = next(frames, None)
    if frame is None:
        raise PictureError(f"{film.path}: holds no frames")
    return frame.picture


def _path(job: Job) -> Path:
    source = job.inputs["content"]
    if not isinstance(source, str | Path):
        raise UsageError("content: must be the path of a film; for pictures in memory use impasto.paint_frames")
    return Path(source)


def _moves(path: Path) -> bool:
    """Whether a path names a film or a folder of frames and no picture."""
    return path.is_dir() or is_pattern(path) or (path.suffix.lower() not in SUFFIXES and path.suffix != ".npy")


def _of_length(other: Film, film: Film, role: str) -> Film:
    if None not in (other.count, film.count) and other.count != film.count:
        raise PictureError(
            f"{other.path}: has {other.count} frames and {film.path.name} has {film.count}: give a {role} for each"
        )
    return other

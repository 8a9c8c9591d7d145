"""Where a painted film goes, and the folder in which it is made."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from glob import escape
from itertools import count
from pathlib import Path
from typing import Any, Self

from impasto.errors import PictureError, UsageError, near_match
from impasto.output import MOST_NAMES, WORKSHOP, check_place, refuse_inputs
from impasto.pictures.atomic import write_failure
from impasto.pictures.film import Film
from impasto.pictures.film_format import FilmFormat
from impasto.pictures.numbered import is_pattern, parts_of_pattern

BESIDE = "side-by-side"
BESIDES = ("source", "frames")


@dataclass(frozen=True)
class FilmOutput:
    """Where and how a film is written. `beside` adds a second one: the source beside the result (`source`), or with
    every frame painted alone between them (`frames`)."""

    path: Path
    codec: str | None = None
    quality: str = "high"
    beside: str | None = None
    preview: bool = True
    force: bool = False
    made_in: Path | None = None

    def __post_init__(self) -> None:
        if self.beside not in (None, *BESIDES):
            near = near_match(str(self.beside), BESIDES)
            raise UsageError(f"beside {self.beside!r}: unknown{near}; use {' or '.join(BESIDES)}")

    @property
    def workshop(self) -> Path:
        """The folder of unfinished work: beside the film, if it is not another one that is gone on with."""
        return self.made_in or self.path.with_name(f"{_stem(self.path)}{WORKSHOP}")

    @property
    def preview_path(self) -> Path:
        return self.workshop / "preview.jpg"

    @property
    def beside_path(self) -> Path | None:
        """Of the second film."""
        if self.beside is None:
            return None
        suffix = self.path.suffix if not is_pattern(self.path) else ""
        return self.path.with_name(f"{_stem(self.path)}.{BESIDE}{suffix}")

    @property
    def files(self) -> list[Path]:
        return [self.path, *([] if self.beside_path is None else [self.beside_path])]

    def settled(self, inputs: Iterable[Path]) -> Self:
        """The output as it will be, before the work begins: what exists is kept by numbers, unless forced.

        Raises `UsageError` where an input would be written, `PictureError` where nothing can be.
        """
        if self.path.name in ("", ".."):  # a folder, by way of another one
            return replace(self, path=self.path.resolve()).settled(inputs)
        try:
            refuse_inputs(self.files, inputs)
            free = self if self.force else next(one for one in self._versions() if not one._is_taken())
        except OSError as error:  # a name that is too long, a folder that may not be read
            raise PictureError(write_failure(Path(error.filename or self.path), error)) from error
        for path in free.files:
            check_place(path.parent if is_pattern(path) and not path.parent.exists() else path)
        if free.workshop.exists():
            raise UsageError(
                f"{free.workshop}: holds unfinished work of this name: go on with impasto resume, or remove it"
            )
        return free

    def format_of(self, film: Film, width: int, height: int) -> FilmFormat:
        """How a film of that size is written; raises `UsageError` for an impossible suffix, codec or quality.

        A `UserWarning` says when it has fewer bits than the film.
        """
        format = FilmFormat.of(
            self.path,
            self.codec,
            self.quality,
            rate=film.rate,
            time_base=film.time_base,
            width=width,
            height=height,
            sample_aspect_ratio=film.sample_aspect_ratio,
            bits=film.bits,
            loops=film.loops is not False,
        )
        if film.bits > 8 and not format.deep:
            warnings.warn(
                f"{self.path.name}: has 8 bits per channel, and {film.path.name} has {film.bits}: "
                "--codec h265, --quality master or a folder of frames keep more",
                stacklevel=2,
            )
        return format

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which `from_json` makes it again, from any folder."""
        return {name: str(v.absolute()) if isinstance(v, Path) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], workshop: Path) -> Self:
        """The output of unfinished work, wherever it lies now; what has come to be there since is kept by numbers."""
        place = workshop.parent / Path(values["path"]).name
        output = cls(**{**values, "path": place, "made_in": workshop})
        return output if output.force else next(one for one in output._versions() if not one._is_taken())

    def _versions(self) -> Iterable[Self]:
        yield self
        for number in count(2):
            stem = _stem(self.path)
            rest = self.path.name.removeprefix(stem)
            yield replace(self, path=self.path.with_name(f"{stem}-{number}{'' if rest[:1] in '_.-' else '_'}{rest}"))

    def _is_taken(self) -> bool:
        pattern = is_pattern(self.path)
        taken = any(self.path.parent.glob(_glob(self.path))) if pattern else _is_there(self.path)
        unfinished = self.made_in is None and self.workshop.exists()
        return taken or unfinished or (self.beside_path is not None and self.beside_path.exists())


def default_film(inputs: Iterable[Path]) -> Path:
    """A name made of the inputs' names, beside the film, which decides the kind: a video, or a folder of frames."""
    film, *styles = inputs
    film = film if film.name not in ("", "..") else film.resolve()
    words = [_stem(film), *(one.stem for one in styles[: MOST_NAMES - 1])]
    if len(styles) > MOST_NAMES - 1:
        words.append(f"and-{len(styles) - MOST_NAMES + 1}")
    animated = film.suffix.lower() in (".gif", ".webp", ".apng")
    folder = film.is_dir() or is_pattern(film)
    suffix = "" if folder else film.suffix.lower() if animated else ".mp4"
    return film.parent / ("-".join(words) + suffix)


def _stem(path: Path) -> str:
    """The name without its suffix; of a pattern without its number."""
    return parts_of_pattern(path)[0].rstrip("_-.") or "frames" if is_pattern(path) else path.stem


def _is_there(path: Path) -> bool:
    """Whether there is something to keep: an empty folder is none."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _glob(pattern: Path) -> str:
    before, after = map(escape, parts_of_pattern(pattern))
    return f"{before}[0-9]*{after}"

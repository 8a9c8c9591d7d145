"""Where a result goes: names that keep what is there, and every refusal before the work begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Self, TypeVar

from impasto.errors import PictureError, UsageError
from impasto.origins import check_field
from impasto.pictures.atomic import try_folder, write_failure
from impasto.pictures.files import check_writable
from impasto.plots import check_plottable

MOST_NAMES = 4
"""In the default name of a result."""

CHECKPOINT, WORKSHOP = ".checkpoint.safetensors", ".unfinished"
"""In place of a result's suffix: its unfinished work, a file, or of a film a folder."""

PathOrNone = TypeVar("PathOrNone", Path, Path | None)

EXTRAS = ("plot", "record", "field")
"""What may be written beside a result, by option."""


@dataclass(frozen=True)
class Output:
    """Where and how a result is written. `EXTRAS` are paths of further files.

    `checkpoint` is where the work is kept until it is done; beside the result if not given.
    """

    path: Path
    quality: int = 95
    bits: int | None = None
    plot: Path | None = None
    record: Path | None = None
    field: Path | None = None
    preview: bool = True
    force: bool = False
    checkpoint: Path | None = None
    unfinished: tuple[Path, ...] = ()
    """Checkpoints of other work that would have had the same name."""

    @property
    def preview_path(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.preview.jpg")

    @property
    def checkpoint_path(self) -> Path:
        return self.checkpoint or self.path.with_name(f"{self.path.stem}{CHECKPOINT}")

    @property
    def files(self) -> list[Path]:
        """All that is written, the result first."""
        return [*self._named, self.checkpoint_path, *([self.preview_path] if self.preview else [])]

    @property
    def _named(self) -> list[Path]:
        """The result and what is to be beside it."""
        return [self.path, *(path for name in EXTRAS if (path := getattr(self, name)) is not None)]

    def settled(self, inputs: Iterable[Path]) -> Self:
        """The output as it will be, before the work begins: files that exist are kept by numbers, unless forced.

        Raises `UsageError` where an input would be written or an option is impossible, `PictureError` where
        nothing can be written.
        """
        try:
            self._refuse_folders()
            refuse_inputs(self.files, inputs)
            free = self if self.force else self._numbered()
        except OSError as error:  # a name that is too long, a folder that may not be read
            raise PictureError(write_failure(Path(error.filename or self.path), error)) from error
        free._check()
        return free

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which `from_json` makes it again, from any folder."""
        values = {name: value for name, value in asdict(self).items() if name != "unfinished"}
        return {name: str(v.absolute()) if isinstance(v, Path) else v for name, v in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], checkpoint: Path) -> Self:
        """The output that a checkpoint was meant for; raises `PictureError` if it cannot be understood."""
        places = {"path", *EXTRAS}
        known = {one.name for one in fields(cls)} - {"checkpoint", "unfinished"}
        try:
            read: dict[str, Any] = {
                name: Path(v) if name in places and v is not None else v for name, v in values.items()
            }
            return cls(**{name: read[name] for name in known}, checkpoint=checkpoint)
        except (KeyError, TypeError):
            raise PictureError(
                f"{checkpoint}: is a checkpoint of another version of impasto; start the work anew"
            ) from None

    def _refuse_folders(self) -> None:
        for path in self._named:
            if path.is_dir():
                raise PictureError(f"{path}: is a folder; add a file name, such as {path / 'picture.png'}")

    def earlier(self) -> Iterator[Self]:
        """Where there are results or unfinished work of this name: as it is, and numbered."""
        return takewhile(lambda one: any(one._traces()), self._versions())

    def _versions(self) -> Iterator[Self]:
        yield self
        for number in count(2):
            yield replace(self, path=self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}"))

    def _numbered(self) -> Self:
        taken = [] if self.checkpoint else [*self.earlier()]  # a checkpoint that is gone on from is no other work
        free = next(one for one in self._versions() if not any(one._traces()))
        unfinished = tuple(one.checkpoint_path for one in taken if one.checkpoint_path.exists())
        extras = {name: free_name(getattr(self, name)) for name in EXTRAS}
        return replace(free, **extras, unfinished=unfinished)

    def _traces(self) -> Iterator[Path]:
        """What there is of a result or of unfinished work; the checkpoint gone on from is its own."""
        own = [self.path] if self.checkpoint else [self.path, self.checkpoint_path, self.preview_path]
        yield from (path for path in own if path.exists())

    def _check(self) -> None:
        check_writable(self.path, quality=self.quality, bits=self.bits)
        if self.plot is not None:
            check_plottable(self.plot)
        if self.field is not None:
            check_field(self.field)
        places = [path.absolute() for path in self._named]
        for path in places[1:]:
            check_place(path)
        if len(set(places)) < len(places):
            raise UsageError(f"{self.path}: is named for two things; choose another name")


def refuse_inputs(files: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Raise `UsageError` where one of the files to be written is an input."""
    for one in inputs:
        for path in files:
            if path.exists() and one.exists() and path.samefile(one):
                raise UsageError(f"{path}: is an input, and inputs are never written: choose another name")


def unfinished_of(result: Path) -> Path:
    """The unfinished work of the result of this name, or the path itself if there is none."""
    places = [result.parent / (result.stem + suffix) for suffix in (CHECKPOINT, WORKSHOP)]
    return next((place for place in places if place.exists()), result)


def default_path(inputs: Iterable[Path]) -> Path:
    """A name made of the inputs' names, of the first few of many, beside the first of them."""
    paths = list(inputs)
    words = [one.stem for one in paths[:MOST_NAMES]]
    if len(paths) > MOST_NAMES:
        words.append(f"and-{len(paths) - MOST_NAMES}")
    return paths[0].parent / ("-".join(words) + ".png")  # with_name would refuse "." and "/"


def check_place(path: Path) -> None:
    """Raise the `PictureError` that writing a file there would meet, whatever its format."""
    try:
        try_folder(path)
    except OSError as error:
        raise PictureError(write_failure(path, error)) from error


def free_name(path: PathOrNone) -> PathOrNone:
    """The path, or the first of `name-2`, `name-3`, … that does not exist."""
    candidate, number = path, 2
    while path is not None and candidate is not None and candidate.exists():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate

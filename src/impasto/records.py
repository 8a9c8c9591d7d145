"""The record of a result: everything that made it, and enough to make it again."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from impasto.errors import PictureError
from impasto.pictures.files import read_embedded_record
from impasto.pictures.film_format import CONTAINERS
from impasto.pictures.film_writing import read_film_record
from impasto.pictures.numbered import is_pattern
from impasto.pictures.picture import Picture
from impasto.synthesis.optimize import Moment

HERE = Path()
LONGEST_HISTORY = 200
FILM_SUFFIXES = frozenset((*CONTAINERS, ".gif", ".apng"))
"""Of files that hold their record as films do."""


class InputRecord(BaseModel):
    """A picture that went in: its role, where it was, and what it was."""

    model_config = ConfigDict(frozen=True)

    role: str
    path: str | None
    sha256: str | None
    width: int
    height: int

    @classmethod
    def of(cls, role: str, picture: Picture) -> InputRecord:
        return cls(
            role=role,
            path=str(picture.path).encode("utf-8", "backslashreplace").decode() if picture.path else None,
            sha256=picture.sha256,
            width=picture.width,
            height=picture.height,
        )

    def seen_from(self, folder: Path, now: Path = HERE) -> InputRecord:
        if self.path is None:
            return self
        path = now / self.path
        try:
            return self.model_copy(update={"path": os.path.relpath(path, folder)})
        except ValueError:  # on another drive
            return self.model_copy(update={"path": str(path.absolute())})


class MomentRecord(BaseModel):
    """The losses at one step."""

    model_config = ConfigDict(frozen=True)

    size: int
    step: int
    total: float
    losses: dict[str, float]


class Record(BaseModel):
    """What made a result. `seconds` of work, `peak_memory` in bytes, `history` thinned to some 200 lines.

    `facts` is what the method found out about its inputs.
    """

    model_config = ConfigDict(frozen=True)

    impasto: str
    torch: str
    python: str = platform.python_version()
    method: str
    settings: dict[str, Any]
    inputs: tuple[InputRecord, ...]
    encoder: str
    encoder_checksum: str
    device: str
    precision: str
    width: int
    height: int
    seconds: float
    peak_memory: int
    history: tuple[MomentRecord, ...] = ()
    facts: dict[str, Any] = {}

    def to_json(self) -> str:
        return self.model_dump_json()

    def seen_from(self, folder: Path, now: Path = HERE) -> Record:
        """The same, with the paths of inputs, now from `now`, as they are from a folder: the two may move together."""
        return self.model_copy(update={"inputs": tuple(one.seen_from(folder, now) for one in self.inputs)})

    def same_work(self, other: Record) -> bool:
        """Whether another record tells of the same work: the same settings and encoder, inputs of the same content."""
        return self._work() == other._work() and all(one.sha256 for one in self.inputs)

    def _work(self) -> tuple[list[tuple[str, str | None]], dict[str, Any]]:
        inputs = [(one.role, one.sha256) for one in self.inputs]
        return inputs, self.model_dump(mode="json", include={"impasto", "method", "settings", "encoder_checksum"})

    @classmethod
    def from_json(cls, text: str, name: str) -> Record:
        """Read what `to_json` wrote into the file `name`; raises `PictureError`."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            raise PictureError(
                f"{name}: its record is damaged or of another version: rerun needs a picture that impasto wrote"
            ) from None


def read_record(path: Path) -> Record:
    """The record that `find_record` finds; raises `PictureError` if there is none."""
    record = find_record(path)
    if record is None:
        raise PictureError(
            f"{path}: holds no impasto record; rerun needs a picture or film that impasto wrote, or its .json"
        )
    return record


def find_record(path: Path) -> Record | None:
    """The record embedded in a picture or film, beside the frames of one, or in a .json; None if there is none.

    Its paths are those from the folder in which `path` lies. Raises `PictureError` for what cannot be read.
    """
    if path.suffix == ".json":
        return Record.from_json(_read_text(path), path.name)
    text = read_film_record(path) if _may_be_film(path) else read_embedded_record(path)
    if text is None:
        return None
    record = Record.from_json(text, str(path))
    return record.seen_from(path.parent, now=path) if path.is_dir() else record


def _may_be_film(path: Path) -> bool:
    return path.is_dir() or is_pattern(path) or path.suffix.lower() in FILM_SUFFIXES


def thinned(history: Sequence[Moment]) -> tuple[MomentRecord, ...]:
    """At most `LONGEST_HISTORY` lines of a history, evenly chosen, the last one among them; five digits."""
    every = -(-len(history) // LONGEST_HISTORY) or 1
    chosen = [moment for i, moment in enumerate(history) if (len(history) - 1 - i) % every == 0]
    return tuple(
        MomentRecord(
            size=moment.size,
            step=moment.step,
            total=_rounded(moment.total),
            losses={name: _rounded(value) for name, value in moment.losses.items()},
        )
        for moment in chosen
    )


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None
    except UnicodeDecodeError:
        raise PictureError(f"{path}: is no text: rerun needs the .json that --record wrote") from None

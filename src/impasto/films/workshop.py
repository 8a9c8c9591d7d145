"""The folder in which a film is made: painted frames wait there for their part of it, and parts for the whole.

Whatever happens, what is there can be gone on with: each file appears whole, a checkpoint is written before frames are
made into a part and removed, and what is newer than the checkpoint is painted again, to the same result.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from impasto.errors import PictureError
from impasto.pictures.atomic import write_failure
from impasto.pictures.files import read_picture, write_picture
from impasto.pictures.film_format import FilmFormat
from impasto.pictures.film_writing import join_parts, write_part
from impasto.pictures.picture import Picture

FRAMES_OF_A_PART = 48


@dataclass(frozen=True)
class Reel:
    """The frames of one film in a folder: pictures `number-time.png`, and parts of the film `number-last.mp4`."""

    folder: Path
    format: FilmFormat

    def add(self, number: int, time: Fraction, picture: Picture) -> None:
        """Keep a painted frame; raises `PictureError`."""
        self._make_folder()
        path = self.folder / f"{number:09d}_{time.numerator}_{time.denominator}.png"
        write_picture(picture, path, bits=16 if self.format.deep else 8)

    @property
    def count(self) -> int:
        """How many frames wait to be made into a part."""
        return len(self._waiting())

    def pack(self, end: Fraction, at_least: int = FRAMES_OF_A_PART) -> None:
        """Make a part of the frames that wait, if there are so many; the last of them is shown until `end`."""
        waiting = self._waiting()
        if len(waiting) < max(1, at_least):
            return
        first, last = _number(waiting[0]), _number(waiting[-1])
        part = self.folder / f"{first:09d}-{last:09d}{self.format.part_suffix}"
        write_part(part, _read(waiting), self.format, end)
        _remove(waiting)

    def forget_from(self, number: int) -> None:
        """Remove what is of frames from that one on, and pictures that are in a part already."""
        _remove([part for part in self._parts() if _last(part) >= number])
        packed = max((_last(part) for part in self._parts()), default=-1)
        _remove([path for path in self._waiting() if not packed < _number(path) < number])

    def write(
        self,
        target: Path,
        sound_of: Path | None,
        start: Fraction,
        end: Fraction,
        record: str | None,
        *,
        cut_sound: bool = True,
        replaces: bool = False,
    ) -> None:
        """Join the parts to a film from `start` to `end`, with the sound of another one then; raises `PictureError`.

        Without `cut_sound`, sound that outlasts the pictures goes on to its own end. What is in the way is only removed
        if the film `replaces` it.
        """
        join_parts(
            self._parts(),
            target,
            self.format,
            sound_of=sound_of if self.format.kind == "video" else None,
            sound_start=start,
            end=end,
            cut_sound=cut_sound,
            record=record,
            replaces=replaces,
        )

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob(f"*-*{self.format.part_suffix}"))

    def _waiting(self) -> list[Path]:
        return sorted(self.folder.glob("*_*_*.png"))

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PictureError(write_failure(self.folder, error)) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder of unfinished work, as far as it can be."""
    shutil.rmtree(folder, ignore_errors=True)


def _read(paths: Sequence[Path]) -> Iterator[tuple[Tensor, Fraction]]:
    for path in paths:
        picture = read_picture(path, max_pixels=1 << 40)
        _, numerator, denominator = path.stem.split("_")
        pixels = picture.pixels if picture.alpha is None else torch.cat([picture.pixels, picture.alpha], 1)
        yield pixels, Fraction(int(numerator), int(denominator))


def _number(path: Path) -> int:
    return int(path.stem.partition("_")[0])


def _last(part: Path) -> int:
    return int(part.stem.partition("-")[2])


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)

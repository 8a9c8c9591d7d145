"""A film in memory: what is known of it, and its frames one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.errors import PictureError
from impasto.pictures.picture import Picture
from impasto.pictures.raster import Raster, develop, in_srgb


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a film: its `number` from 0 in order of presentation, its `time` in seconds from the first.

    `end` is when it is no longer shown, None where the film does not say so.
    """

    number: int
    time: Fraction
    picture: Picture
    end: Fraction | None = None


@dataclass(frozen=True, eq=False)
class Film:
    """A film that can be decoded as often as one likes.

    `width` and `height` are upright and in stored pixels, each of which is `sample_aspect_ratio` as wide as high.
    `rate` is in frames a second, on average; frames lie at multiples of `time_base` seconds. `count` and `seconds`
    are what the file says, None where it says nothing, exact for folders and animations. `has_sound` says whether one
    of the `sound_tracks` can be decoded. `bits` is the depth per channel; `loops` says of an animation whether it
    plays forever, and is None for other films.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    count: int | None
    seconds: float | None
    decode: Callable[[int], Iterator[Frame]] = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)
    sample_aspect_ratio: Fraction = Fraction(1)
    bits: int = 8
    has_sound: bool = False
    sound_tracks: int = 0
    loops: bool | None = None

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """Decode anew from frame `first` on, a few frames in memory at a time.

        Raises PictureError where the film breaks off, changes its size or cannot be read any more; what came before
        has been yielded.
        """
        return self.decode(first)

    @cached_property
    def sha256(self) -> str:
        """Of the file; of a folder, of its frames' names and digests. Raises PictureError for what cannot be read."""
        if self.files == (self.path,):
            return _digest(self.path)
        lines = "".join(f"{_digest(file)}  {file.name}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def picture_of(raster: Raster, name: str) -> Picture:
    """A decoded frame as a picture. Unlike a photograph, it may be invisible: it is black and transparent then."""
    raster = in_srgb(raster, name)
    if raster.alpha is not None and not raster.alpha.any():
        height, width = raster.values.shape[:2]
        return Picture(torch.zeros(1, 3, height, width), torch.zeros(1, 1, height, width), raster.bits, name)
    pixels, alpha = develop(raster, name)
    return Picture(pixels, alpha, raster.bits, name)


def raster_of_frame(values: NDArray[Any], bits: int, orientation: int = 1) -> Raster:
    """`(H, W, 3|4)`, uint8 or uint16, as it was decoded."""
    colours, alpha = values[..., :3], values[..., 3:]
    return Raster(np.ascontiguousarray(colours), "rgb", alpha if alpha.size else None, None, orientation, bits)


def frame_name(name: str, number: int) -> str:
    """What messages call a frame."""
    return f"{name}, frame {number}"


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise PictureError(f"{file}: cannot be read ({error.strerror}); check the disk or its permissions") from error

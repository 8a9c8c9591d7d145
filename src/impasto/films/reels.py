"""What is made of painted frames: the film, and a second one that shows them beside their source."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

import torch

from impasto.films.output import FilmOutput
from impasto.films.running import FilmRunning
from impasto.films.workshop import FRAMES_OF_A_PART, Reel
from impasto.methods.film import PaintedFrame
from impasto.pictures.film import Frame
from impasto.pictures.numbered import record_path
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize

GAP = 0.02
"""Between pictures beside each other, as a share of their width."""


@dataclass(frozen=True)
class Reels:
    """The reels of a job: that of the film, and that of the comparison if one is wanted."""

    running: FilmRunning
    output: FilmOutput
    film: Reel
    comparison: Reel | None

    @classmethod
    def of(cls, running: FilmRunning, output: FilmOutput) -> Self:
        """Raises `UsageError` for an impossible suffix, codec or quality."""
        height, width = running.size
        format = output.format_of(running.film, width, height)
        film = Reel(output.workshop / "film", format)
        if output.beside is None:
            return cls(running, output, film, None)
        count = 3 if output.beside == "frames" else 2
        wide = replace(format, width=count * width + (count - 1) * _gap(width))
        return cls(running, output, film, Reel(output.workshop / "comparison", wide))

    def add(self, frame: Frame, pictures: Mapping[str, Picture], painted: PaintedFrame) -> None:
        """Keep a painted frame; raises `PictureError`."""
        if painted.picture.alpha is not None and self.film.format.kind == "video":
            warnings.warn(
                f"{self.output.path.name}: transparency is laid on white; .webp, .png and folders of frames keep it",
                stacklevel=2,
            )
        self.film.add(frame.number, frame.time, painted.picture)
        if self.comparison is not None:
            self.comparison.add(frame.number, frame.time, self._beside(frame, pictures, painted))

    def is_full(self) -> bool:
        """Whether enough frames wait to be made into a part."""
        return self.film.count >= FRAMES_OF_A_PART

    def pack(self, end: Fraction, at_least: int = FRAMES_OF_A_PART) -> None:
        """Make parts of the frames that wait; the last of them is shown until `end`, in seconds."""
        for reel in self._all():
            reel.pack(end, at_least)

    def forget_from(self, number: int) -> None:
        """Remove what there is of frames from that one on."""
        for reel in self._all():
            reel.forget_from(number)

    def write(self, end: Fraction, *, broken: bool = False) -> None:
        """Write the films, the last frame shown until `end`; raises `PictureError`.

        Sound ends there, too, where that is not the whole film: `between` two times, or with `broken`, up to a fault.
        """
        source = self.running.film
        sound = source.path if source.sound_tracks else None
        cut = broken or self.running.settings.between is not None
        record = self.running.record()
        how = {"quality": self.output.quality, "codec": self.output.codec}
        record = record.model_copy(update={"facts": record.facts | how})
        for reel, path in zip(self._all(), self.output.files, strict=True):
            folder = record_path(path).parent if reel.format.kind == "folder" else path.parent
            text = record.seen_from(folder).to_json()
            start, force = self.running.begun or Fraction(0), self.output.force
            reel.write(path, sound, start, end, text, cut_sound=cut, replaces=force)

    def _all(self) -> list[Reel]:
        return [self.film, *([] if self.comparison is None else [self.comparison])]

    def _beside(self, frame: Frame, pictures: Mapping[str, Picture], painted: PaintedFrame) -> Picture:
        """Source and painting beside each other, the frame painted alone between them if that is wanted."""
        pixels = painted.picture.pixels
        height, width = pixels.shape[-2:]
        shown = [resize(frame.picture.pixels, height, width), pixels]
        if self.output.beside == "frames":
            shown.insert(1, self.running.painter.alone(frame, pictures).pixels)
        gap = torch.ones(1, 3, height, _gap(width))
        parts = [part for one in shown for part in (one, gap)][:-1]
        return Picture(torch.cat(parts, 3))


def _gap(width: int) -> int:
    """In pixels, even."""
    return 2 * max(1, round(GAP * width / 2))

"""Several passes over a film, to and fro: each frame is painted again between its neighbours, so that both count.

Ruder, Dosovitskiy & Brox (2016), section 3.4: what a frame begins with is itself, blended with both neighbours moved
along the flow, x ← (x + δ c⁻ ω(x⁻) + δ c⁺ ω(x⁺)) / (1 + δ c⁻ + δ c⁺); the temporal loss joins in after half of the
passes. What came into view late is painted as it will look, and a loop closes. Here the first pass is the one that
paints a film along the flow already, so that few more are enough.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from impasto.errors import Interrupted, PictureError
from impasto.films.running import FilmRunning
from impasto.methods.film import PaintedFrame
from impasto.methods.tracking import Seen
from impasto.pictures.atomic import atomic_write, write_failure
from impasto.pictures.film import Frame
from impasto.pictures.picture import Picture

LEVELS = 65_535
"""Of what is kept of a frame between passes."""


class Passes:
    """The frames of a film between passes, in a folder: `number-pass`; what is there is not painted again."""

    def __init__(self, running: FilmRunning, folder: Path) -> None:
        self.running, self.folder, self.settings = running, folder, running.settings
        self._closed = False

    def keep(self, number: int, pictures: Mapping[str, Picture]) -> None:
        """Keep the frame painted last, by the first pass, and what goes along with it; raises `PictureError`."""
        seen = self.running.painter.last
        source = seen.source if seen.alpha is None else torch.cat([seen.source, seen.alpha], 1)
        for role in self.running.sources.along:
            one = pictures[role]
            self._write(
                self._path(number, 0, role), torch.cat([one.pixels, *([] if one.alpha is None else [one.alpha])], 1)
            )
        self._write(self._path(number, 0, "source"), source, seen.time)
        self._write(self._path(number, 1), seen.painted)

    def refine(self, watch: Callable[[int], None]) -> None:
        """Do all passes but the first; `watch` is told of frames done. Raises `Interrupted` when cancelled."""
        numbers = self._numbers()
        self._closed = self.settings.loop and self._closes(numbers)
        for turn in range(max(2, self._reached()), self.settings.passes + 1):
            order = numbers if turn % 2 else numbers[::-1]
            for place, number in enumerate(order):
                if not self._path(number, turn).exists():
                    before, after = self._neighbours(order, place)
                    self._paint(number, turn, before, after)
                watch(len(numbers) * (turn - 1) + place + 1)
            for number in numbers:
                self._path(number, turn - 1).unlink(missing_ok=True)

    def finished(self) -> Iterator[tuple[Frame, dict[str, Picture], PaintedFrame]]:
        """The frames as they are after all passes, from the first; no further, for the film may break off there."""
        last = max(self._numbers())
        for frame, pictures in self.running.all_frames():
            painted = self._read(self._path(frame.number, self.settings.passes))
            begins = frame.number in self.running.shots
            yield frame, pictures, self.running.painter.finish(frame, pictures, painted, begins)
            if frame.number == last:
                return

    def _reached(self) -> int:
        """The last pass of which there is something: what came before that is done, and may be gone."""
        turns = (path.stem.partition("-")[2] for path in self.folder.glob("*-*.safetensors"))
        return max((int(turn) for turn in turns if turn.isdigit()), default=1)

    def _numbers(self) -> list[int]:
        """Of the frames that are kept."""
        return sorted(int(path.name.partition("-")[0]) for path in self.folder.glob("*-source.safetensors"))

    def _neighbours(self, order: list[int], place: int) -> tuple[int | None, int | None]:
        """The frames before and after one, in the order of a pass, if they are of its shot; a loop has no ends."""
        own = order[place]

        def near(step: int) -> int | None:
            inside = 0 <= place + step < len(order)
            other = order[(place + step) % len(order)]
            if not inside:
                return other if self._closed else None
            return None if max(own, other) in self.running.shots else other

        return (near(-1), near(1)) if len(order) > 1 else (None, None)

    def _paint(self, number: int, turn: int, before: int | None, after: int | None) -> None:
        """Paint a frame again: the one before is of this pass already, the one after of the last."""
        own = self._seen(number, turn - 1)
        around = []
        if before is not None:
            around.append(self._seen(before, turn if self._path(before, turn).exists() else turn - 1))
        if after is not None:
            around.append(self._seen(after, turn - 1))
        steadily = 2 * turn > self.settings.passes and before is not None
        began = time.perf_counter()
        steps = self.running.painter.again(own, around, self._pictures(number), steadily)
        painted = _until(steps, self.running.cancel)
        self.running.seconds += time.perf_counter() - began
        self._write(self._path(number, turn), painted)

    def _pictures(self, number: int) -> dict[str, Picture]:
        """What belongs to a frame, by role: as it is for all of them, and as it was kept."""
        moving = {}
        for role, film in self.running.sources.along.items():
            values = self._read(self._path(number, 0, role))
            colours, alpha = values[:, :3], values[:, 3:]
            moving[role] = Picture(colours, alpha if alpha.shape[1] else None, name=film.path.name)
        return {**self.running.sources.still, **moving}

    def _closes(self, numbers: list[int]) -> bool:
        """Whether the last frame can be followed by the first; a `UserWarning` says if not."""
        first, last = self._seen(numbers[0], 1), self._seen(numbers[-1], 1)
        closes = len(self.running.shots) == 1 or self.running.painter.goes_on(first, last)
        if not closes:
            warnings.warn("loop: the last frame shows something else than the first, and is not joined", stacklevel=2)
        return closes

    def _seen(self, number: int, turn: int) -> Seen:
        path = self._path(number, 0, "source")
        kept, painted = self._read(path), self._read(self._path(number, turn))
        along = self.running.painter.along(self._pictures(number), *painted.shape[-2:])
        alpha = kept[:, 3:] if kept.shape[1] == 4 else None
        return Seen(number, self._time(path), kept[:, :3], painted, along, alpha)

    def _path(self, number: int, turn: int, what: str = "") -> Path:
        return self.folder / f"{number:09d}-{what or turn}.safetensors"

    def _write(self, path: Path, pixels: Tensor, when: Fraction = Fraction(0)) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                levels = (pixels.clamp(0, 1) * LEVELS).round().to(torch.int32).to(torch.uint16)
                save_file({"pixels": levels.contiguous()}, temporary, {"time": str(when)})
        except (OSError, SafetensorError) as error:
            failure = error if isinstance(error, OSError) else OSError(0, str(error))
            raise PictureError(write_failure(path, failure)) from error

    def _time(self, path: Path) -> Fraction:
        """Of the frame in a file, in seconds."""
        try:
            with safe_open(path, "pt") as file:
                return Fraction(file.metadata()["time"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise PictureError(f"{path}: is damaged or gone ({error}); start the work anew") from error

    def _read(self, path: Path) -> Tensor:
        try:
            return load_file(path)["pixels"].to(torch.int32).float() / LEVELS
        except (OSError, SafetensorError, KeyError) as error:
            raise PictureError(f"{path}: is damaged or gone ({error}); start the work anew") from error


def _until(steps: Iterator[object], cancel: threading.Event) -> Tensor:
    """What a generator of steps returns; raises `Interrupted` when cancelled."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            painted: Tensor = done.value
            return painted
        if cancel.is_set():
            raise Interrupted("stopped before the end")

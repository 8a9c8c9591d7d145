"""A film job under way: its frames painted one after the other, to be stopped and gone on with between any two."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

import torch
from torch import Tensor

from impasto import __version__
from impasto.encoders import DownloadObserver, encoder_status, load_encoder, weights_checksum
from impasto.errors import Interrupted
from impasto.films.sources import Sources, exactly
from impasto.jobs import Job
from impasto.machine import Machine
from impasto.memory import peak_memory
from impasto.methods.film import FilmPainter, PaintedFrame
from impasto.methods.film_settings import FilmSettings
from impasto.pictures.film import Film, Frame
from impasto.pictures.picture import Picture
from impasto.pictures.resize import fit
from impasto.records import InputRecord, Record


@dataclass
class FilmRunning:
    """The frames of a film, painted as they are asked for. `seconds` of work so far, `next` the frame to come."""

    job: Job
    sources: Sources
    machine: Machine
    painter: FilmPainter
    checksum: str
    """Of the encoder's weights."""
    encoder: str
    next: int = 0
    painted: int = 0
    seconds: float = 0.0
    begun: Fraction | None = None
    """When the first frame painted is shown, in seconds."""
    end: Fraction = Fraction(0)
    """When the last frame painted ends, in seconds."""
    shots: list[int] = field(default_factory=list)
    """The frames that begin them."""
    cancel: threading.Event = field(default_factory=threading.Event)
    """Set it, from any thread, to stop after the step at work."""

    @classmethod
    def begin(cls, job: Job, downloads: DownloadObserver | None = None) -> Self:
        """Open the inputs and prepare the work; raises `ImpastoError`s for whatever is wrong with them.

        A `UserWarning` names each input that has changed since the record was written.
        """
        running = cls.prepare(job, downloads)
        for message in running.changed_files():
            warnings.warn(message, stacklevel=2)
        return running

    @classmethod
    def prepare(cls, job: Job, downloads: DownloadObserver | None = None) -> Self:
        """The same without a look at what has changed."""
        settings = _settings(job)
        machine = Machine.choose(str(job.device), job.precision, job.threads, job.memory)
        sources = Sources.of(job, settings.rate)
        if downloads is not None and not encoder_status(settings.encoder).present:
            load_encoder(settings.encoder, observer=downloads)
        encoder = load_encoder(settings.encoder, pooling=settings.pooling, device=machine.device)
        painter = FilmPainter(sources.styles, settings, machine, sources.along)
        settings.at(0.0, len(sources.styles))  # raises for a wrong number of times
        return cls(job, sources, machine, painter, weights_checksum(encoder), encoder.name)

    @property
    def settings(self) -> FilmSettings:
        return _settings(self.job)

    @property
    def film(self) -> Film:
        return self.sources.film

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result."""
        size = self.settings.size
        longest = max(self.film.height, self.film.width) if size == "full" else size
        return fit(self.film.height, self.film.width, longest)

    @property
    def total(self) -> int | None:
        """How many frames there are to paint, as far as that is known."""
        film, between = self.film, self.settings.between
        seconds = film.seconds
        if seconds is None and film.count is not None:
            seconds = float(film.count / film.rate)
        if seconds is None:
            return None
        if between is None:
            return film.count or max(1, round(seconds * film.rate))
        return max(1, round((min(seconds, between[1]) - between[0]) * film.rate))

    def frames(self) -> Iterator[tuple[Frame, dict[str, Picture]]]:
        """The frames that are still to be painted, each with the pictures that belong to it."""
        return self._frames(self.next)

    def all_frames(self) -> Iterator[tuple[Frame, dict[str, Picture]]]:
        """All frames that are painted, from the first."""
        return self._frames(0)

    def _frames(self, first: int) -> Iterator[tuple[Frame, dict[str, Picture]]]:
        between = None if self.settings.between is None else exactly(self.settings.between)
        for frame, pictures in self.sources.frames(first):
            if between is not None and frame.time >= between[1]:
                return
            if between is None or frame.time >= between[0]:
                yield frame, pictures

    def paint(self, frame: Frame, pictures: Mapping[str, Picture]) -> PaintedFrame:
        """Paint the next frame; raises `Interrupted` when cancelled: then it is still the next one."""
        began = time.perf_counter()
        steps = self.painter.steps(frame, pictures)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                painted: PaintedFrame = done.value
                break
            if self.cancel.is_set():
                raise Interrupted("stopped before the end")
        self.seconds += time.perf_counter() - began
        self.next, self.painted = frame.number + 1, self.painted + 1
        self.begun = frame.time if self.begun is None else self.begun
        self.end = self._end_of(frame)
        if painted.begins_shot:
            self.shots.append(frame.number)
        return painted

    def _end_of(self, frame: Frame) -> Fraction:
        """When it is no longer shown, if it is the last one."""
        end = frame.time + 1 / self.film.rate if frame.end is None else frame.end
        return end if self.settings.between is None else min(end, exactly(self.settings.between)[1])

    def changed_files(self) -> list[str]:
        """A sentence for every input that is not what it was when the record was written."""
        before = self.job.checksums
        found = {one.role: one for one in self._inputs()}
        changed = [
            f"{one.path}: the {role} has changed since the record was written"
            for role, one in found.items()
            if before.get(role) not in (None, one.sha256)
        ]
        if before.get("encoder") not in (None, self.checksum):
            changed.append(f"{self.encoder}: the encoder has changed since the record was written")
        return changed

    def record(self) -> Record:
        height, width = self.size
        return Record(
            impasto=__version__,
            torch=torch.__version__,
            method=self.job.method.name,
            settings=self.settings.model_dump(),
            inputs=tuple(self._inputs()),
            encoder=self.encoder,
            encoder_checksum=self.checksum,
            device=str(self.machine.device),
            precision="bfloat16" if self.machine.bfloat16 else "float32",
            width=width,
            height=height,
            seconds=round(self.seconds, 3),
            peak_memory=peak_memory(self.machine.device),
            facts={"frames": self.painted, "shots": self.shots},
        )

    def _inputs(self) -> Iterator[InputRecord]:
        sources = self.sources
        roles = self.job.method.roles(1 + len(sources.styles))[1:]
        films = {"content": self.film, **sources.along}
        pictures = {**dict(zip(roles, sources.styles, strict=True)), **sources.still}
        for role, film in films.items():
            yield InputRecord(role=role, path=str(film.path), sha256=film.sha256, width=film.width, height=film.height)
        for role, one in pictures.items():
            yield InputRecord.of(role, one)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on from here: tensors by name, and the rest as plain JSON values."""
        tensors, rest = self.painter.state()
        own: dict[str, Any] = {"next": self.next, "painted": self.painted, "seconds": self.seconds, "shots": self.shots}
        own |= {"begun": None if self.begun is None else str(self.begun), "end": str(self.end)}
        return tensors, {**rest, "running": own}

    def go_on_from(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.painter.go_on_from(tensors, rest)
        own = rest["running"]
        self.next, self.painted, self.seconds = own["next"], own["painted"], own["seconds"]
        self.shots, self.begun = list(own["shots"]), None if own["begun"] is None else Fraction(own["begun"])
        self.end = Fraction(own["end"])


def _settings(job: Job) -> FilmSettings:
    settings = job.settings
    if not isinstance(settings, FilmSettings):
        raise TypeError(f"{job.method.name} paints no films")
    return settings

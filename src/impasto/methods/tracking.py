"""What of a frame was seen before, where, and where the shots of a film begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from torch import Tensor

from impasto.methods.film_settings import ESTIMATED, NONE, FilmSettings
from impasto.motion import (
    CachedFlow,
    Dis,
    FlowEstimator,
    FlowFiles,
    Flows,
    both_ways,
    consistency,
    flow_files,
    is_cut,
    read_cuts,
    resized_flow,
    warp,
)
from impasto.pictures.footage import Frame
from impasto.pictures.resize import resize

ESTIMATORS = dict(zip(ESTIMATED, (Dis("medium"), Dis("medium", 0.5), Dis("ultrafast")), strict=True))


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame that was painted: it and its painting at the result's size, `(1, 3, H, W)` on the CPU.

    `along` `(1, C, H, W)` are the masks and maps that move with the film, as they were then; None where none do.
    """

    number: int
    time: Fraction
    source: Tensor
    painted: Tensor
    along: Tensor | None = None
    alpha: Tensor | None = None
    """Of the frame, `(1, 1, H, W)`; None if it is opaque."""


@dataclass(frozen=True, eq=False)
class Link:
    """What a frame seen before says of one to be painted: where it is visible, and how to get there."""

    seen: Seen
    flow: Tensor
    """From the new frame to the one seen, `(1, 2, H, W)` in pixels."""
    where: Tensor
    """`(1, 1, H, W)` in 0..1."""
    alike: Tensor | float = 1.0
    """How much masks and maps that move say the same of a place as they said then, `(1, 1, H, W)` in 0..1."""

    @cached_property
    def painted(self) -> Tensor:
        return warp(self.seen.painted, self.flow, "bicubic")

    @property
    def visible(self) -> float:
        return float(self.where.mean())

    def guided(self, along: Tensor | None) -> Link:
        """The same where masks and maps say now what they said then: what belongs elsewhere now is painted anew."""
        if along is None or self.seen.along is None:
            return self
        change = (along - warp(self.seen.along, self.flow)).abs().amax(1, keepdim=True)
        alike = 1 - change.clamp(0, 1)
        return replace(self, where=self.where * alike, alike=alike)


class Tracker:
    """Finds what of a frame was seen before. `estimator` finds flows in place of the one that the settings name."""

    def __init__(self, settings: FilmSettings, estimator: FlowEstimator | None = None) -> None:
        self._distances = settings.distances
        self._motion = estimator or _motion(settings)
        self._finds_cuts = settings.cuts != NONE
        self._cuts = None if settings.cuts in ("auto", NONE) else read_cuts(Path(settings.cuts))

    def links(self, frame: Frame, past: Sequence[Seen]) -> list[Link]:
        """To the frames seen before that are to be compared, the nearest first."""
        return [self.link(frame, past[-distance]) for distance in self._distances if distance <= len(past)]

    def link(self, frame: Frame, seen: Seen, size: tuple[int, int] | None = None) -> Link:
        """To one of them; `size` is height and width of the film's frames, if this one is not one as it was filmed."""
        flows = self._flows(frame, seen, size or (frame.picture.height, frame.picture.width))
        return Link(seen, flows.backward, consistency(flows.backward, flows.forward))

    def begins_shot(self, frame: Frame, link: Link) -> bool:
        """Whether there is a cut between a frame and the one before, to which `link` leads."""
        if not self._finds_cuts:
            return False
        if self._cuts is not None:
            return self._cuts.at(frame.number, float(link.seen.time), float(frame.time))
        now = resize(frame.picture.pixels, *link.seen.source.shape[-2:])
        return is_cut(link.seen.source, now, link.where)

    def _flows(self, frame: Frame, seen: Seen, size: tuple[int, int]) -> Flows:
        height, width = seen.source.shape[-2:]
        if isinstance(self._motion, FlowFiles):
            return _flows_of_files(self._motion, frame, seen, size)
        return both_ways(self._motion, resize(frame.picture.pixels, height, width), seen.source)


def _motion(settings: FilmSettings) -> FlowEstimator | FlowFiles:
    """Where flows come from; raises `ImpastoError`s for files that are not there."""
    found = ESTIMATORS.get(settings.flow)
    if found is None:
        return flow_files(settings.flow)
    return found if settings.flow_cache is None else CachedFlow(found, settings.flow_cache)


def _flows_of_files(files: FlowFiles, frame: Frame, seen: Seen, size: tuple[int, int]) -> Flows:
    """The flows that files hold of frames of some height and width, at the size at which they are painted."""
    backward, forward = (
        files.flow(*pair, *size) for pair in ((frame.number, seen.number), (seen.number, frame.number))
    )
    height, width = seen.source.shape[-2:]
    return Flows(resized_flow(backward, height, width), resized_flow(forward, height, width))

"""Films: every frame in the manner of a painting, without flicker.

Ruder, Dosovitskiy & Brox, "Artistic style transfer for videos" (2016; 2018). What differs here: losses are relative;
what the frame before did not show begins as the frame itself with the change that the frame before had, not as the
bare photograph; the optimiser's moments are carried along the flow, so that what has settled stays; the mean colour
of what was seen before is held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.encoders import load_encoder
from impasto.losses import TemporalLoss, long_term
from impasto.machine import Machine, explained_memory
from impasto.methods.blend import mixtures_of
from impasto.methods.film_settings import FilmSettings
from impasto.methods.maps import maps_of
from impasto.methods.regions import Region
from impasto.methods.tracking import Link, Seen, Tracker
from impasto.methods.transfer import regions_of, transfer
from impasto.methods.work import Work
from impasto.motion import FlowEstimator, is_cut, resized_flow, warp
from impasto.pictures.footage import Frame
from impasto.pictures.maps import Maps, understood
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize, resize_mask
from impasto.synthesis import Objective, Optimisation, Scale, Step, Synthesis, Term
from impasto.synthesis.optimisers import resampled_moments

TEMPORAL = 30.0
"""What a temporal strength of 1 stands for (docs/decisions/0015-film.md)."""
LATER_RATE = 2.0
"""Learning rate of all frames but a shot's first, times that: with the moments carried, steps are smaller."""
COARSER, NEW = 2, 0.1
"""Steps at half the size, over those at the finest scale, where that share of a frame or more is new: what comes into
view finds its shape there. Where nothing does, they would keep a picture that stands still in motion."""
NEIGHBOUR = 1.0
"""δ: how much a frame on either side counts beside a frame itself, where passes go to and fro."""
STILL, ENOUGH_TO_HOLD = 0.5, 0.5
"""Pixels by which what is called still may move; share of a frame that must be so for its mean colour to be held in
full. Where a camera moves, colours have to follow what comes into view, and are let go."""


@dataclass(frozen=True, eq=False)
class PaintedFrame:
    """A frame of the result, with the `number` and `time` (seconds) of the one that it was painted from.

    `begins_shot`: nothing before it counted; `visible` is the share of it that was seen before; `losses` are those of
    the last step.
    """

    number: int
    time: Fraction
    picture: Picture
    begins_shot: bool
    visible: float
    losses: Mapping[str, float]


class FilmPainter:
    """Paints frames one after the other; what it remembers of them is bounded, and can be saved between any two.

    `moving` are the roles of masks and maps that change from frame to frame, and may be empty in some; `estimator`
    finds flows in place of the one that the settings name.
    """

    def __init__(
        self,
        styles: Sequence[Picture],
        settings: FilmSettings,
        machine: Machine,
        moving: Collection[str] = (),
        estimator: FlowEstimator | None = None,
    ) -> None:
        self.styles, self.settings, self.machine = tuple(styles), settings, machine
        self._moving = frozenset(moving)
        self._tracker = Tracker(settings, estimator)
        self._past: deque[Seen] = deque(maxlen=settings.distances[-1])
        self._moments: dict[str, dict[str, Tensor]] = {}
        self._size: tuple[int, int] | None = None
        self._mixture: Mixture | None = None
        self._known: dict[Any, Any] = {}

    def paint(self, frame: Frame, pictures: Mapping[str, Picture] | None = None) -> PaintedFrame:
        """Paint the next frame; `pictures` are those that the settings name, as they are at its time."""
        steps = self.steps(frame, pictures)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                painted: PaintedFrame = done.value
                return painted

    def steps(self, frame: Frame, pictures: Mapping[str, Picture] | None = None) -> Generator[Step, None, PaintedFrame]:
        """The same step by step: a generator that returns the painted frame. Left early, it changes nothing."""
        links = self.links(frame)
        begins = not links or self._tracker.begins_shot(frame, links[0])
        mixture = None if begins else self._mixture
        if self.settings.blend and mixture is None:
            mixture = self._mixture_for(frame.picture)
        work = self._work(frame, pictures or {}, mixture)
        scale = work.synthesis.schedule[-1]
        along = self.along(pictures or {}, scale.height, scale.width)
        links = [link.guided(along) for link in links]
        with explained_memory(work.encoder, work.layers, scale.height, scale.width, work.budget):
            anew = begins or not scale.steps  # where nothing is painted
            done = yield from self._begun(work) if anew else self._continued(work, frame, links)
        synthesis = done[_size(scale)]
        source = resize(frame.picture.pixels, scale.height, scale.width).contiguous()
        painted = synthesis.picture.float().cpu().contiguous()
        if begins:
            self._past.clear()
        elif scale.steps:
            painted = _held(painted, source, links[0])
        alpha = frame.picture.alpha
        alpha = None if alpha is None else resize_mask(alpha, scale.height, scale.width)
        self._past.append(Seen(frame.number, frame.time, source, painted, along, alpha))
        self._size = frame.picture.height, frame.picture.width
        self._moments, self._mixture = {size: one.moments for size, one in done.items()}, mixture
        losses = synthesis.history[-1].losses if synthesis.history else {}
        visible = 0.0 if begins else links[0].visible
        return PaintedFrame(frame.number, frame.time, work.finish(painted), begins, visible, losses)

    def alone(self, frame: Frame, pictures: Mapping[str, Picture] | None = None) -> Picture:
        """The frame painted as if there were no others: what the film would be without this method."""
        work = self._work(frame, pictures or {}, self._mixture)
        return work.finish(work.synthesis.run())

    def links(self, frame: Frame) -> list[Link]:
        """What the frames that are remembered say of one to be painted, the nearest first."""
        return self._tracker.links(frame, self._past)

    def along(self, pictures: Mapping[str, Picture], height: int, width: int) -> Tensor | None:
        """The masks and maps that move, of all their channels, at the size of the result; None where none do."""
        moving = [resize_mask(pictures[role].pixels, height, width) for role in sorted(self._moving)]
        return torch.cat(moving, 1) if moving else None

    @property
    def last(self) -> Seen:
        """The frame that was painted last."""
        return self._past[-1]

    def again(
        self, own: Seen, around: Sequence[Seen], pictures: Mapping[str, Picture], steadily: bool
    ) -> Generator[Step, None, Tensor]:
        """Paint a painted frame again, blended with those around it; returns its pixels.

        Where it is to be done `steadily`, it stays near to the first of those around.
        """
        frame = _again(own)
        work = self._work(frame, pictures, self._mixture)
        scale = replace(work.synthesis.schedule[-1], steps=self.settings.frame_steps)
        if not work.synthesis.schedule[-1].steps:  # nothing is painted
            return own.painted
        along = self.along(pictures, scale.height, scale.width)
        links = [self._tracker.link(frame, seen, self._size).guided(along) for seen in around]
        weights = 1 + sum(NEIGHBOUR * link.where for link in links)
        blended = (own.painted + sum(NEIGHBOUR * link.where * link.painted for link in links)) / weights
        start = self._on_device(blended.float().clamp(0, 1))

        def objective_at(scale: Scale) -> Objective:
            objective = work.synthesis.objective_at(scale)
            if not steadily:
                return objective
            nearest = links[0]
            loss = TemporalLoss([self._on_device(nearest.painted)], [self._on_device(nearest.where)])
            return objective.with_term(Term("temporal", loss, self.settings.temporal_strength * TEMPORAL))

        optimisation = replace(work.synthesis.optimisation, learning_rate=work.synthesis.optimisation.learning_rate / 2)
        synthesis = Synthesis((scale,), objective_at, partial(_same, start), optimisation)
        with explained_memory(work.encoder, work.layers, scale.height, scale.width, work.budget):
            yield from synthesis
        return synthesis.picture.float().cpu()

    def goes_on(self, own: Seen, before: Seen) -> bool:
        """Whether a painted frame shows what one before it showed: both are of one shot."""
        link = self._tracker.link(_again(own), before, self._size)
        return not is_cut(before.source, own.source, link.where)

    def finish(self, frame: Frame, pictures: Mapping[str, Picture], painted: Tensor, begins_shot: bool) -> PaintedFrame:
        """A frame of the result from its painted pixels."""
        picture = self._work(frame, pictures, self._mixture).finish(painted)
        return PaintedFrame(frame.number, frame.time, picture, begins_shot, 0.0 if begins_shot else 1.0, {})

    # The work on a frame

    def _work(self, frame: Frame, pictures: Mapping[str, Picture], mixture: Mixture | None) -> Work:
        settings = self.settings.at(float(frame.time), len(self.styles))
        if mixture is not None:
            styles = [self.styles[number] for number in mixture.works]
            settings = settings.changed(style_weights=None, guidance="simple")
            regions = [Region.everything(range(len(styles)), [None] * len(styles), mixture.shares)]
            return transfer(frame.picture, styles, settings, self.machine, pictures, self._known, regions)
        maps = self._maps(frame.picture, pictures) if settings.has_maps else None
        return transfer(
            frame.picture,
            self.styles,
            settings,
            self.machine,
            pictures,
            self._known,
            regions_of(settings, frame.picture, self.styles, pictures, self._moving),
            maps=maps,
            map_strength=settings.map_strength,
        )

    def _maps(self, content: Picture, pictures: Mapping[str, Picture]) -> Maps:
        own, *theirs = maps_of(self.settings, "maps", pictures, [content, *self.styles])
        return understood(own, theirs, self.settings.map_kind, self.settings.match)

    def _mixture_for(self, content: Picture) -> Mixture:
        settings = self.settings
        encoder = load_encoder(settings.encoder, pooling=settings.pooling, device=self.machine.device)
        found = mixtures_of(encoder, [content], self.styles, settings, self._known)[0]
        works = np.flatnonzero(found.mean_weights > 0)
        return Mixture(works.tolist(), {layer: own[works].tolist() for layer, own in found.weights.items()})

    def _begun(self, work: Work) -> Generator[Step, None, dict[str, Synthesis]]:
        """Paint the first frame of a shot, and as many steps again as later ones have them: it would go on changing."""
        yield from work.synthesis
        scale, picture = work.synthesis.schedule[-1], work.synthesis.picture
        settling = Synthesis(
            (scale,),
            work.synthesis.objective_at,
            partial(_same, picture),
            _faster(work.synthesis.optimisation),
            work.synthesis.moments,
        )
        yield from settling
        return {_size(scale): settling}

    def _continued(
        self, work: Work, frame: Frame, links: Sequence[Link]
    ) -> Generator[Step, None, dict[str, Synthesis]]:
        """Paint a frame that goes on from what was seen before, at the finest scales alone; they are returned by size.

        Each scale adds what the one before has changed, as in a `Synthesis`, and has its own moments, carried along.
        """
        settings = self.settings
        schedule = _later(work.synthesis.schedule, settings.frame_steps, links[0].visible)
        start = self._start(resize(frame.picture.pixels, schedule[-1].height, schedule[-1].width), links[0])
        warped, where = [link.painted for link in links], long_term([link.where for link in links])

        def objective_at(scale: Scale) -> Objective:
            size = scale.height, scale.width
            pictures = [self._on_device(resize(one, *size)) for one in warped]
            masks = [self._on_device(resize_mask(one, *size)) for one in where]
            term = Term("temporal", TemporalLoss(pictures, masks), settings.temporal_strength * TEMPORAL)
            return work.synthesis.objective_at(scale).with_term(term)

        done: dict[str, Synthesis] = {}
        change = torch.zeros_like(start)
        for scale in schedule:
            own = resize(start, scale.height, scale.width)
            larger = F.interpolate(change, (scale.height, scale.width), mode="bicubic")
            begin = self._on_device((own + larger).clamp(0, 1))
            moments = _carried(self._moments_at(scale, begin), links[0].flow)
            synthesis = Synthesis(
                (scale,), objective_at, partial(_same, begin), _faster(work.synthesis.optimisation), moments
            )
            yield from synthesis
            change = synthesis.picture.float().cpu() - own
            done[_size(scale)] = synthesis
        return done

    def _moments_at(self, scale: Scale, picture: Tensor) -> dict[str, Tensor]:
        """What is remembered of the gradient at a scale; of the finest one, if nothing is."""
        if not self._moments:  # of an optimiser that remembers nothing, once it was saved
            return {}
        known = self._moments.get(_size(scale))
        return resampled_moments([*self._moments.values()][-1], picture) if known is None else known

    def _start(self, source: Tensor, link: Link) -> Tensor:
        """Where a frame begins; what was not seen before is the frame itself, changed as what was there was changed."""
        seen = link.seen
        if self.settings.frame_start == "frame":
            return source
        if self.settings.frame_start == "previous":
            return seen.painted
        unseen = (source + link.alike * warp(seen.painted - seen.source, link.flow)).clamp(0, 1)
        return unseen.lerp(link.painted, link.where)

    def _on_device(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.machine.device).contiguous(memory_format=torch.channels_last)

    # What is to be kept between two frames

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that is remembered: tensors by name, and the rest as plain JSON values."""
        tensors = {
            f"moments.{size}.{name}": value for size, own in self._moments.items() for name, value in own.items()
        }
        for place, seen in enumerate(self._past):
            kept = {"source": seen.source, "painted": seen.painted, "along": seen.along}
            tensors |= {f"{name}.{place}": value for name, value in kept.items() if value is not None}
        rest = {
            "past": [[seen.number, str(seen.time)] for seen in self._past],
            "size": self._size,
            "mixture": None if self._mixture is None else [self._mixture.works, self._mixture.shares],
        }
        return tensors, rest

    def go_on_from(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Remember what `state` gave."""
        self._past.clear()
        for place, (number, time) in enumerate(rest["past"]):
            source, painted = (tensors[f"{name}.{place}"].contiguous() for name in ("source", "painted"))
            self._past.append(Seen(number, Fraction(time), source, painted, tensors.get(f"along.{place}")))
        self._moments = {}
        for name, value in tensors.items():
            kind, size, own = (*name.split(".", 2), "", "")[:3]
            if kind == "moments":
                moved = value if own == "step" else self._on_device(value)
                self._moments.setdefault(size, {})[own] = moved
        self._size = None if rest["size"] is None else (rest["size"][0], rest["size"][1])
        self._mixture = None if rest["mixture"] is None else Mixture(*rest["mixture"])


@dataclass(frozen=True)
class Mixture:
    """Which styles a shot is painted in, by number, and their shares by layer."""

    works: list[int]
    shares: dict[str, list[float]]


def _later(schedule: Sequence[Scale], steps: int, visible: float) -> tuple[Scale, ...]:
    """The scales of a later frame of which a share was seen before: the more is new, the more it is looked at small."""
    coarse = round(COARSER * steps * min(1.0, (1 - visible) / NEW))
    finest = replace(schedule[-1], steps=steps)
    return (replace(schedule[-2], steps=coarse), finest) if coarse and len(schedule) > 1 else (finest,)


def _again(own: Seen) -> Frame:
    """A frame that was painted, at the size at which it was."""
    return Frame(own.number, own.time, Picture(own.source, own.alpha))


def _size(scale: Scale) -> str:
    return f"{scale.width}x{scale.height}"


def _same(picture: Tensor, scale: Scale) -> Tensor:
    """A start for one scale alone."""
    return picture


def _faster(optimisation: Optimisation) -> Optimisation:
    return replace(optimisation, learning_rate=min(1.0, LATER_RATE * optimisation.learning_rate))


def _carried(moments: Mapping[str, Tensor], flow: Tensor) -> dict[str, Tensor]:
    """Adam's moments, moved along the flow; the direction itself begins anew."""
    carried = {}
    for name, value in moments.items():
        kind, _, level = name.partition(".")
        if not level:
            carried[name] = value
        elif kind == "square":
            moved = warp(value, resized_flow(flow, *value.shape[-2:]).to(value.device))
            carried[name] = moved.contiguous(memory_format=torch.channels_last)
        else:
            carried[name] = torch.zeros_like(value)
    return carried


def _held(painted: Tensor, source: Tensor, link: Link) -> Tensor:
    """The painting with its mean colour where nothing moves: that from before, changed as the film's own."""
    still = link.where * (link.flow.square().sum(1, keepdim=True) < STILL**2)
    weight = still / still.sum().clamp(min=1e-6)

    def mean(pixels: Tensor) -> Tensor:
        return (pixels * weight).sum((2, 3), keepdim=True)

    wanted = mean(link.seen.painted) + mean(source) - mean(link.seen.source)
    sure = min(1.0, float(still.mean()) / ENOUGH_TO_HOLD)
    return (painted + sure * (wanted - mean(painted))).clamp(0, 1)

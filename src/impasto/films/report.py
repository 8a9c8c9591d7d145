"""How steady a painted film is, frame by frame, beside its source and a film painted frame by frame.

The measures of Lai et al., "Learning blind video temporal consistency" (ECCV 2018), section 4.2, and Ruder et al.
(2016), section 5: errors of warped frames at strides of 1 and 5 and from the first frame, along the source's motion,
where it can be trusted. A blurred film is the steadiest of all: so the distance to the style stands beside them.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.errors import PictureError
from impasto.machine import Machine
from impasto.methods.film_settings import FilmSettings
from impasto.methods.transfer import transfer
from impasto.motion import Dis, both_ways, consistency, is_cut, warping_error
from impasto.pictures.film import Film
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize
from impasto.plots import check_plottable, write_figure

STRIDES = (1, 5)
"""Frames back that are compared."""
LOOKS = 12
"""Frames of a film, about, of which the distance to the style is taken."""

Watch = Callable[[int], None]
"""Told how many frames have been measured."""


@dataclass
class Track:
    """What is measured of a film: values by frame, NaN where there is none."""

    errors: dict[str, list[float]] = field(default_factory=dict)
    """By `1`, `5` and `first`: mean squares in 0..1."""
    colours: list[list[float]] = field(default_factory=list)
    style: list[float] = field(default_factory=list)
    """Of some frames: relative style losses."""

    def mean(self, which: str) -> float:
        """The mean error over all frames that have one."""
        return _mean(self.errors.get(which, []))

    @property
    def style_distance(self) -> float:
        return _mean(self.style)

    @property
    def drift(self) -> float:
        """The largest change of a channel's mean from the shot's first frame, in 1/255."""
        return max((abs(value) for row in self.colours for value in row), default=math.nan)


@dataclass
class FilmReport:
    """Tracks of films by name, `source` among them; `times` in seconds and `shots`, the frames that begin them."""

    times: list[float] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    tracks: dict[str, Track] = field(default_factory=dict)

    def ratio(self, which: str, baseline: str = "baseline") -> float:
        """The result's error over the baseline's."""
        if baseline not in self.tracks:
            return math.nan
        return self.tracks["result"].mean(which) / self.tracks[baseline].mean(which)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each film: errors in thousandths, style distance, drift."""
        return [
            {
                "film": name,
                **{f"error {which}": 1e3 * track.mean(which) for which in ("1", "5", "first")},
                "style": track.style_distance,
                "drift": track.drift,
            }
            for name, track in self.tracks.items()
        ]


def measure(
    films: Mapping[str, Film],
    styles: Sequence[Picture] = (),
    settings: FilmSettings | None = None,
    machine: Machine | None = None,
    watch: Watch = lambda count: None,
) -> FilmReport:
    """Measure films that show the same: `source`, `result`, and others, such as a `baseline`; sizes may differ.

    With styles, the distance to them is taken by the style loss of the settings. Films of equally many frames are
    compared frame by frame, others by what is shown at the same time: some files leave out what repeats the frame
    before. Raises `PictureError` for those of different lengths.
    """
    report = FilmReport(tracks={name: Track() for name in films})
    past: deque[dict[str, Tensor]] = deque(maxlen=max(STRIDES))
    first: dict[str, Tensor] = {}
    look = _Look(styles, settings or FilmSettings(), machine or Machine.choose("cpu")) if styles else None
    every = max(1, (films["result"].count or 120) // LOOKS)
    for number, (time, frames) in enumerate(_together(films)):
        links = _links(frames["source"], past, first)
        if "1" not in links or is_cut(past[-1]["source"], frames["source"], links["1"][1]):
            past.clear()
            links, first = {}, frames
            report.shots.append(number)
        report.times.append(time)
        for name, track in report.tracks.items():
            pixels = frames[name]
            for which, (flow, visible, earlier) in links.items():
                error = warping_error(pixels, earlier[name], flow, visible)
                track.errors.setdefault(which, [math.nan] * number).append(error)
            for which in ("1", "5", "first"):
                values = track.errors.setdefault(which, [])
                values += [math.nan] * (number + 1 - len(values))
            track.colours.append((255 * (pixels - first[name]).mean((0, 2, 3))).tolist())
            if look is not None and number % every == 0:
                track.style.append(look.distance(pixels))
        past.append(frames)
        watch(number + 1)
    return report


def plot_report(report: FilmReport, path: Path) -> None:
    """Write the errors, squared, and the drift of colours over time, as PNG, SVG or PDF; raises `PictureError`."""
    from matplotlib.figure import Figure

    check_plottable(path)
    figure = Figure(figsize=(8, 6), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    for panel, (which, title) in zip(
        panels, (("1", "to the last frame"), ("first", "to the first frame")), strict=False
    ):
        for name, track in report.tracks.items():
            panel.plot(report.times, [1e3 * value for value in track.errors[which]], label=name)
        panel.set(ylabel=f"error, thousandths\n{title}", yscale="log")
    for name, track in report.tracks.items():
        panels[2].plot(report.times, [sum(row) / 3 for row in track.colours], label=name)
    panels[2].set(ylabel="mean colour from\nthe first frame, 1/255", xlabel="seconds")
    for panel in panels:
        panel.grid(alpha=0.3)
        for shot in report.shots[1:]:
            panel.axvline(report.times[shot], color="black", linewidth=0.6, linestyle=":")
    panels[0].legend(fontsize="small")
    write_figure(figure, path)


def _together(films: Mapping[str, Film]) -> Iterator[tuple[float, dict[str, Tensor]]]:
    """What films show side by side, at the size of the result, with the time."""
    times, ends = {}, {}
    for name, film in films.items():
        spans = [(one.time, one.end or one.time + 1 / film.rate) for one in film.frames()]
        times[name], ends[name] = [begin for begin, _ in spans], spans[-1][1]
    fullest = max(times, key=lambda name: len(times[name]))
    numbers: dict[str, Sequence[int]] = {name: range(len(own)) for name, own in times.items()}
    if len({len(own) for own in times.values()}) > 1:
        _require_one_length(films, ends)
        middles = [(begin + end) / 2 for begin, end in pairwise([*times[fullest], ends[fullest]])]
        numbers = {name: [bisect(own, middle) - 1 for middle in middles] for name, own in times.items()}
    held = (_held(film, numbers[name]) for name, film in films.items())
    for time, *pixels in zip(times[fullest], *held, strict=True):
        shown = dict(zip(films, pixels, strict=True))
        height, width = shown["result"].shape[-2:]
        yield float(time), {name: resize(one, height, width) for name, one in shown.items()}


def _held(film: Film, numbers: Sequence[int]) -> Iterator[Tensor]:
    """The frames of some numbers, which rise or stay."""
    frames = film.frames()
    frame = next(frames)
    for number in numbers:
        while frame.number < number:
            frame = next(frames)
        yield frame.picture.pixels


def _require_one_length(films: Mapping[str, Film], ends: Mapping[str, Fraction]) -> None:
    """Raise `PictureError` for films that end at different times, by more than half a frame."""
    shorter, longer = (films[which(ends, key=lambda name: ends[name])] for which in (min, max))
    if max(ends.values()) - min(ends.values()) > 1 / max(film.rate for film in films.values()) / 2:
        raise PictureError(f"{shorter.path}: ends before {longer.path.name}: compare films of one length")


def _links(
    source: Tensor, past: Sequence[dict[str, Tensor]], first: dict[str, Tensor]
) -> dict[str, tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """Of the frames before that are compared: the flow to them, where it can be trusted, and all films then."""
    chosen = {str(stride): past[-stride] for stride in STRIDES if stride <= len(past)}
    if first and len(past) > 1:
        chosen["first"] = first
    found = {}
    for which, frames in chosen.items():
        flows = both_ways(Dis(), source, frames["source"])
        found[which] = flows.backward, consistency(*flows), frames
    return found


class _Look:
    """The distance of frames to styles."""

    def __init__(self, styles: Sequence[Picture], settings: FilmSettings, machine: Machine) -> None:
        self._styles, self._settings, self._machine = styles, settings, machine
        self._known: dict[Any, Any] = {}

    def distance(self, pixels: Tensor) -> float:
        """The relative style loss of a frame, as it is."""
        size = max(pixels.shape[-2:])
        settings = self._settings.without_regions().changed(size=size, style_times=None, between=None)
        work = transfer(Picture(pixels), self._styles, settings, self._machine, known=self._known)
        objective = work.synthesis.objective_at(work.synthesis.schedule[-1])
        with torch.no_grad():
            _, losses = objective(pixels.to(self._machine.device))
        return float(losses["style"])


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan

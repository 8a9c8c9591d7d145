"""Scene cuts: found in the frames, or given in a file.

A cut changes three things at once: the colours, where flow leads and what there is to see. A fast pan leaves the
things, moved; a fade and a flash of a camera leave them, in other light; what moves too fast for flow leaves the
colours. So each of the three has a say, in the light that there is and between the bars, if there are any. A flash that
blinds the whole picture is a cut, and another one back; so may be a fade's step to or from a picture of one colour.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.errors import UsageError
from impasto.pictures.resize import fit, resize

VISIBLE = 0.4
"""Share of consistent pixels below which flow has failed: in films 0.57 or more, across cuts 0.15 or less."""
COLOURS = 0.1
"""Distance of colours above which there may be a cut: in films 0.11 or less, across cuts 0.24, in grey 0.1, or more."""
STRUCTURE = 0.35
"""Correlation below which there may be a cut: films, pans, most flashes 0.42 or more, cuts 0.31 or less."""

SIZE = 64
"""Pixels of the longest side at which frames are compared."""
BINS = 8
"""Per channel."""
AROUND = 4
"""Pixels around one, at that size, over which contrast is made even."""
PIECES = 16
"""Of a row or column, of which the means are compared where there may be bars."""
FLAT = 0.05
"""Difference of such means up to which they are of one colour: noise and compression in bars 0.05, of 0..1, or less."""
LEAST = 0.2
"""Share of the height or width that bars leave: of 2.39 : 1 in 9 : 16 0.24. Less is a light in the dark."""
CONTRAST = 0.005
"""Standard deviation of greys, 0..1, below which a picture has no colours to speak of."""
FAINT = 2e-4
"""Variance in 0..1 units below which there is nothing to see."""
OVERLAP = 0.5
"""Share of the frame that has to be in both, however it is moved."""

TOLERANCE = 0.005
"""Seconds by which a time may be rounded: two decimals."""


def is_cut(before: Tensor, now: Tensor, seen: Tensor) -> bool:
    """Whether `now` begins another shot than that of `before`, the frame ahead of it; both `(1, 3, H, W)` in 0..1.

    `seen`, `(1, 1, H, W)` in 0..1, says which pixels of `now` were seen before: their `consistency`.
    """
    one, other, seen = without_bars(before, now, seen)
    if float(seen.mean()) >= VISIBLE:
        return False
    colours = max(colour_distance(one, other), colour_distance(*in_full_light(one, other)))
    return colours > COLOURS and structure(one, other) < STRUCTURE


def without_bars(one: Tensor, other: Tensor, *beside: Tensor) -> tuple[Tensor, ...]:
    """Two pictures, and what lies `beside` them, less the rows and columns at their borders of one colour in both.

    Such bars, above and below or left and right, and their edges are alike in any two shots.
    """
    both = torch.cat([one, other])
    rows, columns = _between_bars(both), _between_bars(both.mT)
    return tuple(values[..., rows, columns] for values in (one, other, *beside))


def in_full_light(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two pictures, each divided by its own light, so that dark ones have colours.

    As they are if there is nothing to see in one of them, be it the black at the end of a fade.
    """
    if min(_small(picture).mean(1).std(correction=0) for picture in (one, other)) < CONTRAST:
        return one, other
    return _in_full_light(one), _in_full_light(other)


def colour_distance(one: Tensor, other: Tensor) -> float:
    """Half the sum of differences of two pictures' histograms of colours: 0, the same, to 1, no colour in common."""
    return float((_histogram(one) - _histogram(other)).abs().sum()) / 2


def structure(one: Tensor, other: Tensor) -> float:
    """How much alike two pictures are in what there is to see, whatever its light and place: about 0 to 1.

    The highest normalised cross-correlation of their evened-out greys at 64 pixels over all shifts that leave half of
    the frame in both (J. P. Lewis, "Fast template matching", 1995, eq. 2, by Fourier transforms). Found on photographs
    and films: cuts up to 0.31, between bars 0.34, and 0.36 if dark; neighbouring frames 0.67 to 1; pans by 40 % of the
    width a frame 0.77 to 1; cross-fades and fades in 6 frames 0.47 to 1; flashes of 1.3 to 2.5 times the light 0.42
    to 1. 0 for a flat picture.
    """
    a, b = _evened(one), _evened(other)
    height, width = a.shape
    ones = torch.ones_like(a)
    power = _correlation(a.square(), ones).clamp(min=0) * _correlation(ones, b.square()).clamp(min=0)
    correlation = _correlation(a, b) / (power.sqrt() + 1e-6 * height * width)
    overlapping = _correlation(ones, ones) >= OVERLAP * height * width - 0.5
    return float(correlation[overlapping].max())


def _between_bars(pictures: Tensor) -> slice:
    """Rows from the first to the last that are not of one colour, less what bars blur; all if none would be left.

    Means of 16 pieces of a row are compared: in noise they are alike.
    """
    height = pictures.shape[2]
    pieces = F.adaptive_avg_pool2d(pictures, (height, PIECES))
    varied = (pieces.amax((0, 3)) - pieces.amin((0, 3)) > FLAT).any(0).nonzero().flatten().tolist()
    if not varied:
        return slice(height)
    first, end, blurred = varied[0], varied[-1] + 1, math.ceil(height / SIZE)
    first, end = first + blurred * (first > 0), end - blurred * (end < height)
    return slice(first, end) if end - first > LEAST * height else slice(height)


def _in_full_light(picture: Tensor) -> Tensor:
    """Divided by the 99th percentile of its pixels' largest channels."""
    light = _small(picture).amax(1).flatten().quantile(0.99)
    return (picture / light.clamp(min=CONTRAST)).clamp(max=1)


def _histogram(picture: Tensor) -> Tensor:
    """Shares of colours `(1, 1, BINS, BINS, BINS)`, softened, so that a little more light is a little change."""
    red, green, blue = (_small(picture)[0].flatten(1) * BINS).long().clamp(max=BINS - 1)
    counts = torch.bincount((red * BINS + green) * BINS + blue, minlength=BINS**3).float()
    soft = F.avg_pool3d(F.avg_pool3d(counts.view(1, 1, BINS, BINS, BINS), 2, 1, padding=1), 2, 1)
    return soft / soft.sum()


def _evened(picture: Tensor) -> Tensor:
    """Grey `(H, W)` of a small picture, with mean 0 and the same contrast everywhere."""
    grey = _small(picture).mean(1, keepdim=True)
    detail = grey - _mean_around(grey)
    return (detail / (_mean_around(detail.square()) + FAINT).sqrt())[0, 0]


def _mean_around(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, 2 * AROUND + 1, stride=1, padding=AROUND, count_include_pad=False)


def _small(picture: Tensor) -> Tensor:
    height, width = picture.shape[-2:]
    return resize(picture, *fit(height, width, SIZE))


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Σ_p a(p) b(p + s) for every shift s, around which it wraps."""
    sides = [2 * side for side in a.shape]
    product = torch.fft.rfft2(a, sides).conj() * torch.fft.rfft2(b, sides)
    found: Tensor = torch.fft.irfft2(product, sides)
    return found


@dataclass(frozen=True)
class Cuts:
    """Where shots begin: numbers of frames, counted from 0, and times in seconds from the beginning of the film."""

    frames: frozenset[int] = frozenset()
    seconds: frozenset[float] = frozenset()

    def at(self, number: int, before: float, now: float) -> bool:
        """Whether a frame begins a shot; `before` and `now`: when the frame ahead of it and itself are shown, seconds.

        Of a time it is the first frame shown then or later; times may be rounded to two decimals, beyond 100 frames a
        second to half the time between two.
        """
        tolerance = min(TOLERANCE, (now - before) / 2)
        return number in self.frames or any(before < second - tolerance <= now for second in self.seconds)


def read_cuts(path: str | Path) -> Cuts:
    """Cuts from a file: one a line, the number of a frame such as `12`, counted from 0, or a time such as `3.5s`.

    What follows a # is a comment. Raises UsageError for a file that is missing or no text, and for other lines.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; it is to say where shots begin, see --cuts") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is no text; write one cut a line, such as 12 or 3.5s") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    return parse_cuts(text, str(path))


def parse_cuts(text: str, name: str = "cuts") -> Cuts:
    """The same from text that messages call `name`."""
    frames: set[int] = set()
    seconds: set[float] = set()
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if re.fullmatch(r"[0-9]{1,12}", entry):
            frames.add(int(entry))
        elif re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+) ?s", entry) and math.isfinite(float(entry[:-1])):
            seconds.add(float(entry[:-1]))
        elif entry:
            raise UsageError(
                f'{name}, line {number}: "{entry}" is no cut; write the number of a frame, such as 12, '
                "or a time in seconds, such as 3.5s"
            )
    return Cuts(frozenset(frames), frozenset(seconds))

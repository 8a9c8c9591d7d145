"""Regions: soft masks with names, from masks or colour-coded segmentations, and what becomes of them at a layer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from impasto.errors import UsageError
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize_mask

if TYPE_CHECKING:
    from impasto.encoders.vgg import VGG

Guidance = Literal["simple", "inside", "all"]
"""How a mask follows the receptive field of a layer."""

MOST_SEGMENTS = 32
SMALLEST_SEGMENT = 0.0003
"""Share of the picture: an eye of a portrait has more. Edges are lines, and noise has no even colour."""
ALIKE = 40
"""Largest difference per channel (0..255) of what counts as the same colour: JPEG files have no even colours."""
DIMMEST_MASK = 0.1
"""Where no mask is brighter, it is no mask but labels, or nothing at all."""
MOST_COLOURED = 0.05
"""Share of a mask that may be in colours; compression adds some."""
EVEN = 8
"""How far from its colour a pixel of an evenly painted segment may be; compression adds some noise."""
SMALLEST_CORE = 0.1
"""Share of a segment that does not lie at its edge; lines have none."""
SMALLEST_EVEN_PART = 0.7
"""Share of the pixels of a segmentation that are so; photographs have much fewer."""
LEFT_BY_EROSION = 0.3
"""Share of a region's area that `inside` leaves at the least, so that small regions do not vanish in deep layers."""

MOST_MASKS = 62
"""In a stack of which parts are made: their bits are a number."""

Colours = np.ndarray[tuple[int, int], np.dtype[np.int16]]
Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
Places = NDArray[np.intp]
"""The number of the colour of each pixel."""

_COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "gray": (128, 128, 128),
}


@dataclass(frozen=True, eq=False)
class Segment:
    """The pixels of one colour of a segmentation: `mask` `(1, 1, H, W)`, bool, and the colour, 0..255.

    Of a stack of masks the colour has a value for each of them.
    """

    name: str
    colour: tuple[int, ...]
    mask: Tensor

    @property
    def share(self) -> float:
        """Of the area."""
        return float(self.mask.float().mean())

    def distance(self, other: Segment) -> int:
        """The largest difference of the colours' channels, 0..255."""
        return _distance(self.colour, other.colour)

    def counterpart(self, others: Sequence[Segment], own: Sequence[Segment]) -> Segment | None:
        """Which of the segments of another picture has the same colour, nearer to it than to others of its `own`."""
        nearest = min(others, key=lambda one: _distance(self.colour, one.colour))
        distance = _distance(self.colour, nearest.colour)
        closer = any(_distance(one.colour, nearest.colour) < distance for one in own)
        return None if closer or distance > ALIKE else nearest


def mask_of(picture: Picture, inverted: bool = False, may_be_black: bool = False) -> Tensor:
    """A picture as a mask `(1, 1, H, W)` in 0..1: white counts, transparent parts do not.

    Of one that is black everywhere, or nearly so, nothing is left if it may be; else it raises `UsageError`.
    """
    spread = picture.pixels.amax(1) - picture.pixels.amin(1)
    if float((spread > ALIKE / 255).float().mean()) > MOST_COLOURED:
        raise UsageError(
            f"{picture.name}: is in colours, and a mask is grey, white where it acts: paint one, or give colours that "
            "mean regions as --segmentation"
        )
    grey = picture.pixels.mean(1, keepdim=True)
    mask = 1 - grey if inverted else grey
    if picture.alpha is not None:
        mask = mask * picture.alpha
    if not bool((mask > DIMMEST_MASK).any()):
        if may_be_black:
            return torch.zeros_like(mask)
        nearly = "nearly " if bool((mask > 0.5 / 255).any()) else ""
        seen = f"{nearly}white everywhere and turned round" if inverted else f"{nearly}black everywhere"
        labels = ", or give labels as --segmentation" if nearly else ""
        raise UsageError(f"{picture.name}: the mask is {seen}: paint white where it should act{labels}")
    return mask


def segments(picture: Picture) -> list[Segment]:
    """The segments of a colour-coded picture, the largest first; edges and noise go to the nearest colour.

    A picture of few colours, such as a map of labels 0, 1, 2 …, is taken as it is. Transparent pixels belong to no
    segment. Raises `UsageError` for a picture without even colours.
    """
    values = (picture.pixels[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    packed = values.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    hidden = np.zeros(packed.shape, bool) if picture.alpha is None else (picture.alpha[0, 0] <= 0).numpy()
    if hidden.any() and not hidden.all():  # what they were filled with is no colour of the picture
        shown, often = np.unique(packed[~hidden], return_counts=True)
        packed[hidden] = shown[often.argmax()]
    codes, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1).astype(np.int16)
    places = inverse.reshape(values.shape[:2])
    chosen = _all_of_few(colours, counts, places) or _wide_ones(colours, _dominant(colours, counts), places)
    if not 0 < len(chosen) <= MOST_SEGMENTS:
        parts = "too many even parts" if chosen else "few even parts"
        raise UsageError(
            f"{picture.name}: has {len(codes)} colours and {parts}, so it is no segmentation: "
            f"paint each region in one colour, {MOST_SEGMENTS} at most"
        )
    own = [(int(red), int(green), int(blue)) for red, green, blue in colours[[*chosen]]]
    return _found(zip(_names_of(own), own, strict=True), _labels(colours, chosen, places), picture.alpha)


def stacked_segments(picture: Picture) -> list[Segment] | None:
    """The segments of a picture whose channels are hard masks, one of what lies in the same of them, the largest first.

    They are called after the picture, whose name is that of a file for each channel with `+` between them: `sky`,
    `sea+boat`, `nothing`, or else by the numbers of the channels. None for channels that are no hard masks, or make
    more parts than a segmentation may have.
    """
    channels = picture.pixels.shape[1]
    if channels > MOST_MASKS:
        return None
    values = picture.pixels[0]
    hard = torch.minimum(values.abs(), (1 - values).abs()).amax(0) <= EVEN / 255
    if float(hard.float().mean()) < SMALLEST_EVEN_PART:
        return None
    bits = (values > 0.5).permute(1, 2, 0).numpy()
    packed = bits.astype(np.int64) @ (1 << np.arange(channels, dtype=np.int64))
    codes, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = (codes[:, None] >> np.arange(channels) & 1).astype(np.int16) * 255
    places = inverse.reshape(packed.shape)
    often = [
        int(index) for index in np.argsort(-counts, kind="stable") if counts[index] >= SMALLEST_SEGMENT * packed.size
    ]
    chosen = _wide_ones(colours, often, places)
    if not 0 < len(chosen) <= MOST_SEGMENTS:
        return None
    stems = [PurePath(name).stem for name in picture.name.split("+")]
    names = stems if len(stems) == channels else [str(number) for number in range(1, channels + 1)]
    own = [tuple(int(value) for value in colour) for colour in colours[[*chosen]]]
    called = ["+".join(name for name, value in zip(names, colour, strict=True) if value) or "nothing" for colour in own]
    return _found(zip(called, own, strict=True), _labels(colours, chosen, places), picture.alpha)


def _found(parts: Iterable[tuple[str, tuple[int, ...]]], labels: Tensor, alpha: Tensor | None) -> list[Segment]:
    """Segments of names and colours from the numbers of pixels `(1, 1, H, W)`, without what is transparent."""
    found = []
    for number, (name, colour) in enumerate(parts):
        mask = labels == number
        if alpha is not None:
            mask &= alpha > 0
        found.append(Segment(name, colour, mask))
    return sorted((one for one in found if one.share > 0), key=lambda one: -one.share)


def _all_of_few(colours: Colours, counts: Counts, places: Places) -> list[int]:
    """All colours, the most frequent first, where there are few of them, none of which is an edge; otherwise none."""
    if len(colours) > MOST_SEGMENTS or counts.min() < SMALLEST_SEGMENT * counts.sum():
        return []
    chosen = [int(index) for index in np.argsort(-counts, kind="stable")]
    return chosen if _wide_ones(colours, chosen, places) == chosen else []


def _wide_ones(colours: Colours, chosen: list[int], places: Places) -> list[int]:
    """Those whose pixels lie together, not in lines: where JPEG meets an edge, it leaves lines."""
    if not 1 < len(chosen) <= MOST_SEGMENTS:
        return chosen
    labels = _labels(colours, chosen, places)
    masks = [(labels == number).float() for number in range(len(chosen))]
    inner = [1 - _dilated(1 - mask, 1) for mask in masks]
    return [
        index
        for index, mask, core in zip(chosen, masks, inner, strict=True)
        if float(core.sum()) >= SMALLEST_CORE * float(mask.sum())
    ]


def _labels(colours: Colours, chosen: Sequence[int], places: Places) -> Tensor:
    """Which of the chosen colours is nearest to that of each pixel `(1, 1, H, W)`."""
    nearest = np.abs(colours[:, None] - colours[[*chosen]]).max(2).argmin(1).astype(np.uint8)
    return torch.from_numpy(nearest[places])[None, None]


def _dominant(colours: Colours, counts: Counts) -> list[int]:
    """The frequent colours that differ, by index, the most frequent first; none if none is even.

    `colours` `(N, 3)`, 0..255, occur `counts` `(N,)` times. Stops beyond as many as a segmentation may have.
    """
    chosen: list[int] = []
    left, even, pixels = counts.copy(), 0, counts.sum()
    while left.sum() >= SMALLEST_SEGMENT * pixels and len(chosen) <= MOST_SEGMENTS:
        index = int(left.argmax())
        distance = np.abs(colours - colours[index]).max(1)
        near = distance <= ALIKE
        core = left[distance <= EVEN].sum()
        if core >= max(SMALLEST_SEGMENT * pixels, left[near].sum() / 2):  # soft edges have colours of all mixtures
            chosen.append(index)
            even += core
        left[near] = 0
    return chosen if len(chosen) > MOST_SEGMENTS or even >= SMALLEST_EVEN_PART * pixels else []


def _names_of(colours: Sequence[tuple[int, int, int]]) -> list[str]:
    """`green` for the one colour that is green, or nearly so; `#40ff00` for others."""
    names = ["#" + "".join(f"{value:02x}" for value in colour) for colour in colours]
    for name, known in _COLOURS.items():
        nearest = min(range(len(colours)), key=lambda number: _distance(colours[number], known))
        if _distance(colours[nearest], known) <= EVEN:
            names[nearest] = name
    return names


def is_colour(name: str) -> bool:
    """Whether a region may be called so: `green` or `#40ff00`."""
    return _colour(name) is not None


def alike(name: str, names: Iterable[str]) -> str | None:
    """The name of the colour that is meant: the nearest to the one named, if it is as good as the same."""
    wanted = _colour(name)
    if wanted is None:
        return None
    distances = {one: _distance(wanted, colour) for one in names if (colour := _colour(one)) is not None}
    nearest = min(distances, key=distances.__getitem__, default=None)
    return nearest if nearest is not None and distances[nearest] <= EVEN else None


def _colour(name: str) -> tuple[int, ...] | None:
    """What a name of `_names_of` stands for, 0..255 each."""
    is_hex = re.fullmatch("#[0-9a-f]{6}", name) is not None
    return tuple(bytes.fromhex(name[1:])) if is_hex else _COLOURS.get(name)


def _distance(a: Sequence[int], b: Sequence[int]) -> int:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def without_overlap(masks: Sequence[Tensor]) -> list[Tensor]:
    """The same masks `(1, 1, H, W)` where they sum to 1 at most; where it is more, in the same proportions."""
    total = sum(masks[1:], start=masks[0]).clamp(min=1)
    return [mask / total for mask in masks]


def feathered(mask: Tensor, radius: float) -> Tensor:
    """A mask `(1, 1, H, W)` with soft edges: a Gaussian blur of standard deviation `radius`, in pixels."""
    if radius <= 0:
        return mask
    from kornia.filters import gaussian_blur2d

    side = 2 * min(math.ceil(3 * radius), min(mask.shape[-2:]) - 1) + 1  # no border is wider than the picture
    return gaussian_blur2d(mask.float(), side, (radius, radius), border_type="reflect").clamp(0, 1)


def at_layers(mask: Tensor, encoder: VGG, layers: Iterable[str], guidance: Guidance) -> dict[str, Tensor]:
    """A mask `(1, 1, H, W)` of a picture at layers of an encoder, following the receptive field.

    Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer" (CVPR 2017), section 4: `simple` is the mean
    over the area that a position stands for; `inside` are the positions that see nothing else than the region, or at
    least the innermost third of it; `all` those that see something of it. The rim of the receptive field, which hardly
    matters, does not count: otherwise pixels at an edge would belong to no region in any layer, and stay as they are.
    """
    sizes = encoder.sizes(mask.shape[-2], mask.shape[-1])
    found = {}
    for layer in layers:
        place = encoder.geometry[layer]
        simple = resize_mask(mask.float(), *sizes[layer])
        reach = math.ceil((place.receptive_field - place.stride) / 2 / place.stride) - 1
        if guidance == "inside":
            found[layer] = _eroded(simple, reach)
        else:
            found[layer] = _dilated(simple, reach) if guidance == "all" else simple
    return found


def _eroded(mask: Tensor, reach: int) -> Tensor:
    """Each value the smallest within `reach` positions, or within as many as leave a share of the area."""
    enough = LEFT_BY_EROSION * float(mask.sum())
    for smaller in range(reach, 0, -1):
        eroded = -_dilated(-mask, smaller)
        if float(eroded.sum()) >= enough:
            return eroded
    return mask


def _dilated(mask: Tensor, reach: int) -> Tensor:
    """Each value the largest within `reach` positions; what lies beyond the picture has no say."""
    if reach == 0:
        return mask
    return F.max_pool2d(mask, 2 * reach + 1, stride=1, padding=reach)

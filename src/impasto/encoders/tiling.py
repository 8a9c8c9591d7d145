"""Tiles of a picture whose features are exactly those of the whole.

A position of a layer sees a square of the picture, its receptive field. Where a tile has a halo of half of it around
its core, the core's features are what they are in the whole picture, and so are their gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise, product

import torch
from torch import Tensor

from impasto.encoders.vgg import VGG
from impasto.errors import UsageError

Span = tuple[int, int]
"""Beginning and end, in pixels."""


@dataclass(frozen=True)
class Tile:
    """A part of a picture of `height` × `width` pixels: its core, and the core with its halo.

    Cores of all tiles cover the picture without overlap. All spans but the last begin and end at multiples of the
    strides of the layers, which are given by layer. Where the picture continues on its opposite side, so does a halo:
    its span begins before 0, or ends beyond the picture.
    """

    height: int
    width: int
    core_rows: Span
    core_columns: Span
    rows: Span
    columns: Span
    strides: Mapping[str, int]

    def of(self, picture: Tensor) -> Tensor:
        """The tile, halo and all, of a picture `(B, C, H, W)`."""
        if self._inside:
            return picture[..., slice(*self.rows), slice(*self.columns)]
        rows, columns = self._indices(picture)
        return picture.index_select(2, rows).index_select(3, columns)

    def add(self, part: Tensor, whole: Tensor) -> None:
        """Add what belongs to the tile, halo and all, to the whole picture `(B, C, H, W)`."""
        if self._inside:
            whole[..., slice(*self.rows), slice(*self.columns)] += part
            return
        rows, columns = self._indices(whole)
        band = part.new_zeros(*part.shape[:2], self.height, part.shape[3]).index_add_(2, rows, part)
        whole.index_add_(3, columns, band)

    @property
    def _inside(self) -> bool:
        spans = ((self.rows, self.height), (self.columns, self.width))
        return all(start >= 0 and stop <= side for (start, stop), side in spans)

    def _indices(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns of the picture, around its sides where the tile goes there."""
        rows, columns = (torch.arange(*span, device=like.device) for span in (self.rows, self.columns))
        return rows % self.height, columns % self.width

    @property
    def core(self) -> tuple[slice, slice]:
        """The core in the tile, in pixels."""
        return _within(self.core_rows, self.rows[0]), _within(self.core_columns, self.columns[0])

    def narrowed(self, halo: int) -> Tile:
        """The same core with a halo of at most so many pixels."""
        rows, columns = (
            (max(outer[0], core[0] - halo), min(outer[1], core[1] + halo))
            for core, outer in ((self.core_rows, self.rows), (self.core_columns, self.columns))
        )
        return replace(self, rows=rows, columns=columns)

    def within(self, larger: Tile) -> tuple[slice, slice]:
        """Where the tile lies, halo and all, in one with a larger halo, in pixels."""
        return _within(self.rows, larger.rows[0]), _within(self.columns, larger.columns[0])

    def place(self, layer: str) -> tuple[slice, slice]:
        """The core in the whole picture's features of a layer."""
        stride = self.strides[layer]
        return _at(self.core_rows, stride, self.height), _at(self.core_columns, stride, self.width)

    def core_of(self, layer: str) -> tuple[slice, slice]:
        """The core in the tile's own features of a layer."""
        stride = self.strides[layer]
        rows, columns = self.place(layer)
        return (
            slice(rows.start - self.rows[0] // stride, rows.stop - self.rows[0] // stride),
            slice(columns.start - self.columns[0] // stride, columns.stop - self.columns[0] // stride),
        )


def tiles(encoder: VGG, layers: Iterable[str], height: int, width: int, core: int) -> list[Tile]:
    """Tiles of a picture of `height` × `width`, with cores of at most `core` pixels a side (or one stride).

    Raises `UsageError` if there would be several and the encoder does without padding, or pads circularly what is not
    a multiple of its strides.
    """
    layers = tuple(layers)
    strides = {layer: encoder.geometry[layer].stride for layer in layers}
    unit = max(strides.values(), default=1)
    halo = halo_of(encoder, layers)
    padding = encoder.configuration.padding
    wraps = padding in ("circular", "circular-y"), padding in ("circular", "circular-x")
    spans = [_spans(side, core, unit, halo, wrap) for side, wrap in zip((height, width), wraps, strict=True)]
    if padding == "none" and max(len(found) for found in spans) > 1:
        raise UsageError(f"{encoder.name}: an encoder without padding cannot work in tiles: use a smaller size")
    if any(wrap and len(found) > 1 and found[-1][0][1] % unit for wrap, found in zip(wraps, spans, strict=True)):
        raise UsageError(f"{width}×{height}: seamless tiles need sides that are multiples of {unit}")
    return [
        Tile(height, width, core_rows, core_columns, rows, columns, strides)
        for (core_rows, rows), (core_columns, columns) in product(*spans)
    ]


def times_the_work(encoder: VGG, layers: Iterable[str], parts: Sequence[Tile]) -> float:
    """How many times the work of one piece these tiles are: their halos, and half a step more for the sums."""
    layers = tuple(layers)
    if len(parts) == 1:
        return 1.0
    whole = parts[0].height * parts[0].width * encoder.activations(layers)
    return 1.5 * sum(count * _pixels(parts, halo) for count, halo in _activations_by_halo(encoder, layers)) / whole


def activations_of_tile(encoder: VGG, layers: Iterable[str], height: int, width: int, core: int) -> float:
    """How many numbers there are in all that is computed for the largest of several tiles with cores of this side.

    It is one in a corner of the picture, where the core is longer by a halo.
    """
    layers = tuple(layers)
    side = core + halo_of(encoder, layers)
    return sum(
        count * min(side + halo, height) * min(side + halo, width)
        for count, halo in _activations_by_halo(encoder, layers)
    )


def _activations_by_halo(encoder: VGG, layers: Iterable[str]) -> Iterator[tuple[float, int]]:
    """How many numbers each trunk computes per pixel, with its halo; what trunks share is in the deepest's."""
    so_far = 0.0
    for n, own in enumerate(trunks := encoder.by_trunk(layers)[::-1], 1):
        before, so_far = so_far, encoder.activations(chain.from_iterable(trunks[:n]))
        yield so_far - before, halo_of(encoder, own)


def _pixels(parts: Iterable[Tile], halo: int) -> int:
    """Pixels of all tiles with a halo of so many pixels."""
    seen = (tile.narrowed(halo) for tile in parts)
    return sum((tile.rows[1] - tile.rows[0]) * (tile.columns[1] - tile.columns[0]) for tile in seen)


def halo_of(encoder: VGG, layers: Iterable[str]) -> int:
    """Pixels around a core on which its features depend, a multiple of the largest stride."""
    places = [encoder.geometry[layer] for layer in layers]
    unit = max((place.stride for place in places), default=1)
    reach = max((place.receptive_field // 2 for place in places), default=1)
    return -(-reach // unit) * unit


def _spans(side: int, core: int, unit: int, halo: int, wrap: bool) -> list[tuple[Span, Span]]:
    """Cores along a side, each with its halo; spans are of one length, but for the last.

    So the encoder sees few sizes, for each of which libraries keep kernels. Where the picture ends there is no halo:
    there the core is as much longer. Where sides wrap, several tiles go around.
    """
    origin = -halo if wrap else 0
    inside = side - 2 * (halo + origin)
    if inside <= max(core, unit):
        return [((0, side), (0, side))]
    count = -(-inside // max(core, unit))
    length = -(-inside // (count * unit)) * unit
    starts = range(origin, origin + inside, length)
    borders = [0, *(start + halo for start in starts[1:]), side]
    return [
        (core_span, (start, min(start + length + 2 * halo, side - origin)))
        for core_span, start in zip(pairwise(borders), starts, strict=True)
    ]


def _within(span: Span, origin: int) -> slice:
    return slice(span[0] - origin, span[1] - origin)


def _at(span: Span, stride: int, side: int) -> slice:
    """A core's positions; the last one ends where the layer ends."""
    return slice(span[0] // stride, side // stride if span[1] == side else span[1] // stride)

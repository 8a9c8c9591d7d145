"""Nearest patches: for each patch of one grid the one of others that it is most like, exactly, in bounded memory.

The inner product of two patches is a sum over their positions, so that all products of patches are sums along the
diagonals of all products of positions: a ninth of the work for patches of 3 × 3. They are made some rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.pictures.maps import EVERYWHERE, NOWHERE

NUMBERS_AT_ONCE = 2**23
"""Of products of positions that are made at a time, 32 MB, but of one row at least. Beside them there are their sums
along rows, which keep `side` - 1 rows more, and along columns: three times as much in all, five where rows are long."""
PRICE, KEPT_OF_PRICES, MOST_CHARGED = 0.02, 0.97, 8.0
"""Of a patch that is taken once more than others, in units of what is missing of correlations of 1; how much of prices
stays from match to match; the most at once."""


@dataclass(frozen=True, eq=False)
class Grid:
    """What is compared of a picture at a layer: `values` `(H, W, D)` and, if only equal ones match, `labels` `(H, W)`.

    The label of a patch is that of its centre.
    """

    values: Tensor
    labels: Tensor | None = None

    @property
    def positions(self) -> int:
        """How many there are."""
        return self.values.shape[0] * self.values.shape[1]

    def labels_of_patches(self, side: int) -> Tensor:
        """`(H - side + 1, W - side + 1)`."""
        height, width = (length - side + 1 for length in self.values.shape[:2])
        if self.labels is None:
            return torch.full((height, width), EVERYWHERE, device=self.values.device)
        return self.labels[side // 2 :, side // 2 :][:height, :width].long()


def norms(grid: Grid, side: int) -> Tensor:
    """The norm of each patch `(H - side + 1, W - side + 1)`."""
    squares = grid.values.square().sum(-1)[None, None]
    return F.avg_pool2d(squares, side, 1, divisor_override=1)[0, 0].clamp(min=1e-12).sqrt()


@dataclass(frozen=True, eq=False)
class Field:
    """Where the patches of a grid come from.

    For each patch, by its upper left corner: the `place` of the corner of the one that it is most like among all
    positions of the sources, one source after the other; the `width` of its source; and their normalised
    cross-correlation, the `score`. All `(H - side + 1, W - side + 1)`.
    """

    side: int
    place: Tensor
    width: Tensor
    score: Tensor

    def mean_of_sources(self, values: Tensor) -> Tensor:
        """Of values `(N, C)` of all positions of the sources, those that patches bring to each position `(H, W, C)`.

        Where patches overlap it is their mean.
        """
        height, width = self.place.shape
        total = values.new_zeros(height + self.side - 1, width + self.side - 1, values.shape[1])
        for row, column in product(range(self.side), repeat=2):
            places = (self.place + row * self.width + column).flatten()
            total[row : row + height, column : column + width] += values[places].view(height, width, -1)
        return total / self.covering(values)[..., None]

    def at_centres(self, values: Tensor) -> Tensor:
        """Of values `(N, …)` of all positions of the sources those at the centres of the patches that were found."""
        return values[self.place + self.side // 2 * (self.width + 1)]

    def centres_of(self, values: Tensor) -> Tensor:
        """Of values `(H, W, …)` of the grid itself those at the centres of its patches."""
        height, width = self.place.shape
        return values[self.side // 2 :, self.side // 2 :][:height, :width]

    def covering(self, like: Tensor) -> Tensor:
        """How many patches lie over each position `(H, W)`."""
        spans = [
            F.conv1d(torch.ones(1, 1, length), torch.ones(1, 1, self.side), padding=self.side - 1)[0, 0]
            for length in self.place.shape
        ]
        return torch.outer(*spans).to(like)


class Sources:
    """The grids among whose patches the nearest ones are looked for.

    `side` is that of patches, in positions, or of the smallest grid if that is less.
    """

    def __init__(self, grids: Sequence[Grid], side: int = 3, variety: float = 0.0) -> None:
        self.grids = tuple(grids)
        self.side = min(side, *(length for grid in grids for length in grid.values.shape[:2]))
        self._variety = variety
        self._prices = grids[0].values.new_zeros(sum(grid.positions for grid in grids))

    @property
    def patches(self) -> int:
        """How many there are."""
        sizes = (grid.values.shape[:2] for grid in self.grids)
        return sum((height - self.side + 1) * (width - self.side + 1) for height, width in sizes)

    def nearest(self, current: Grid) -> Field:
        """The patch, of the same label, that each patch is most like by normalised cross-correlation.

        Those whose label no source has match any, as `EVERYWHERE` does, and so do all where sources have nothing but
        `NOWHERE`.
        """
        side = min(self.side, *current.values.shape[:2])
        labels_of_sources = [grid.labels_of_patches(side) for grid in self.grids]
        known = {one for own in labels_of_sources for one in _distinct(own)} - {NOWHERE}
        if not known:
            labels_of_sources = [torch.full_like(own, EVERYWHERE) for own in labels_of_sources]
        labels = current.labels_of_patches(side)
        place, width = torch.zeros_like(labels), torch.ones_like(labels)
        score = torch.full_like(labels, -torch.inf, dtype=current.values.dtype)
        first = 0
        for source, theirs in zip(self.grids, labels_of_sources, strict=True):
            for one, own in _alike(labels, theirs, known - {EVERYWHERE}):
                rows, columns = _box(one)
                part = current.values[_wider(rows, side), _wider(columns, side)]
                found, at = _best(part, source, own, side, self._prices[first:] if self._variety else None)
                better = one[rows, columns] & (found > score[rows, columns])
                score[rows, columns][better] = found[better]
                place[rows, columns][better] = first + at[better]
                width[rows, columns][better] = source.values.shape[1]
            first += source.positions
        field = Field(side, place, width, score / norms(current, side))
        if self._variety:
            self._charge(field)
        return field

    def _charge(self, field: Field) -> None:
        """Make the sources dearer that were taken more often than others, and the others cheaper."""
        usage = field.place.flatten().bincount(minlength=len(self._prices)).to(self._prices)
        surplus = (usage - field.place.numel() / self.patches).clamp(max=MOST_CHARGED)
        unit = PRICE * (1 - field.score.mean()).clamp(min=0)
        self._prices = KEPT_OF_PRICES * self._prices + self._variety * unit * surplus


def _alike(current: Tensor, source: Tensor, known: set[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Which patches may match which: masks of both, label by label."""
    for label in _distinct(current):
        own = (source == label) | (source == EVERYWHERE) if label in known else source != NOWHERE
        if own.any():
            yield current == label, own


def _distinct(labels: Tensor) -> list[int]:
    found: list[int] = labels.unique().tolist()  # type: ignore[no-untyped-call]
    return found


def _box(mask: Tensor) -> tuple[slice, slice]:
    """The rows and columns that a mask `(H, W)` takes up."""
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _wider(span: slice, side: int) -> slice:
    """The positions of the patches in a span."""
    return slice(span.start, span.stop + side - 1)


def _best(current: Tensor, source: Grid, allowed: Tensor, side: int, prices: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of each patch of `current`: the highest product with a normalised patch of the source, and where that is.

    `prices` of positions are in units of the correlation.
    """
    rows, columns = _box(allowed)
    values = source.values[_wider(rows, side), _wider(columns, side)].contiguous()
    factor = 1 / norms(source, side)[rows, columns]
    price = None if prices is None else prices[: source.positions].view(source.values.shape[:2])[rows, columns]
    norm = norms(Grid(current), side)
    forbidden = None if allowed[rows, columns].all() else ~allowed[rows, columns]
    score, place = torch.empty_like(norm), torch.empty(norm.shape, dtype=torch.int64, device=norm.device)
    for seen, products in _products(current, values, side):
        products *= factor
        if price is not None:
            products.addcmul_(norm[seen, :, None, None], price, value=-1)
        if forbidden is not None:
            products.masked_fill_(forbidden, -torch.inf)
        torch.max(products.flatten(2), -1, out=(score[seen], place[seen]))
    width = columns.stop - columns.start
    row, column = place // width + rows.start, place % width + columns.start
    return score, row * source.values.shape[1] + column


def _products(a: Tensor, b: Tensor, side: int) -> Iterator[tuple[slice, Tensor]]:
    """Inner products of all patches of two grids `(H, W, D)` and `(I, J, D)`, some rows at a time `(R, W', I', J')`.

    They may be written on: the next ones take their place, so that memory is taken once.
    """
    (height, width, _), (rows, columns, _) = a.shape, b.shape
    wide, across, down = width - side + 1, columns - side + 1, rows - side + 1
    step = min(height, max(1, NUMBERS_AT_ONCE // (width * rows * columns)))
    others = b.flatten(0, 1).T
    room = a.new_empty(step * width, rows * columns)
    held = a.new_empty(step + side - 1, wide, rows, across)
    sums = a.new_empty(step, wide, down, across)
    count, first = 0, 0
    for start in range(0, height, step):
        own = a[start : start + step].flatten(0, 1)
        products = torch.mm(own, others, out=room[: len(own)]).view(-1, width, rows, columns)
        summed = held[count : count + len(products)]
        summed.copy_(products[:, :wide, :, :across])
        for shift in range(1, side):
            summed += products[:, shift : shift + wide, :, shift : shift + across]
        count += len(products)
        done = count - side + 1
        if done > 0:
            found = sums[:done]
            found.copy_(held[:done, :, :down])
            for shift in range(1, side):
                found += held[shift : shift + done, :, shift : shift + down]
            yield slice(first, first + done), found
            first += done
            for row in range(side - 1):
                held[row].copy_(held[done + row])
            count = side - 1

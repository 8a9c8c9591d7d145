"""The style that many works share: a mixture of them, the one nearest to the photograph.

Ikuta, Ogaki & Odagiri, "Blending Texture Features from Multiple Reference Images for Style Transfer" (SIGGRAPH Asia
2016): the Gram matrix of a picture that is joined from works is the mean of theirs, so that a style is a simplex with
the works at its corners. Its point nearest to the content's own Gram matrix is what is transferred: the texture is the
works', the colours, as far as works have them, the content's. What differs here: the nearest point is exact, features
are those of `lite` or whichever encoder is asked for, and the transfer is the one of `transfer`, with all its options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from impasto.encoders import load_encoder
from impasto.encoders.vgg import VGG
from impasto.errors import counted
from impasto.library.mixture import Mixture, mix
from impasto.library.signature import Signature, signatures
from impasto.losses import Shares
from impasto.machine import Machine
from impasto.methods import numbered
from impasto.methods.optimisation import OptimisationSettings
from impasto.methods.regions import Region, refuse_contradictions
from impasto.methods.settings import setting
from impasto.methods.style import StyleSettings, statistics
from impasto.methods.transfer import TransferSettings, transfer
from impasto.methods.work import Work
from impasto.pictures.picture import Picture

MOST_NAMED = 6
"""Works, when those that take part are told."""
CELL = 64
"""Side of a cell in the masks of patches and tiles, which are made larger or smaller as needed."""


class MixtureSettings(StyleSettings, OptimisationSettings):
    """Settings of how works are mixed."""

    character: Annotated[float, Field(ge=0, le=1)] = setting(
        0.0, "style", "From the style nearest to the photograph (0) to the mean of all works (1).", common=True
    )
    shrinkage: Annotated[float, Field(ge=0, le=1000)] = setting(
        0.01, "style", "How much more works than the nearest take part (0 … 1000; 1: nearly all).", common=True
    )
    max_works: Annotated[int, Field(ge=1)] | None = setting(None, "style", "Most works that take part (1 …).")
    joint: bool = setting(False, "style", "The same weights for all layers, fine and coarse; else each has its own.")


class BlendSettings(MixtureSettings, TransferSettings):
    """Settings of `blend`. `style_weights` say which works are to be preferred."""

    style_loss: Literal["gram", "wasserstein"] = statistics()
    patches: Annotated[int, Field(ge=1, le=3)] = setting(
        1, "style", "Cuts every work into so many patches each way, which take part one by one (1 … 3)."
    )
    local: Annotated[int, Field(ge=1, le=8)] = setting(
        1, "style", "Mixtures of their own for so many overlapping tiles along the longest side (1 … 8)."
    )

    @model_validator(mode="after")
    def _is_one_style(self) -> Self:
        if self.has_regions:
            raise ValueError("masks and segmentation: blend paints the whole picture in one style; use transfer")
        if self.mix == "losses" and not self.joint:
            raise ValueError("mix: losses need the same weights for all layers: add joint, or leave it out")
        return self


def blend(
    content: Picture,
    styles: Sequence[Picture],
    settings: BlendSettings,
    machine: Machine,
    pictures: Mapping[str, Picture] | None = None,
    known: dict[Any, Any] | None = None,
) -> Work:
    """Repaint `content` in the style that `styles` share, as near to itself as that can be.

    Raises `UsageError` as `transfer` does.
    """
    refuse_contradictions(settings)
    known = {} if known is None else known
    encoder = load_encoder(settings.encoder, pooling=settings.pooling, device=machine.device)
    tiles = [*_tiles(content, settings.local)]
    mixtures = mixtures_of(encoder, [tile.content for tile in tiles], styles, settings, known, settings.patches)
    work_of, masks = _parts(styles, settings.patches)
    used = np.flatnonzero(sum(one.mean_weights for one in mixtures) > 0)
    numbers, own_masks = work_of[used], [masks[part] for part in used]
    needed = np.unique(numbers)
    regions = []
    for tile, mixture in zip(tiles, mixtures, strict=True):
        by_layer = {layer: own[used].tolist() for layer, own in mixture.weights.items()}
        shares: Shares = next(iter(by_layer.values())) if settings.joint else by_layer
        whole = Region.everything(np.searchsorted(needed, numbers).tolist(), own_masks, shares)
        regions.append(whole if tile.mask is None else replace(whole, name=tile.name, mask=tile.mask))
    chosen = [styles[number] for number in needed]
    simply = settings.changed(guidance="simple")  # windows are soft, and statistics of all their positions count
    work = transfer(content, chosen, simply, machine, pictures, known, regions)
    facts = _facts(mixtures, work_of, len(styles))
    return replace(work, remarks=(_in_words(styles, facts),), facts=facts)


@dataclass(frozen=True, eq=False)
class _Tile:
    """A part of the content, and where it is: a soft window `(1, 1, H, W)`, or None for everywhere."""

    content: Picture
    mask: Tensor | None = None
    name: str = ""


def _tiles(content: Picture, count: int) -> Iterator[_Tile]:
    """Tiles of a content, so many along its longest side; their windows overlap by half, and sum to 1."""
    if count == 1:
        yield _Tile(content)
        return
    longest = max(content.height, content.width)
    rows, columns = (max(1, round(count * side / longest)) for side in (content.height, content.width))
    for row, column in product(range(rows), range(columns)):
        spans = _span(row, rows, content.height), _span(column, columns, content.width)
        alpha = None if content.alpha is None else content.alpha[..., *spans]
        cropped = replace(content, pixels=content.pixels[..., *spans], alpha=alpha, path=None, sha256=None)
        mask = _window(row, rows)[:, None] * _window(column, columns)
        yield _Tile(cropped, mask[None, None], f"tile {row + 1},{column + 1}")


def _span(place: int, count: int, side: int) -> slice:
    """What a window shows of a side."""
    return slice(max(0, (2 * place - 1) * side // (2 * count)), min(side, -(-(2 * place + 3) * side // (2 * count))))


def _window(place: int, count: int) -> Tensor:
    """A hat over a cell and the halves of its neighbours; at the ends it stays up."""
    position = (torch.arange(count * CELL) + 0.5) / CELL - 0.5
    position = position.clamp(0, count - 1)
    return (1 - (position - place).abs()).clamp(min=0)


def _parts(styles: Sequence[Picture], patches: int) -> tuple[np.ndarray, list[Tensor | None]]:
    """The parts that works are cut into: number of the work and mask of each."""
    if patches == 1:
        return np.arange(len(styles)), [None] * len(styles)
    cells: list[Tensor | None] = []
    for row, column in product(range(patches), repeat=2):
        mask = torch.zeros(1, 1, patches * CELL, patches * CELL)
        mask[..., row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 1
        cells.append(mask)
    return np.repeat(np.arange(len(styles)), len(cells)), cells * len(styles)


def mixtures_of(
    encoder: VGG,
    contents: Sequence[Picture],
    works: Sequence[Picture],
    settings: MixtureSettings,
    known: dict[Any, Any],
    patches: int = 1,
) -> list[Mixture]:
    """The mixtures of works, or of all their patches one work after the other, nearest to contents."""
    encoder.check_layers(settings.style_layer_weights)
    prior = np.array(settings.shares(len(works)))
    parts = [own for work in works for own in _signatures(encoder, work, settings, patches, known)]
    targets = [_signatures(encoder, content, settings, 1, known)[0] for content in contents]
    each = patches**2
    return [
        mix(
            target,
            parts,
            prior=np.repeat(prior / each, each),
            shrinkage=settings.shrinkage,
            character=settings.character,
            max_works=settings.max_works,
            joint=settings.joint,
        )
        for target in targets
    ]


def _signatures(
    encoder: VGG, picture: Picture, settings: MixtureSettings, patches: int, known: dict[Any, Any]
) -> list[Signature]:
    layers = sorted(settings.style_layer_weights)
    key = ("signatures", picture.sha256 or picture, settings.encoder, settings.pooling, patches, *layers)
    if key not in known:
        known[key] = signatures(encoder, picture, layers, _parts([picture], patches)[1])
    found: list[Signature] = known[key]
    return found


def _facts(mixtures: Sequence[Mixture], work_of: np.ndarray, count: int) -> dict[str, Any]:
    """What a record says: distances, and of each work its weight and what speaks for it, as in `Mixture`.

    Of tiles all is the mean; of a work's patches weights are summed, and the best one counts.
    """

    def by_work(values: Sequence[np.ndarray], gather: Callable[[np.ndarray], np.floating[Any]]) -> list[float]:
        mean = np.mean(values, 0)
        return [_rounded(gather(mean[work_of == number])) for number in range(count)]

    columns = {
        "weight": by_work([one.mean_weights for one in mixtures], np.sum),
        "alone": by_work([one.alone for one in mixtures], np.min),
        "without": by_work([one.without for one in mixtures], np.max),
        "gradient": by_work([one.gradient for one in mixtures], np.min),
    }
    return {
        "distance": _rounded(np.mean([one.distance for one in mixtures])),
        "distance_of_mean": _rounded(np.mean([one.of_mean for one in mixtures])),
        "works": [
            {"role": role} | {name: values[number] for name, values in columns.items()}
            for number, role in enumerate(numbered("style", count))
        ],
    }


def _rounded(value: float | np.floating[Any]) -> float:
    return float(f"{value:.4g}")


def _in_words(works: Sequence[Picture], facts: Mapping[str, Any]) -> str:
    """`6 of 39 works: irises.jpg 44%, the-night-cafe.jpg 20%, … and 3 more`."""
    weights = [one["weight"] for one in facts["works"]]
    order = sorted((k for k, weight in enumerate(weights) if weight > 0), key=lambda k: -weights[k])
    shown = ", ".join(f"{works[k].name} {weights[k]:.0%}" for k in order[:MOST_NAMED])
    more = f" and {len(order) - MOST_NAMED} more" if len(order) > MOST_NAMED else ""
    return f"{len(order)} of {counted(len(works), 'work')}: {shown}{more}"

"""Choosing works of a library for a blend: those whose mixture is nearest to a picture, and the next best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch

from impasto.errors import UsageError
from impasto.library.searching import Selection, sketch_like, tagged, tags_in
from impasto.library.simplex import WHOLE, Indices, Points, Vector, nearest_of_many
from impasto.library.store import Library
from impasto.pictures.picture import Picture

ENOUGH = 32
"""Works among which the nearest mixture is looked for exactly: those of the sketches' own, 14 of 400, and the next."""
DRAWN = 32
"""Works that stand for all, where their mean counts."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Works that can stand for a selection: places in the library, and weights of their mean, of sum 1."""

    places: Indices
    mean: Vector


def choose(
    selection: Selection,
    content: Picture,
    *,
    shrinkage: float,
    preferred: Mapping[str, float],
    count: int = ENOUGH,
    joint: bool = False,
    drawn: bool = False,
) -> Choice:
    """The works whose mixture is nearest to a picture by their sketches, and the next best: `count` of them if all
    layers are `joint`, else a third as many for each.

    `preferred` says how many times as much as others the works with a tag count, those with 0 not at all; where their
    mean is wanted, some works are `drawn` to stand for all. Raises `UsageError` for a preferred tag that no work has,
    and for a selection without works.
    """
    library, places = selection.library, np.sort(selection.places)
    if not len(places):
        raise UsageError(f"{library.folder}: none of its works is chosen: ask for less")
    prior = _prior(library, places, preferred)
    places, prior = places[prior > 0], prior[prior > 0]
    target = torch.cat([*sketch_like(library, content).values()])
    parts = [WHOLE] if joint else _columns_of(library.manifest.layers)
    points = Points(library.sketches(), places)
    count = count if joint else max(1, count // 3)
    found = nearest_of_many(points, target, parts=parts, shrinkage=shrinkage, prior=prior)
    chosen = reduce(np.union1d, [np.lexsort((one.gradient, -one.weights))[:count] for one in found])
    mean = prior[chosen]
    if drawn:
        sample = np.searchsorted(prior.cumsum(), (np.arange(DRAWN) + 0.5) / DRAWN)
        chosen = np.union1d(chosen, sample)
        mean = np.bincount(np.searchsorted(chosen, sample), minlength=len(chosen)).astype(float)
    return Choice(places[chosen], mean / mean.sum())


def _columns_of(layers: Mapping[str, int]) -> list[slice]:
    """Each layer's of the sketches."""
    ends = np.cumsum([*layers.values()]).tolist()
    return [slice(end - length, end) for length, end in zip(layers.values(), ends, strict=True)]


def _prior(library: Library, places: Indices, preferred: Mapping[str, float]) -> Vector:
    """How much works count, of sum 1: as often as their preferred tags say."""
    counts = np.ones(len(places))
    if preferred:
        tags = library.works("tags")["tags"]
        for words, times in preferred.items():
            for tag in tags_in("prefer", words):
                counts[tagged(tags, tag)[places]] *= times
    if not counts.any():
        raise UsageError("prefer: 0 for all of the works: prefer some to others")
    even: Vector = counts / counts.sum()
    return even

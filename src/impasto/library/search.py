"""Finding works of a library: by what is known of them, by their look, and those whose mixture is nearest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import compute
from torch import Tensor

from impasto.errors import LibraryError, UsageError, near_match
from impasto.library.adding import encoder_of
from impasto.library.facts import as_words, tags_of
from impasto.library.simplex import Indices, Points, Vector, nearest_of_many
from impasto.library.sketch import sketch_of
from impasto.library.store import SCHEMA, Library
from impasto.pictures.picture import Picture

ENOUGH = 32
"""Works among which the nearest mixture is looked for exactly: those of the sketches' own, 14 of 400, and the next."""
DRAWN = 32
"""Works that stand for all, where their mean counts."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Works of a library: places `(n,)` in it, in the order of the library or, as asked for, of likeness."""

    library: Library
    places: Indices

    def __len__(self) -> int:
        return len(self.places)

    @property
    def paths(self) -> list[Path]:
        """The pictures; raises `LibraryError` for one that is not there any more."""
        return [self.library.find(row["path"]) for row in self.rows("path")]

    def rows(self, *columns: str) -> list[dict[str, Any]]:
        """What is known of the works."""
        table = self.library.works(*(columns or [name for name in SCHEMA.names if name != "thumbnail"]))
        found: list[dict[str, Any]] = table.take(self.places).to_pylist()
        return found


def search(
    library: Library,
    *,
    tags: Sequence[str] = (),
    author: str | None = None,
    text: str | None = None,
    like: Picture | None = None,
    limit: int | None = None,
) -> Selection:
    """The works that carry all of the tags, are by the author, and have the text in a title, author, tag or path.

    Capitals do not matter, and of an author a part of the name will do. With `like`, those that are most like a
    picture come first, and of works that are alike those that were added first. Raises `UsageError`, with a near match,
    for a tag or author that no work has, and for one that is empty, `LibraryError` where nothing is found.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: must be at least 1")
    wanted = [tag for words in ([tags] if isinstance(tags, str) else tags) for tag in _tags_in("tag", words)]
    author, text = (words and as_words(words) for words in (author, text))
    for name, words in (("author", author), ("text", text)):
        if words == "":
            raise _is_empty(name)
    if not len(library):
        raise LibraryError(f"{library.folder}: is empty; impasto library add {library.folder} PICTURES adds some")
    known = library.works("title", "author", "tags", "path")
    masks = [_tagged(known["tags"], tag) for tag in wanted]
    if author is not None:
        masks.append(_by(known["author"], author))
    if text is not None:
        parts = [_holds(known[column], text) for column in ("title", "author", "path")]
        parts.append(_any_tag(known["tags"], lambda tags: compute.match_substring(tags, text.casefold())))
        masks.append(np.logical_or.reduce(parts))
    found = np.flatnonzero(np.logical_and.reduce(masks)) if masks else np.arange(len(library))
    if not len(found):
        raise LibraryError(f"{library.folder}: no work is all that was asked for: ask for less")
    if like is not None:
        found = found[_unlikeness(library, like, found).argsort(kind="stable")]
    return Selection(library, found[:limit])


def _tags_in(name: str, words: str) -> tuple[str, ...]:
    """The tags in words; raises `UsageError` where there are none: all of the works would have those."""
    found = tags_of(words)
    if not found:
        raise _is_empty(name)
    return found


def _is_empty(name: str) -> UsageError:
    return UsageError(f"{name}: is empty; say which one, or leave --{name} out")


def counts(library: Library) -> list[dict[str, Any]]:
    """How many works there are of each tag and each author, most first."""
    known = library.works("tags", "author")
    found = []
    for kind, values in (("tag", compute.list_flatten(known["tags"])), ("author", known["author"])):
        tallies = [(one["counts"], one["values"]) for one in compute.value_counts(values).to_pylist() if one["values"]]
        tallies.sort(key=lambda one: (-one[0], one[1]))
        found += [{"kind": kind, "name": name, "works": count} for count, name in tallies]
    return found


def _tagged(tags: pa.ChunkedArray, tag: str) -> np.ndarray:
    found = _any_tag(tags, lambda words: compute.equal(words, tag))
    if not found.any():
        known = compute.unique(compute.list_flatten(tags)).to_pylist()
        raise UsageError(f"tag {tag}: no work has it{near_match(tag, known)}{_some_of(tags)}")
    return found


def _some_of(tags: pa.ChunkedArray) -> str:
    counts = compute.value_counts(compute.list_flatten(tags)).to_pylist()
    most = sorted(counts, key=lambda one: -one["counts"])[:8]
    return f"; the most common are {', '.join(one['values'] for one in most)}" if most else "; none has any"


def _by(authors: pa.ChunkedArray, author: str) -> np.ndarray:
    found = _holds(authors, author)
    if not found.any():
        known = [one for one in compute.unique(authors).to_pylist() if one]
        raise UsageError(f"author {author}: no work is by them{near_match(author, known)}")
    return found


def _holds(texts: pa.ChunkedArray, text: str) -> np.ndarray:
    found: np.ndarray = compute.match_substring(texts, text, ignore_case=True).to_numpy().astype(bool)
    return found


def _any_tag(tags: pa.ChunkedArray, holds: Callable[[pa.Array], pa.Array]) -> np.ndarray:
    """Which works have a tag of which something holds."""
    lists = tags.combine_chunks()
    hits = compute.list_parent_indices(lists).filter(holds(compute.list_flatten(lists)))
    found = np.zeros(len(tags), bool)
    found[hits.to_numpy()] = True
    return found


def _unlikeness(library: Library, picture: Picture, places: Indices) -> Vector:
    """Squared distances of the sketches of some works to a picture's."""
    target = torch.cat([*sketch_like(library, picture).values()])
    points = Points(library.sketches(), places)
    squares = [(block - target).square().sum(1) for block in points.blocks()]
    return torch.cat(squares).double().numpy()


def sketch_like(library: Library, picture: Picture) -> dict[str, Tensor]:
    """The sketch of a picture in the manner of a library, by layer."""
    layers = library.manifest.layers
    found = sketch_of(encoder_of(library), picture, layers)
    return {layer: own / library.manifest.units[layer] for layer, own in found.items()}


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
    `LibraryError` for a selection without works.
    """
    library, places = selection.library, np.sort(selection.places)
    if not len(places):
        raise LibraryError(f"{library.folder}: none of its works is chosen: ask for less")
    prior = _prior(library, places, preferred)
    places, prior = places[prior > 0], prior[prior > 0]
    target = sketch_like(library, content)
    best: list[Indices] = []
    for columns, own in _problems(library.manifest.layers, target) if not joint else [(slice(None), target)]:
        points = Points(library.sketches(), places, columns)
        found = nearest_of_many(points, torch.cat([*own.values()]), shrinkage=shrinkage, prior=prior)
        best.append(np.lexsort((found.gradient, -found.weights))[: count if joint else max(1, count // 3)])
    chosen = reduce(np.union1d, best)
    mean = prior[chosen]
    if drawn:
        sample = np.searchsorted(prior.cumsum(), (np.arange(DRAWN) + 0.5) / DRAWN)
        chosen = np.union1d(chosen, sample)
        mean = np.bincount(np.searchsorted(chosen, sample), minlength=len(chosen)).astype(float)
    return Choice(places[chosen], mean / mean.sum())


def _problems(layers: Mapping[str, int], target: Mapping[str, Tensor]) -> list[tuple[slice, dict[str, Tensor]]]:
    """One for each layer: its columns of the sketches, and its part of the target."""
    ends = np.cumsum([*layers.values()]).tolist()
    return [
        (slice(end - length, end), {layer: target[layer]})
        for (layer, length), end in zip(layers.items(), ends, strict=True)
    ]


def _prior(library: Library, places: Indices, preferred: Mapping[str, float]) -> Vector:
    """How much works count, of sum 1: as often as their preferred tags say."""
    counts = np.ones(len(places))
    if preferred:
        tags = library.works("tags")["tags"]
        for words, times in preferred.items():
            for tag in _tags_in("prefer", words):
                counts[_tagged(tags, tag)[places]] *= times
    if not counts.any():
        raise UsageError("prefer: 0 for all of the works: prefer some to others")
    even: Vector = counts / counts.sum()
    return even

"""Finding works of a library, by what is known of them and by their look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import compute
from torch import Tensor

from impasto.errors import LibraryError, UsageError, near_match
from impasto.library.encoder import encoder_of
from impasto.library.facts import as_words, tags_of
from impasto.library.simplex import Indices, Points, Vector
from impasto.library.sketch import sketch_of
from impasto.library.store import SCHEMA, Library
from impasto.pictures.picture import Picture


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
    for a tag or author that no work has, and for what is empty, or met by no work; `LibraryError` for no works at all.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: must be at least 1")
    wanted = [tag for words in ([tags] if isinstance(tags, str) else tags) for tag in tags_in("tag", words)]
    author, text = (words and as_words(words) for words in (author, text))
    for name, words in (("author", author), ("text", text)):
        if words == "":
            raise _is_empty(name)
    if not len(library):
        raise LibraryError(f"{library.folder}: is empty; impasto library add {library.folder} PICTURES adds some")
    masks = []
    if wanted:
        tags_of_works = library.works("tags")["tags"]
        masks += [tagged(tags_of_works, tag) for tag in wanted]
    if author is not None:
        masks.append(_by(library.works("author")["author"], author))
    if text is not None:
        known = library.works("title", "author", "path", "tags")
        parts = [_holds(known[column], text) for column in ("title", "author", "path")]
        parts.append(_any_tag(known["tags"], lambda tags: compute.match_substring(tags, text.casefold())))
        masks.append(np.logical_or.reduce(parts))
    found = np.flatnonzero(np.logical_and.reduce(masks)) if masks else np.arange(len(library))
    if not len(found):
        raise UsageError(_nothing(library, wanted, author, text))
    if like is not None:
        found = found[_unlikeness(library, like, found).argsort(kind="stable")]
    return Selection(library, found[:limit])


def tags_in(name: str, words: str) -> tuple[str, ...]:
    """The tags in words; raises `UsageError` where there are none: all of the works would have those."""
    found = tags_of(words)
    if not found:
        raise _is_empty(name)
    return found


def _nothing(library: Library, tags: Sequence[str], author: str | None, text: str | None) -> str:
    """What no work is, in words."""
    if author is None and text is None:
        *others, last = tags
        return f"no work has all of the tags {', '.join(others)} and {last}; leave one out"
    if author is None and not tags:
        return f"text {text}: no work has it; it is looked for in titles, authors, tags and paths"
    return f"{library.folder}: no work is all that was asked for: ask for less"


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


def tagged(tags: pa.ChunkedArray, tag: str) -> np.ndarray:
    found = _any_tag(tags, lambda words: compute.equal(words, tag))
    if not found.any():
        known = compute.unique(compute.list_flatten(tags)).to_pylist()
        raise UsageError(f"tag {tag}: no work has it{near_match(tag, known)}{_some_of(compute.list_flatten(tags))}")
    return found


def _some_of(words: pa.ChunkedArray) -> str:
    counts = [one for one in compute.value_counts(words).to_pylist() if one["values"]]
    most = sorted(counts, key=lambda one: -one["counts"])[:8]
    return f"; the most common are {', '.join(one['values'] for one in most)}" if most else "; none has any"


def _by(authors: pa.ChunkedArray, author: str) -> np.ndarray:
    found = _holds(authors, author)
    if not found.any():
        known = [one for one in compute.unique(authors).to_pylist() if one]
        near = near_match(author, [*known, *(word for one in known for word in one.split())])
        raise UsageError(f"author {author}: no work is by them{near}{_some_of(authors)}")
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
    found = np.empty(len(places))
    for place, block in Points(library.sketches(), places).blocks():
        block -= target
        found[place] = torch.linalg.vecdot(block, block).numpy()
    return found


def sketch_like(library: Library, picture: Picture) -> dict[str, Tensor]:
    """The sketch of a picture in the manner of a library, by layer."""
    layers = library.manifest.layers
    found = sketch_of(encoder_of(library), picture, layers)
    return {layer: own / library.manifest.units[layer] for layer, own in found.items()}

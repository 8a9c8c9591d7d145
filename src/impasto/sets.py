"""Sets of works in place of single pictures: folders, and style libraries of which those are chosen that help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from impasto.errors import LibraryError, UsageError, counted
from impasto.jobs import Job
from impasto.methods import find_method
from impasto.methods.settings import Settings, Strengths, Words, setting
from impasto.pictures.files import Source, read_picture
from impasto.pictures.folders import pictures_in

if TYPE_CHECKING:
    from impasto.library.searching import Selection

MOST_IN_A_FOLDER = 64
"""Pictures that are all read; of more a library makes short work."""


class Wanted(Settings):
    """Which works of a library may take part, as in a search, and which are preferred."""

    tag: Words = setting((), "style", "Of libraries, the works with these tags: ink,portrait.")
    author: str | None = setting(None, "style", "Of libraries, the works of an author; a part of the name will do.")
    text: str | None = setting(None, "style", "Of libraries, the works with this in a title, author, tag or path.")
    prefer: Strengths = setting({}, "style", "Of libraries, works with a tag count so many times: ink:3,wash:0.5.")


EVERYTHING = Wanted()


def blend_job(
    content: Source,
    works: Sequence[Source | Selection],
    settings: Mapping[str, Any],
    wanted: Wanted = EVERYTHING,
    **where: Any,
) -> Job:
    """The job of a blend of pictures, and of those in folders and libraries.

    Of a library the works are chosen whose mixture is nearest to the content, by their sketches: the blend finds the
    mixture of these exactly. Raises `UsageError`, `LibraryError` and `PictureError`.
    """
    method = find_method("blend")
    if not works:
        raise UsageError(method.takes(1))
    model = method.settings.of(**settings)
    sets = [_Set.of(one, content, wanted, model, where.get("max_pixels", Job.max_pixels)) for one in works]
    if wanted != EVERYTHING and not any(one.chosen for one in sets):
        raise UsageError("tag, author, text and prefer: choose among the works of a library, and none is given")
    pictures = [picture for one in sets for picture in one.pictures]
    if settings.get("style_weights") is not None and any(one.chosen for one in sets):
        raise UsageError("style_weights: one number for each work; of libraries, prefer tags instead")
    if any(one.weights for one in sets):
        settings = {**settings, "style_weights": tuple(weight for one in sets for weight in one.all_weights)}
    inputs = dict(zip(method.roles(1 + len(pictures)), [content, *pictures], strict=True))
    return Job.of("blend", inputs, settings, remarks=tuple(one.chosen for one in sets if one.chosen), **where)


@dataclass(frozen=True)
class _Set:
    """Pictures; how much each counts, where that differs; and in words how they were chosen, if they were."""

    pictures: Sequence[Source]
    weights: tuple[float, ...] = ()
    chosen: str = ""

    @property
    def all_weights(self) -> tuple[float, ...]:
        return self.weights or (1.0,) * len(self.pictures)

    @classmethod
    def of(
        cls, source: Source | Selection, content: Source, wanted: Wanted, settings: Settings, max_pixels: int
    ) -> _Set:
        selection = _selected(source, wanted)
        if selection is None:
            return cls(_unfolded(source))  # type: ignore[arg-type]
        photograph = read_picture(content, max_pixels=max_pixels)
        return cls._chosen(selection, photograph, wanted, settings)

    @classmethod
    def _chosen(cls, selection: Selection, content: Any, wanted: Wanted, settings: Any) -> _Set:
        from impasto.library.choosing import ENOUGH, choose
        from impasto.library.searching import Selection

        choice = choose(
            selection,
            content,
            shrinkage=settings.shrinkage,
            preferred=wanted.prefer,
            count=max(ENOUGH, settings.max_works or 0),
            joint=settings.joint,
            drawn=settings.character > 0,
        )
        pictures = Selection(selection.library, choice.places).paths
        weights = tuple((choice.mean * len(selection)).tolist()) if wanted.prefer or settings.character else ()
        many = counted(len(selection), "work")
        return cls(pictures, weights, f"{len(pictures)} of {many} in {selection.library.folder} come into question")


def _selected(source: Source | Selection, wanted: Wanted) -> Selection | None:
    """The works of a library that are wanted; None for anything else."""
    if isinstance(source, str | PathLike):
        if not (Path(source) / "library.json").is_file():  # spares others the import
            return None
        from impasto.library.searching import search
        from impasto.library.store import open_library

        return search(open_library(source), tags=wanted.tag, author=wanted.author, text=wanted.text)
    return _narrowed(cast("Selection", source), wanted) if hasattr(source, "places") else None


def _narrowed(selection: Selection, wanted: Wanted) -> Selection:
    """Those of some works that are wanted; raises `LibraryError` where none is."""
    import numpy as np

    from impasto.library.searching import Selection, search

    library = selection.library
    found = search(library, tags=wanted.tag, author=wanted.author, text=wanted.text)
    places = selection.places[np.isin(selection.places, found.places)]
    if not len(places):
        raise LibraryError(f"{library.folder}: none of the works that were chosen is all that was asked for")
    return Selection(library, places)


def _unfolded(source: Source) -> Sequence[Source]:
    """The pictures in a folder; a picture itself."""
    if not isinstance(source, str | PathLike) or not Path(source).is_dir():
        return [source]
    found = pictures_in(Path(source))
    if len(found) > MOST_IN_A_FOLDER:
        library = Path(source).resolve().name + ".library"
        raise UsageError(
            f"{source}: holds {len(found)} pictures; more than {MOST_IN_A_FOLDER} are looked at once and for all by "
            f"impasto library add {library} {source}, and impasto blend takes {library} in their place"
        )
    return found

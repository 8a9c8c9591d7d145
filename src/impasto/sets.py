"""Sets of works in place of single pictures: folders, and style libraries of which those are chosen that help."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from impasto.console import shell_word
from impasto.errors import UsageError, counted
from impasto.jobs import Job
from impasto.methods import find_method
from impasto.methods.settings import Settings, Strengths, Words, setting
from impasto.pictures.files import Source, read_picture
from impasto.pictures.folders import pictures_in

if TYPE_CHECKING:
    from impasto.library.searching import Selection

MOST_IN_FOLDERS = 64
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
    *,
    seen: Source | None = None,
    method: str = "blend",
    **where: Any,
) -> Job:
    """The job of a blend of pictures, and of those in folders and libraries.

    Of a library the works are chosen whose mixture is nearest to the content, by their sketches: the blend finds the
    mixture of these exactly. Unless works have weights, pictures of the same content count once, and a `UserWarning`
    says so. `seen` is what they are chosen by where the content is no picture, but a film for that `method`.
    Raises `UsageError`, `LibraryError` and `PictureError`.
    """
    found = find_method(method)
    if not works:
        raise UsageError(found.takes(1))
    model = found.settings.of(**settings)
    _check_folders(content, [one for one in works if _is_folder(one)])
    limit = where.get("max_pixels", Job.max_pixels)
    sets = [_Set.of(one, content if seen is None else seen, wanted, model, limit) for one in works]
    if wanted != EVERYTHING and not any(one.chosen for one in sets):
        raise UsageError("tag, author, text and prefer: choose among the works of a library, and none is given")
    pictures = [picture for one in sets for picture in one.pictures]
    if settings.get("style_weights") is not None and any(one.chosen for one in sets):
        raise UsageError("style_weights: one number for each work; of libraries, prefer tags instead")
    if any(one.weights for one in sets):
        settings = {**settings, "style_weights": tuple(weight for one in sets for weight in one.all_weights)}
    elif settings.get("style_weights") is None:
        pictures = _each_once(pictures)
    inputs = dict(zip(found.roles(1 + len(pictures)), [content, *pictures], strict=True))
    return Job.of(method, inputs, settings, remarks=tuple(one.chosen for one in sets if one.chosen), **where)


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
        others = " and some that stand for all" if settings.character > 0 else ""
        return cls(pictures, weights, _chosen_of(len(pictures), len(selection), selection.library.folder, others))


def _chosen_of(count: int, total: int, folder: Path, others: str) -> str:
    """What became of the works of a library, in words."""
    are = "is" if count == 1 else "are"
    if count == total:
        return f"{counted(count, 'work')} in {folder} {are} read"
    return f"{count} of {counted(total, 'work')} in {folder}, the nearest{others}, {are} read"


def _selected(source: Source | Selection, wanted: Wanted) -> Selection | None:
    """The works of a library that are wanted; None for anything else."""
    if isinstance(source, str | PathLike):
        if not _is_library(Path(source)):
            return None
        from impasto.library.searching import search
        from impasto.library.store import open_library

        return search(open_library(source), tags=wanted.tag, author=wanted.author, text=wanted.text)
    return _narrowed(cast("Selection", source), wanted) if hasattr(source, "places") else None


def _narrowed(selection: Selection, wanted: Wanted) -> Selection:
    """Those of some works that are wanted; raises `UsageError` where none is."""
    import numpy as np

    from impasto.library.searching import Selection, search

    library = selection.library
    found = search(library, tags=wanted.tag, author=wanted.author, text=wanted.text)
    places = selection.places[np.isin(selection.places, found.places)]
    if not len(places):
        raise UsageError(f"{library.folder}: none of the works that were chosen is all that was asked for")
    return Selection(library, places)


def _is_library(path: Path) -> bool:
    return (path / "library.json").is_file()  # spares others the import


def _is_folder(source: Source | Selection) -> TypeGuard[str | PathLike[str]]:
    """Whether it is one of pictures."""
    return isinstance(source, str | PathLike) and Path(source).is_dir() and not _is_library(Path(source))


def _unfolded(source: Source) -> Sequence[Source]:
    """The pictures in a folder; a picture itself."""
    return pictures_in(Path(source)) if _is_folder(source) else [source]


def _check_folders(content: Source, folders: Sequence[str | PathLike[str]]) -> None:
    """Raise `UsageError` for more pictures in folders, all together, than are to be read."""
    count = sum(len(pictures_in(Path(folder))) for folder in folders)
    if count > MOST_IN_FOLDERS:
        library = shell_word(Path(folders[0]).resolve().name + ".library")
        photograph = shell_word(Path(content)) if isinstance(content, str | PathLike) else "PHOTO"
        sources = " ".join(shell_word(Path(folder)) for folder in folders)
        hold = "holds" if len(folders) == 1 else "together hold"
        raise UsageError(
            f"{', '.join(map(str, folders))}: {hold} {count} pictures, and more than {MOST_IN_FOLDERS} need a library: "
            f"type `impasto library add {library} {sources}`, and then `impasto blend {photograph} {library}`"
        )


def _each_once(pictures: Sequence[Source]) -> list[Source]:
    """Pictures without those whose content has come before; a `UserWarning` names those that come several times."""
    found: dict[str | int, list[Source]] = {}
    for one in pictures:
        found.setdefault(_content(one), []).append(one)
    for first, *more in found.values():
        if more:
            name = Path(first).name if isinstance(first, str | PathLike) else "a picture"
            times = "twice" if len(more) == 1 else f"{1 + len(more)} times"
            warnings.warn(f"{name}: is given {times} and counts once", UserWarning, stacklevel=3)
    return [first for first, *_ in found.values()]


def _content(source: Source) -> str | int:
    """What tells pictures apart; a file that cannot be read is one of its own, and to read it says what is wrong."""
    if not isinstance(source, str | PathLike):
        return id(source)
    try:
        with Path(source).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return id(source)

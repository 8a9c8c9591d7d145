"""The methods as Python functions: the command line's names, pictures in any form, a result that can be kept."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto import batches, jobs
from impasto.encoders import load_encoder
from impasto.errors import UsageError
from impasto.jobs import Job, Observer, Running, as_list, inputs_of
from impasto.machine import Precision
from impasto.methods import find_method
from impasto.methods.clusters import check_maps, joint_maps
from impasto.pictures.files import Source, read_picture
from impasto.pictures.picture import Picture
from impasto.records import read_record
from impasto.results import Result
from impasto.sets import Wanted, blend_job

if TYPE_CHECKING:
    from impasto.library.searching import Selection

WHERE = ("device", "precision", "threads", "memory", "max_pixels")
"""Options that say where and within what the work is done."""


def transfer(
    content: Source,
    style: Source | Sequence[Source],
    *,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    memory: str | int | None = None,
    max_pixels: int = 200_000_000,
    observers: Iterable[Observer] = (),
    cancel: threading.Event | None = None,
    **settings: Any,
) -> Result:
    """Repaint `content` in the manner of `style`, or of a list of styles.

    Pictures are paths, PIL images, arrays `(H, W, 3)` (uint8, uint16, or float 0..1) or tensors `(3, H, W)` (0..1).
    `settings` are those of `TransferSettings`, by the command line's names: `size=768, style_strength=1.5`.
    `device` is `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; `memory` (`"4GB"`) is worked within, in tiles if need be.
    Observers are called with a `Step` after each step; setting `cancel`, from another thread, stops the work with
    `Interrupted`. Raises `ImpastoError` in one sentence.
    """
    where = {"device": device, "precision": precision, "threads": threads, "memory": memory, "max_pixels": max_pixels}
    return _run(steps(content, style, **where, **settings), observers, cancel)  # type: ignore[arg-type]


def steps(
    content: Source,
    style: Source | Sequence[Source],
    *,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    memory: str | int | None = None,
    max_pixels: int = 200_000_000,
    **settings: Any,
) -> Running:
    """`transfer`, step by step: iterate over it, look at `step.preview()`, stop when you like, take `.result()`.

    Between steps, `running.synthesis.strengths["style"] = 40.0` changes a strength of the objective.
    """
    inputs = inputs_of(find_method("transfer"), [content, *as_list(style)])
    job = Job.of(
        "transfer",
        inputs,
        settings,
        device=device,
        precision=precision,
        threads=threads,
        memory=memory,
        max_pixels=max_pixels,
    )
    return job.begin()


def blend(
    content: Source,
    works: Source | Selection | Sequence[Source | Selection],
    *,
    tag: str | Sequence[str] = (),
    author: str | None = None,
    text: str | None = None,
    prefer: Mapping[str, float] | None = None,
    observers: Iterable[Observer] = (),
    cancel: threading.Event | None = None,
    **options: Any,
) -> Result:
    """Repaint `content` in the style that `works` share: pictures, folders of them, style libraries or parts of these.

    Of libraries those works take part that carry each `tag`, are by the `author` and have the `text` in what is
    known of them; `prefer` says how many times as much as others those with a tag count. `options` are those of
    `BlendSettings`, and `device`, `precision`, `threads`, `memory`, `max_pixels` as of `transfer`.
    """
    several = as_list(works)
    wanted = Wanted.of(tag=tag, author=author, text=text, prefer=prefer or {})
    return _run(blend_job(content, several, wanted=wanted, **_apart(options)).begin(), observers, cancel)


def semantic(
    content: Source,
    style: Source | Sequence[Source],
    *,
    observers: Iterable[Observer] = (),
    cancel: threading.Event | None = None,
    **options: Any,
) -> Result:
    """Repaint `content` in the manner of `style`, or of a list of styles, each part like the same part there.

    `maps=("content-map.png", "style-map.png")` say what is where, or `maps="auto"`, the default, finds what looks
    alike. `options` are those of `SemanticSettings`, and `device`, `precision`, `threads`, `memory`, `max_pixels` as
    of `transfer`.
    """
    return _guided("semantic", content, style, observers, cancel, options)


def doodle(
    layout: Source,
    style: Source | Sequence[Source],
    style_map: Source | Sequence[Source],
    *,
    observers: Iterable[Observer] = (),
    cancel: threading.Event | None = None,
    **options: Any,
) -> Result:
    """Make a painting of a `layout` in a few colours, which `style_map` has for `style`, or a list of each.

    `options` are those of `DoodleSettings`, and `device`, `precision`, `threads`, `memory`, `max_pixels` as of
    `transfer`.
    """
    return _guided("doodle", layout, style, observers, cancel, {**options, "style_map": as_list(style_map)})


def _guided(
    method: str,
    content: Source,
    style: Source | Sequence[Source],
    observers: Iterable[Observer],
    cancel: threading.Event | None,
    options: Mapping[str, Any],
) -> Result:
    inputs = inputs_of(find_method(method), [content, *as_list(style)])
    return _run(Job.of(method, inputs, **_apart(options)).begin(), observers, cancel)


def maps(
    pictures: Source | Sequence[Source], parts: int | None = None, *, encoder: str = "lite", seed: int = 0
) -> list[Picture]:
    """Maps of pictures, or of one: what looks alike in all of them has one colour; `parts` is how many, 2 … 8.

    Without it there are as many as stand out. They are what `semantic` makes of `maps="auto"`.
    """
    several = as_list(pictures)
    check_maps(len(several), parts, seed)
    return joint_maps(load_encoder(encoder), [read_picture(one) for one in several], parts, seed)


def texture(
    texture: Source | Sequence[Source],
    *,
    observers: Iterable[Observer] = (),
    cancel: threading.Event | None = None,
    **options: Any,
) -> Result:
    """More of a texture, or of a list of them: `width=1024, height=1024, tile="both"`.

    `options` are those of `TextureSettings`, and `device`, `precision`, `threads`, `memory`, `max_pixels` as of
    `transfer`.
    """
    inputs = inputs_of(find_method("texture"), as_list(texture))
    return _run(Job.of("texture", inputs, **_apart(options)).begin(), observers, cancel)


def grid(
    contents: Sequence[Source],
    styles: Sequence[Source],
    *,
    observers: Iterable[Observer] = (),
    cancel: threading.Event | None = None,
    **options: Any,
) -> list[Result]:
    """Every content in every style: the first content in all styles, then the second …; `options` as of `transfer`.

    Everything is read and checked before the first one is painted.
    """
    parts = batches.grid(contents, styles, **_apart(options))
    batches.prepare(parts)
    return [_run(part.job.begin(), observers, cancel) for part in parts]


def strip(
    content: Source,
    first: Source,
    second: Source,
    count: int = 5,
    *,
    observers: Iterable[Observer] = (),
    cancel: threading.Event | None = None,
    **options: Any,
) -> list[Result]:
    """`count` pictures on the way from the first style to the second; `options` as of `transfer`."""
    parts = batches.strip(content, [first, second], count, **_apart(options))
    return [_run(part.job.begin(), observers, cancel) for part in parts]


def _apart(options: Mapping[str, Any]) -> dict[str, Any]:
    """Where the work runs, and everything else as `settings`."""
    where = {name: options[name] for name in WHERE if name in options}
    return {**where, "settings": {name: value for name, value in options.items() if name not in WHERE}}


def rerun(
    path: str | PathLike[str],
    changes: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    memory: str | int | None = None,
    max_pixels: int = 200_000_000,
    observers: Iterable[Observer] = (),
    cancel: threading.Event | None = None,
) -> Result:
    """Make a result again from the record inside it (or from its .json), with `changes` to settings or inputs.

    Warns, with a `UserWarning`, about an input that has changed since.
    """
    path = Path(path)
    record = read_record(path)
    if record.method == "film":
        raise UsageError(f"{path}: is a film: call impasto.film with the settings of its record, or type impasto rerun")
    job = Job.from_record(
        record,
        path.parent,
        changes,
        device=device,
        precision=precision,
        threads=threads,
        memory=memory,
        max_pixels=max_pixels,
    )
    return _run(job.begin(), observers, cancel)


def resume(
    checkpoint: str | PathLike[str],
    *,
    observers: Iterable[Observer] = (),
    cancel: threading.Event | None = None,
) -> Result:
    """Go on from a checkpoint that the command line left behind."""
    running, _ = jobs.resume(Path(checkpoint))
    return _run(running, observers, cancel)


def _run(running: Running, observers: Iterable[Observer], cancel: threading.Event | None) -> Result:
    if cancel is not None:
        running.cancel = cancel
    return running.run(observers)

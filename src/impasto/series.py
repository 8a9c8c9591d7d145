"""Jobs that belong together, done one after the other in front of somebody, and a contact sheet of their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from impasto.batches import Part, prepare
from impasto.console import Console
from impasto.errors import ImpastoError, Interrupted, UsageError
from impasto.jobs import Running
from impasto.memory import release_memory
from impasto.output import EXTRAS, Output
from impasto.pictures.arrays import to_pil
from impasto.pictures.files import read_picture, write_picture
from impasto.pictures.picture import Picture
from impasto.records import read_record
from impasto.session import perform
from impasto.sheets import contact_sheet

LARGEST_CELL = 400
"""Width of a picture on a contact sheet, in pixels."""


def perform_all(parts: Sequence[Part], sheet: Output, columns: int, console: Console) -> None:
    """Perform jobs that belong together: their results beside a contact sheet of them all, named after it.

    Raises what `perform` does; results that are finished by then stay. Given again, the same parts go on from there:
    what is finished is not painted again, and what was stopped goes on, unless the output is forced.
    """
    for name in EXTRAS:
        if getattr(sheet, name) is not None:
            raise UsageError(f"{name}: is of one picture, and these are {len(parts)}: leave it out")
    outputs = [replace(sheet, path=sheet.path.with_name(f"{part.name}.png")) for part in parts]
    if any(output.path == sheet.path for output in outputs):
        raise UsageError(f"{sheet.path}: is the name of one of the pictures: give the sheet another one with -o")
    place = replace(sheet, bits=None).settled(path for part in parts for path in part.job.paths.values())
    prepare(parts, console.download)
    done = []
    for part, output in zip(parts, outputs, strict=True):
        done.append((part.caption, _cell(_part(part, output, console))))
        release_memory()
    width = max(picture.width for _, picture in done)
    pictures = read_picture(contact_sheet(done, columns=columns, width=width), name=str(place.path))
    write_picture(pictures, place.path, quality=place.quality)
    console.result(str(place.path), {"width": pictures.width, "height": pictures.height})


def _part(part: Part, output: Output, console: Console) -> Image.Image:
    """The result of a part: painted now, gone on with, or there already."""
    running = part.job.begin(console.download)
    for earlier in [] if output.force else output.earlier():
        finished = _finished(running, earlier, part.job.max_pixels)
        if finished is not None:
            console.result(str(earlier.path), {"width": finished.width, "height": finished.height})
            return to_pil(finished)
        if running.take_up(earlier.checkpoint_path):
            output = replace(earlier, checkpoint=earlier.checkpoint_path)
            break
    output = output.settled(part.job.paths.values())
    try:
        return perform(running, output, console).picture
    except Interrupted as error:
        if output.force or not output.checkpoint_path.exists():
            raise
        raise Interrupted(f"{error}; the same command goes on with all that is left") from None


def _finished(running: Running, output: Output, max_pixels: int) -> Picture | None:
    """The result of this very work, if it is there already."""
    try:
        if not output.path.is_file() or not running.record().same_work(read_record(output.path)):
            return None
        picture = read_picture(output.path, max_pixels=max_pixels)
    except ImpastoError:  # something else of that name
        return None
    return picture if output.bits in (None, picture.bits) else None


def _cell(picture: Image.Image) -> Image.Image:
    """A picture as small as the sheet needs it."""
    width = min(LARGEST_CELL, picture.width)
    return picture.convert("RGB").resize((width, max(1, round(picture.height * width / picture.width))))

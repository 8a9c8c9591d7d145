"""`impasto maps`: maps of pictures that nobody has painted, to be looked at and mended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from impasto.console import Console
from impasto.errors import UsageError
from impasto.options import MAX_PIXELS, TalkOptions

if TYPE_CHECKING:
    from PIL import Image

    from impasto.pictures.picture import Picture

WIDTH, OVER = 240, 0.5
"""Of each picture of the sheet, in pixels; how much of a map there is over its picture."""


def maps_command(console: Console) -> Callable[..., None]:
    """The command."""

    def maps(
        *pictures: Annotated[Path, Parameter(help="A photograph and paintings, say.", show_default=False)],
        parts: Annotated[int | None, Parameter(help="How many (2 … 8). [default: as many as stand out]")] = None,
        output: Annotated[
            Path | None, Parameter(name=["--output", "-o"], help="A folder. [default: beside the pictures]")
        ] = None,
        encoder: Annotated[str, Parameter(help="`lite`, `vgg19`, `vgg19-caffe` or a .safetensors file.")] = "lite",
        seed: Annotated[int, Parameter(help="Another one finds other parts (0 …).")] = 0,
        force: Annotated[bool, Parameter(negative=(), show_default=False, help="Overwrite maps that exist.")] = False,
        max_pixels: Annotated[int, Parameter(help="Largest picture accepted, in pixels.")] = MAX_PIXELS,
        talk: Annotated[TalkOptions | None, Parameter(name="*")] = None,
    ) -> None:
        """Write maps of what looks alike in all of some pictures, to be mended by hand: photo.map.png …"""
        for path in write_maps(pictures, parts, encoder, output, seed, max_pixels, force):
            console.result(str(path), {})

    return maps


def write_maps(
    paths: Sequence[Path], parts: int | None, encoder: str, folder: Path | None, seed: int, max_pixels: int, force: bool
) -> list[Path]:
    """Write a map beside each of the pictures, or into a folder, and a sheet of them all; returns where they are.

    Raises `UsageError` as `check_maps` does, `PictureError` for what cannot be read or written.
    """
    from impasto.encoders import load_encoder
    from impasto.methods.clusters import check_maps, joint_maps
    from impasto.pictures.files import read_picture, write_picture

    check_maps(len(paths), parts, seed)
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder}: is no folder, and maps go into one: create it, or leave --output out")
    pictures = [read_picture(path, max_pixels=max_pixels) for path in paths]
    places = [(folder or path.parent) / f"{path.stem}.map.png" for path in paths]
    sheet = (folder or paths[0].parent) / f"{paths[0].stem}.maps.jpg"
    _check([*places, sheet], paths, force)
    maps = joint_maps(load_encoder(encoder), pictures, parts, seed)
    for place, one in zip(places, maps, strict=True):
        write_picture(one, place)
    write_picture(read_picture(_sheet(pictures, maps)), sheet)
    return [*places, sheet]


def _check(files: Sequence[Path], inputs: Sequence[Path], force: bool) -> None:
    from impasto.output import refuse_inputs
    from impasto.pictures.files import check_writable

    if len({path.absolute() for path in files}) < len(files):
        raise UsageError("maps: two pictures have the same name: give each another one")
    refuse_inputs(files, inputs)
    for path in files:
        check_writable(path)
        if path.exists() and not force:
            raise UsageError(f"{path}: is there already, and may have been mended by hand: use --force to make it anew")


def _sheet(pictures: Sequence[Picture], maps: Sequence[Picture]) -> Image.Image:
    """Each picture, its map, and the map over the picture."""
    from impasto.pictures.files import to_pil
    from impasto.pictures.picture import Picture
    from impasto.pictures.resize import resize
    from impasto.sheets import contact_sheet

    cells = []
    for picture, one in zip(pictures, maps, strict=True):
        pixels = resize(picture.pixels, one.height, one.width)
        both = Picture(pixels.lerp(one.pixels, OVER))
        cells += [(picture.name, to_pil(Picture(pixels))), ("map", to_pil(Picture(one.pixels))), ("both", to_pil(both))]
    return contact_sheet(cells, columns=3, width=WIDTH)

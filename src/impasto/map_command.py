"""`impasto maps`: maps of pictures that nobody has painted, to be looked at and mended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from impasto.encoders import load_encoder
from impasto.errors import UsageError
from impasto.methods.clusters import MOST, joint_maps
from impasto.output import refuse_inputs
from impasto.pictures.files import check_writable, read_picture, to_pil, write_picture
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize
from impasto.sheets import contact_sheet

FEWEST = 2
"""Parts of a map."""
WIDTH, OVER = 240, 0.5
"""Of each picture of the sheet, in pixels; how much of a map there is over its picture."""


def write_maps(
    paths: Sequence[Path], parts: int | None, encoder: str, folder: Path | None, seed: int, max_pixels: int, force: bool
) -> list[Path]:
    """Write a map beside each of the pictures, or into a folder, and a sheet of them all; returns where they are.

    Raises `UsageError` for too few pictures and too many parts, `PictureError` for what cannot be read or written.
    """
    if not paths:
        raise UsageError("maps takes one or more pictures, none was given")
    if parts is not None and not FEWEST <= parts <= MOST:
        raise UsageError(f"parts {parts}: must be a whole number of {FEWEST} to {MOST}")
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
    if len({path.absolute() for path in files}) < len(files):
        raise UsageError("maps: two pictures have the same name: give each another one")
    refuse_inputs(files, inputs)
    for path in files:
        check_writable(path)
        if path.exists() and not force:
            raise UsageError(f"{path}: is there already, and may have been mended by hand: use --force to make it anew")


def _sheet(pictures: Sequence[Picture], maps: Sequence[Picture]) -> Image.Image:
    """Each picture, its map, and the map over the picture."""
    cells = []
    for picture, one in zip(pictures, maps, strict=True):
        pixels = resize(picture.pixels, one.height, one.width)
        both = Picture(torch.lerp(pixels, one.pixels, OVER))
        cells += [(picture.name, to_pil(Picture(pixels))), ("map", to_pil(Picture(one.pixels))), ("both", to_pil(both))]
    return contact_sheet(cells, columns=3, width=WIDTH)

"""Where the patches of a result come from, as numbers and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.errors import PictureError
from impasto.pictures.atomic import atomic_write, write_failure
from impasto.pictures.files import check_writable, write_picture
from impasto.pictures.picture import Picture
from impasto.pictures.resize import fit, resize

CORNERS = torch.tensor([[[0.9, 0.2, 0.2], [0.95, 0.85, 0.2]], [[0.3, 0.2, 0.8], [0.1, 0.75, 0.65]]])
"""Colours of a style's corners, (row, column, channel); between them they blend."""
TINT = 0.6
"""How much of that colour there is in a style that is shown."""
DARKEST = 0.6
"""How much darker the last of several styles is."""
NUMBERS = ".npy"
"""Suffix of a field that is written as it is."""
SIDE = 512
"""Longest side of what is shown, in pixels."""


@dataclass(frozen=True, eq=False)
class Origins:
    """For each patch of a layer where it comes from, `places` `(H, W, 3)`: the number of a style, row and column, 0..1.

    `facts` by layer: `usage`, how evenly the styles' patches are used (0 … 1), and `purity`, the share that comes from
    a part like its own, where parts are known. `styles` are those that numbers mean.
    """

    layer: str
    places: Tensor
    facts: Mapping[str, Any]
    styles: Sequence[Picture]

    def in_words(self) -> str:
        """`patches of relu3_1: used evenly to 0.83, 97% from parts of their own`."""
        own = self.facts[self.layer]
        pure = f", {own['purity']:.0%} from a part like their own" if own.get("purity") is not None else ""
        return f"patches of {self.layer}: usage {own['usage']:.2f} (1 is even){pure}"

    def save(self, path: str | PathLike[str]) -> None:
        """Write the numbers as .npy, or else `picture`.

        Raises `PictureError` where it cannot be written, `UsageError` for an impossible suffix.
        """
        path = Path(path)
        check_field(path)
        if path.suffix.lower() != NUMBERS:
            write_picture(self.picture(), path)
            return
        try:
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.save(file, self.places.cpu().numpy(), allow_pickle=False)
        except OSError as error:
            raise PictureError(write_failure(path, error)) from error

    def picture(self) -> Picture:
        """The field in colours that say where in a style patches are from, and beside it the styles in these colours.

        Of several styles the later ones are darker.
        """
        number, row, column = self.places.cpu().float().unbind(-1)
        last = max(1, len(self.styles) - 1)
        field = _colours(row, column) * (1 - DARKEST * number.round() / last)
        height, width = fit(field.shape[-2], field.shape[-1], SIDE)
        panels = [F.interpolate(field, (height, width), mode="nearest")]
        for place, style in enumerate(self.styles):
            size = height, max(1, round(style.width * height / style.height))
            rows, columns = (torch.linspace(0, 1, side) for side in size)
            tint = _colours(rows[:, None].expand(*size), columns.expand(*size)) * (1 - DARKEST * place / last)
            panels.append(resize(style.pixels, *size).lerp(tint, TINT))
        return Picture(torch.cat(panels, 3).clamp(0, 1))


def check_field(path: Path) -> None:
    """Raise `UsageError` for a suffix that a field cannot have, `PictureError` where it cannot be written."""
    check_writable(path, besides=(NUMBERS,))


def _colours(row: Tensor, column: Tensor) -> Tensor:
    """The colours `(1, 3, H, W)` of rows and columns `(H, W)` in 0..1."""
    row, column = row[..., None], column[..., None]
    upper = CORNERS[0, 0].lerp(CORNERS[0, 1], column)
    lower = CORNERS[1, 0].lerp(CORNERS[1, 1], column)
    return upper.lerp(lower, row).permute(2, 0, 1)[None]

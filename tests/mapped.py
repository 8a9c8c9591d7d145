"""Pictures and maps for tests of methods that know what is where."""

from __future__ import annotations

from typing import Any

import torch

from impasto.machine import Machine
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize

CPU = Machine(torch.device("cpu"), bfloat16=False)
FEW = {"size": 64, "coarsest": 64, "steps": 4, "tolerance": 0.0}


def painted(seed: int, height: int = 64, width: int = 64, **fields: Any) -> Picture:
    coarse = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return Picture(resize(coarse, height, width), **fields)


def halves(turned: bool = False, height: int = 64, width: int = 64, name: str = "map.png") -> Picture:
    """A map: red on the left and blue on the right, or the other way round."""
    pixels = torch.zeros(1, 3, height, width)
    pixels[:, 0, :, : width // 2], pixels[:, 2, :, width // 2 :] = 1, 1
    return Picture(pixels.flip(-1) if turned else pixels, name=name)

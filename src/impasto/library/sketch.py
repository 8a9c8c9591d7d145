"""Signatures made short: count sketches, whose inner products are nearly those of the signatures.

Charikar, Chen & Farach-Colton, "Finding frequent items in data streams" (2002): every number of a long vector is added
to one of a few, or subtracted, as a hash of its place says. The sketch of a mixture is the mixture of the sketches, so
that a mixture near to a photograph is looked for among sketches alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from impasto.encoders.vgg import VGG
from impasto.errors import PictureError
from impasto.library.signature import Signature, packed_length, signature
from impasto.pictures.picture import Picture

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
"""Of a library's sketches, as far as its encoder has them."""
NUMBERS = 2048
"""In a sketch: of mixtures of 400 works, those found by sketches this long are 0.6 % further from the photograph
than the nearest one, by half as many 1.9 % (docs/decisions/0012-library.md)."""

SLENDEREST = 100
"""How many times as long as wide a picture may be: deep layers see 208 pixels across, of all of its length."""


def plan(encoder: VGG, numbers: int = NUMBERS) -> dict[str, int]:
    """How many numbers each layer has in a sketch: even shares, but no more than there are in a signature."""
    whole = {layer: packed_length(encoder.channels(layer)) for layer in LAYERS if layer in encoder.layers}
    left, found = numbers, {}
    for place, layer in enumerate(sorted(whole, key=whole.__getitem__)):
        found[layer] = min(whole[layer], left // (len(whole) - place))
        left -= found[layer]
    return {layer: found[layer] for layer in whole}


def sketch_of(encoder: VGG, picture: Picture, lengths: Mapping[str, int]) -> dict[str, Tensor]:
    """The sketch of a picture; raises `PictureError` for one that is too narrow, or of which too little is visible."""
    if max(picture.height, picture.width) > SLENDEREST * min(picture.height, picture.width):
        raise PictureError(f"{picture.name}: {picture.width}×{picture.height} is too narrow to be looked at: crop it")
    found = sketch(signature(encoder, picture, [*lengths]), lengths)
    whole = torch.cat([*found.values()])
    if not whole.isfinite().all() or not whole.any():
        raise PictureError(f"{picture.name}: too little of it is visible: crop it, or remove its transparency")
    return found


def sketch(whole: Signature, lengths: Mapping[str, int]) -> dict[str, Tensor]:
    """The sketch of a signature, by layer, of so many numbers each, float32; a layer as long as that stays exact."""
    found = {}
    for layer, length in lengths.items():
        values = whole[layer]
        if length == len(values):
            found[layer] = values
            continue
        places, signs = _hashes(layer, len(values), length)
        found[layer] = torch.zeros(length).index_add_(0, places, values * signs)
    return found


@lru_cache(maxsize=32)
def _hashes(layer: str, count: int, length: int) -> tuple[Tensor, Tensor]:
    """Where each of `count` numbers goes, and with which sign: splitmix64 of its place, the same for ever."""
    seed = int.from_bytes(sha256(layer.encode()).digest()[:8], "little")
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    places = (mixed >> np.uint64(1)) % np.uint64(length)
    signs = 1.0 - 2.0 * (mixed & np.uint64(1)).astype(np.float32)
    return torch.from_numpy(places.astype(np.int64)), torch.from_numpy(signs.astype(np.float32))

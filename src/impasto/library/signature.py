"""What a picture is known by: the Gram matrices of its features, all pictures seen at one size.

Ikuta, Ogaki & Odagiri, "Blending Texture Features from Multiple Reference Images for Style Transfer" (SIGGRAPH Asia
2016). Only positions count that see nothing beyond the border: with padding, the Gram matrix of a picture that is
joined from others would not be the mean of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from impasto.encoders.vgg import VGG, LayerGeometry
from impasto.library.simplex import Matrix, Vector
from impasto.losses import Weights, moments_of_parts
from impasto.pictures.picture import Picture
from impasto.pictures.regions import at_layers
from impasto.pictures.resize import equal_area, resize, resize_mask

SIDE = 256
"""Of the square, in pixels, as large as which every picture is seen."""

Signature = Mapping[str, Tensor]
"""By layer, a Gram matrix as a vector `(C (C + 1) / 2,)`, float32: inner products are those of the matrices."""


def signature(encoder: VGG, picture: Picture, layers: Sequence[str]) -> Signature:
    """The signature of a picture; what is transparent does not count."""
    return signatures(encoder, picture, layers, [None])[0]


@torch.no_grad()
def signatures(
    encoder: VGG, picture: Picture, layers: Sequence[str], masks: Sequence[Tensor | None]
) -> list[Signature]:
    """The signatures of a picture's parts: of those that masks `(1, 1, H, W)`, of any size, show, or of all of it."""
    borders = {layer: _border(encoder.geometry[layer]) for layer in layers}
    smallest = max((2 * border + 1) * encoder.geometry[layer].stride for layer, border in borders.items())
    height, width = equal_area(picture.height, picture.width, SIDE**2)
    larger = max(1.0, smallest / min(height, width))
    height, width = round(height * larger), round(width * larger)
    pixels = resize(picture.pixels, height, width).to(encoder.device)
    features = encoder(pixels.contiguous(memory_format=torch.channels_last), layers)
    inner = {layer: _inner(features[layer], borders[layer]) for layer in layers}
    visible = None
    if picture.alpha is not None:
        visible = at_layers(resize_mask(picture.alpha, height, width), encoder, layers, "inside")
    choices: list[Weights | None] = []
    for mask in masks:
        shown = visible
        if mask is not None:
            shown = at_layers(resize_mask(mask.float(), height, width), encoder, layers, "simple")
            shown = {layer: own if visible is None else own * visible[layer] for layer, own in shown.items()}
        choices.append(
            None
            if shown is None
            else {layer: _inner(shown[layer], borders[layer]).to(encoder.device) for layer in layers}
        )
    parts = moments_of_parts([(inner, choices)])
    return [{layer: packed(found.second[0]) for layer, found in part.items()} for part in parts]


def _border(place: LayerGeometry) -> int:
    """Positions along a border that see beyond it."""
    return math.ceil((place.receptive_field - place.stride) / (2 * place.stride))


def _inner(values: Tensor, border: int) -> Tensor:
    return values[..., border : values.shape[-2] - border, border : values.shape[-1] - border]


def packed(gram: Tensor) -> Tensor:
    """A symmetric matrix `(C, C)` as a vector of what is different in it, with the same inner products."""
    rows, columns = torch.triu_indices(*gram.shape, device=gram.device)
    factor = torch.where(rows == columns, 1.0, 2**0.5)
    return (gram[rows, columns] * factor).float().cpu()


def packed_length(channels: int) -> int:
    """Numbers in a packed matrix."""
    return channels * (channels + 1) // 2


@dataclass(frozen=True, eq=False)
class Products:
    """Inner products of the signatures of K works, with each other and with a content's, in one layer or in several.

    `works` `(K, K)`, `with_content` `(K,)`, `content` the content's with itself.
    """

    works: Matrix
    with_content: Vector
    content: float

    def __add__(self, other: Products) -> Products:
        return Products(self.works + other.works, self.with_content + other.with_content, self.content + other.content)


def products(works: Sequence[Signature], content: Signature) -> dict[str, Products]:
    """By layer, each in units of the works' mean square, so that layers count alike."""
    found = {}
    for layer, own in content.items():
        rows, target = torch.stack([work[layer] for work in works]).double(), own.double()
        among = (rows @ rows.T).numpy()
        unit = max(float(np.trace(among)) / len(works), np.finfo(float).tiny)
        found[layer] = Products(among / unit, (rows @ target).numpy() / unit, float(target @ target) / unit)
    return found

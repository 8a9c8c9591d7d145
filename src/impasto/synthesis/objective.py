"""An objective: losses with strengths, over the features of one encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.encoders.vgg import VGG
from impasto.errors import UsageError, near_match
from impasto.losses import Loss


@dataclass(frozen=True)
class Term:
    """A loss with the name it is reported under and its strength in the sum."""

    name: str
    loss: Loss
    strength: float


class Objective:
    """The sum of strength × loss; call it with a picture `(B, 3, H, W)`.

    Returns the total and the losses by name (without their strengths), all float32 scalars; `strengths` replaces
    those of the terms it names, and `UsageError` says if there is no such term (those of strength 0 are left out).
    The encoder runs once for all the layers that the losses read, in bfloat16 if so asked.
    """

    def __init__(self, encoder: VGG, terms: Iterable[Term], *, bfloat16: bool = False) -> None:
        self.encoder = encoder
        self.terms = tuple(term for term in terms if term.strength > 0)
        self.layers = sorted({layer for term in self.terms for layer in term.loss.layers})
        self.bfloat16 = bfloat16

    def __call__(
        self, picture: Tensor, strengths: Mapping[str, float] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        features = encode(self.encoder, picture, self.layers, bfloat16=self.bfloat16)
        losses = {term.name: term.loss(features, picture) for term in self.terms}
        replaced = strengths or {}
        for name in replaced.keys() - losses.keys():
            raise UsageError(
                f"strength of {name}: no such loss{near_match(name, losses)}; there are {', '.join(losses)}"
            )
        weighted = [replaced.get(term.name, term.strength) * losses[term.name] for term in self.terms]
        return sum(weighted, start=picture.new_zeros(())), losses


def encode(encoder: VGG, picture: Tensor, layers: Iterable[str], *, bfloat16: bool = False) -> dict[str, Tensor]:
    """Features of a picture; on CPU and CUDA the convolutions may run in bfloat16."""
    with torch.autocast(picture.device.type, dtype=torch.bfloat16, enabled=bfloat16):
        features: dict[str, Tensor] = encoder(picture.contiguous(memory_format=torch.channels_last), layers)
    return features

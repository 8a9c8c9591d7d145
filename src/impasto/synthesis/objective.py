"""An objective: losses with strengths, over the features of one encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from impasto.encoders.frugal import crop
from impasto.encoders.tiling import Tile, halo_of, tiles
from impasto.encoders.vgg import VGG, LayerGeometry
from impasto.errors import UsageError, near_match
from impasto.losses import Loss, SumLoss
from impasto.memory import sparing

Encode = Callable[[Tensor, Iterable[str]], dict[str, Tensor]]
"""From a picture `(B, 3, H, W)` and names of layers to their features."""


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

    With `tile` (pixels), `add_gradient` looks at pictures in tiles with cores of that side, and its memory is bounded
    by one of them; the result is the same. That takes losses that are sums over positions (`SumLoss`).
    """

    def __init__(self, encoder: VGG, terms: Iterable[Term], *, bfloat16: bool = False, tile: int | None = None) -> None:
        self.encoder = encoder
        self.terms = tuple(term for term in terms if term.strength > 0)
        self.layers = sorted({layer for term in self.terms for layer in term.loss.layers})
        self.bfloat16 = bfloat16
        self.tile = tile

    def with_term(self, term: Term) -> Objective:
        """The same with one more term."""
        return Objective(self.encoder, [*self.terms, term], bfloat16=self.bfloat16, tile=self.tile)

    def __call__(
        self, picture: Tensor, strengths: Mapping[str, float] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        features = encode(self.encoder, picture, self.layers, bfloat16=self.bfloat16)
        return self._total({term.name: term.loss(features, picture) for term in self.terms}, strengths)

    def add_gradient(
        self, picture: Tensor, strengths: Mapping[str, float] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total and losses, and the gradient of the total added to `picture.grad`."""
        height, width = picture.shape[-2:]
        parts = tiles(self.encoder, self.layers, height, width, self.tile) if self.tile else []
        if len(parts) > 1:
            return self._add_gradient_of_tiles(picture, parts, strengths)
        total, losses = self(picture, strengths)
        total.backward()  # type: ignore[no-untyped-call]
        return total, losses

    def _add_gradient_of_tiles(
        self, picture: Tensor, parts: Sequence[Tile], strengths: Mapping[str, float] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """First the sums over all tiles; then, with the gradients of the total by them, each tile's own part."""
        with torch.no_grad():
            sums: list[Tensor] = []
            for tile in sparing(parts):
                own = [one.double() for one in self._sums(tile.of(picture), tile)]
                sums = [a + b for a, b in zip(sums, own, strict=True)] if sums else own
        leaves = [one.to(picture.dtype).requires_grad_() for one in sums]
        total, losses = self._total(self._losses_of(leaves), strengths)
        slopes = torch.autograd.grad(total, leaves)
        gradient = torch.zeros_like(picture) if picture.grad is None else picture.grad
        for tile in sparing(parts):
            part = tile.of(picture.detach()).contiguous(memory_format=torch.channels_last).requires_grad_()
            pairs = zip(self._sums(part, tile), slopes, strict=True)
            outputs, upstream = zip(*((one, slope) for one, slope in pairs if one.requires_grad), strict=True)
            tile.add(torch.autograd.grad(outputs, part, upstream)[0], gradient)
            del pairs, outputs, upstream
        picture.grad = gradient
        return total.detach(), {name: loss.detach() for name, loss in losses.items()}

    def _sums(self, picture: Tensor, tile: Tile) -> list[Tensor]:
        """All terms' sums over the core of a tile, one after the other; `picture` is the tile with its halo."""
        core = encode_core(self.encoder, picture, self.layers, tile, bfloat16=self.bfloat16)
        return [one for loss in self._sum_losses() for one in loss.sums(core, picture, tile)]

    def _losses_of(self, sums: Sequence[Tensor]) -> dict[str, Tensor]:
        """The losses that are made of what `_sums` of all tiles add up to."""
        found, rest = {}, iter(sums)
        for term, loss in zip(self.terms, self._sum_losses(), strict=True):
            found[term.name] = loss.of_sums(tuple(islice(rest, loss.count)))
        return found

    def _sum_losses(self) -> list[SumLoss]:
        losses = [term.loss for term in self.terms if isinstance(term.loss, SumLoss)]
        if len(losses) < len(self.terms):
            name = next(term.name for term in self.terms if not isinstance(term.loss, SumLoss))
            raise UsageError(
                f"{name}: this loss is no sum over positions, so that the picture cannot be worked on in tiles: "
                "use a smaller size or more memory"
            )
        return losses

    def _total(
        self, losses: dict[str, Tensor], strengths: Mapping[str, float] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        replaced = strengths or {}
        for name in replaced.keys() - losses.keys():
            raise UsageError(
                f"strength of {name}: no such loss{near_match(name, losses)}; there are {', '.join(losses)}"
            )
        weighted = [replaced.get(term.name, term.strength) * losses[term.name] for term in self.terms]
        return sum(weighted[1:], start=weighted[0]), losses


def encode(encoder: Encode, picture: Tensor, layers: Iterable[str], *, bfloat16: bool = False) -> dict[str, Tensor]:
    """Features of a picture; on CPU and CUDA the convolutions may run in bfloat16."""
    with torch.autocast(picture.device.type, dtype=torch.bfloat16, enabled=bfloat16):
        return encoder(picture.contiguous(memory_format=torch.channels_last), layers)


def encode_core(
    encoder: VGG, picture: Tensor, layers: Iterable[str], tile: Tile, *, bfloat16: bool = False
) -> dict[str, Tensor]:
    """Features of the core of a tile, of which `picture` is all; no trunk looks at more of the halo than it needs."""
    layers = tuple(layers)
    shared = encoder.shares(layers)
    if shared is not None:
        return _encode_branches(encoder, picture, layers, tile, encoder.geometry[shared], bfloat16)
    core: dict[str, Tensor] = {}
    for own in encoder.by_trunk(layers):
        enough = tile.narrowed(halo_of(encoder, own))
        features = encode(encoder, crop(picture, *enough.within(tile)), own, bfloat16=bfloat16)
        core |= {layer: crop(values, *enough.core_of(layer)) for layer, values in features.items()}
    return core


def _encode_branches(
    encoder: VGG, picture: Tensor, layers: Sequence[str], tile: Tile, shared: LayerGeometry, bfloat16: bool
) -> dict[str, Tensor]:
    """The same where trunks share their beginning: with the larger halo, of which the first goes on with less."""
    narrow = {name for name in layers if name in encoder.own_geometry and encoder.geometry[name].stride > shared.stride}
    less, enough = (tile.narrowed(halo_of(encoder, some)) for some in (narrow, layers))
    stride = 2 * shared.stride
    rows, columns = (slice(span.start // stride, span.stop // stride) for span in less.within(enough))
    part = crop(picture, *enough.within(tile))
    narrowing = partial(encoder, narrowed=lambda x: crop(x, rows, columns))
    features = encode(narrowing, part, layers, bfloat16=bfloat16)
    return {
        name: crop(values, *(less if name in narrow else enough).core_of(name)) for name, values in features.items()
    }

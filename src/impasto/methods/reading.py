"""What methods read of pictures through an encoder: features and their moments, in tiles where memory asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from impasto.encoders.tiling import Tile, tiles, times_the_work
from impasto.encoders.vgg import VGG
from impasto.errors import OutOfMemoryError
from impasto.losses import Features, Moments, Weights, moments_of_parts
from impasto.machine import Budget, Machine, core_side
from impasto.memory import sparing
from impasto.pictures.picture import Picture
from impasto.pictures.regions import Guidance, at_layers
from impasto.synthesis.objective import encode_core
from impasto.synthesis.schedule import Scale

BYTES_OF_READ = 24
"""Per pixel of what is only read: the resized picture, and as much again while it is resized."""


@dataclass(frozen=True)
class Reader:
    """An encoder on a machine, within a budget of memory, of which `reserved` bytes are the result's."""

    encoder: VGG
    machine: Machine
    budget: Budget
    reserved: float = 0.0

    def core_side(self, layers: Iterable[str], height: int, width: int) -> int | None:
        """Side of the cores of the tiles in which a picture is to be looked at; None for one piece."""
        return core_side(self.encoder, layers, height, width, self.budget)

    def require_room(self, picture: Picture, layers: Iterable[str], height: int, width: int, option: str) -> None:
        """Raise `OutOfMemoryError` if a picture cannot be looked at in this size, which an option changes."""
        try:
            self._core_of_read(layers, height, width)
        except OutOfMemoryError:
            raise OutOfMemoryError(
                f"{picture.name}: there is too little memory to look at it in {width}×{height} beside the result: "
                f"show it smaller ({option}) or {self.budget.remedy}"
            ) from None

    def require_one_piece(self, layers: Iterable[str], height: int, width: int, reason: str) -> None:
        """Raise `OutOfMemoryError` if a result of this size would have to be painted in tiles."""
        if self.core_side(layers, height, width) is not None:
            raise OutOfMemoryError(
                f"{width}×{height} does not fit into memory in one piece, and {reason}: use a smaller --size or "
                f"{self.budget.remedy}"
            )

    def _core_of_read(self, layers: Iterable[str], height: int, width: int) -> int | None:
        """Side of the cores of the tiles in which a picture is read, which holds less than one that is painted."""
        left = max(0, round(self.budget.amount - self.reserved))
        return core_side(self.encoder, layers, height, width, replace(self.budget, amount=left, held=BYTES_OF_READ))

    def with_effort(self, schedule: Iterable[Scale], layers: Iterable[str]) -> tuple[Scale, ...]:
        """The scales, knowing what tiles will cost where there are any."""
        layers = tuple(layers)
        found = []
        for scale in reversed([*schedule]):  # where there is too little memory, it is the last one that says so
            core = self.core_side(layers, scale.height, scale.width)
            parts = [] if core is None else tiles(self.encoder, layers, scale.height, scale.width, core)
            found.append(replace(scale, effort=times_the_work(self.encoder, layers, parts) if parts else 1.0))
        return tuple(reversed(found))

    def features(self, pixels: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of pixels `(1, 3, H, W)`, by layer."""
        whole: dict[str, Tensor] = {}
        for tile, values in self._parts(pixels, layers):
            for layer, core in values.items():
                size = self.encoder.sizes(tile.height, tile.width)[layer]
                if core.shape[-2:] == size:
                    whole[layer] = core
                    continue
                features = whole.setdefault(layer, core.new_empty(*core.shape[:2], *size))
                features[..., *tile.place(layer)] = core
        return whole

    def moments(
        self, pixels: Tensor, layers: Iterable[str], choices: Sequence[Weights | None]
    ) -> list[dict[str, Moments]]:
        """Moments of the features of pixels `(1, 3, H, W)`: one for each choice of weights of their positions."""
        return moments_of_parts(
            (
                values,
                [where and {layer: where[layer][..., *tile.place(layer)] for layer in values} for where in choices],
            )
            for tile, values in self._parts(pixels, layers)
        )

    def weights(
        self, mask: Tensor, layers: Iterable[str], guidance: Guidance = "simple", power: int = 1
    ) -> dict[str, Tensor]:
        """A mask `(1, 1, H, W)` of a picture as weights of its positions at layers, to some power."""
        found = at_layers(mask, self.encoder, layers, guidance)
        return {layer: self.on_device(weights.pow(power)) for layer, weights in found.items()}

    def on_device(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.machine.device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _parts(self, pixels: Tensor, layers: Iterable[str]) -> Iterator[tuple[Tile, Features]]:
        """The features of the cores of the tiles that make up a picture."""
        layers, (height, width) = tuple(layers), pixels.shape[-2:]
        core = self._core_of_read(layers, height, width) or max(height, width)
        parts = tiles(self.encoder, layers, height, width, core)
        for tile in sparing(parts) if len(parts) > 1 else parts:
            part = self.on_device(tile.of(pixels))
            yield tile, encode_core(self.encoder, part, layers, tile, bfloat16=self.machine.bfloat16)

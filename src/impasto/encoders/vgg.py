"""One configurable VGG trunk, or two that are read as one; `lite`, `vgg19` and `vgg19-caffe` are configurations of it.

Blocks of 3x3 convolutions and ReLU with 2x2 pooling between the blocks (Simonyan & Zisserman 2014,
configuration E). A layer is named after its block and its place in it: `relu4_2` is the output of
the second convolution of the fourth block.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impasto.encoders.frugal import convolve, rectified_max_pool
from impasto.errors import UsageError, near_match

Padding = Literal["replicate", "reflect", "zeros", "circular", "circular-x", "circular-y", "none"]
Pooling = Literal["max", "average"]
ChannelOrder = Literal["RGB", "BGR"]
Normalisation = tuple[tuple[float, ...], tuple[float, ...], ChannelOrder]
"""Mean, deviation and order of the channels."""

Narrowed = Callable[[Tensor], Tensor]
"""Of features some rows and columns."""

RARELY_ACTIVE = 0.02

VGG19_CONVOLUTIONS = (2, 2, 4, 4, 4)


@dataclass(frozen=True)
class Configuration:
    """What distinguishes one trunk from another.

    `widths` are channels per block (or of each of its convolutions), `convolutions` convolutions per block. Pictures
    (RGB, 0..1) are put into `channel_order` and normalised as (picture - mean) / std before the first convolution.
    `readouts` are layers that are read through a rectified 1x1 convolution of their own, and its channels: with it a
    distilled trunk predicts its teacher's features, of which there are more than its own. `below` is a second trunk,
    which has the layers after the last one of the first: it sees the picture, too, or, where its `first_block` is not
    the first, branches off before that block and shares what is computed before.
    """

    name: str
    widths: tuple[int | tuple[int, ...], ...]
    convolutions: tuple[int, ...] = VGG19_CONVOLUTIONS
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channel_order: ChannelOrder = "RGB"
    padding: Padding = "replicate"
    pooling: Pooling = "max"
    readouts: Mapping[str, int] = field(default_factory=dict)
    below: Configuration | None = None
    first_block: int = 1

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Configuration:
        """Read what `to_json` wrote; raises ValueError or TypeError on anything else."""
        return cls._of(json.loads(text))

    @classmethod
    def _of(cls, fields: Any) -> Configuration:
        if not isinstance(fields, dict):
            raise ValueError("not a JSON object")
        settings: dict[str, Any] = {name: _as_tuples(value) for name, value in fields.items()}
        if settings.get("below") is not None:
            settings["below"] = cls._of(settings["below"])
        return cls(**settings)

    @property
    def normalisation(self) -> Normalisation:
        """What is done to pictures before the first convolution."""
        return tuple(self.mean), tuple(self.std), self.channel_order

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer names of the first trunk, shallow to deep."""
        return tuple(
            f"relu{block}_{i}"
            for block, count in enumerate(self.convolutions, self.first_block)
            for i in range(1, count + 1)
        )

    def last_layer(self, block: int) -> str:
        """The name of the last layer of a block."""
        return f"relu{block}_{self.convolutions[block - self.first_block]}"

    def goes_on(self, first: Configuration) -> bool:
        """Whether, as a second trunk, this one has layers after those of the first, and before its end no others."""
        end = _place(first.layers[-1])
        before = {layer for layer in self.layers if _place(layer) <= end}
        branches_off = self.first_block <= len(first.convolutions) + 1
        return branches_off and before <= set(first.layers) and _place(self.layers[-1]) > end


def _place(layer: str) -> tuple[int, int]:
    """Block, and place in it."""
    block, place = layer.removeprefix("relu").split("_")
    return int(block), int(place)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class LayerGeometry:
    """How positions of a layer relate to the picture."""

    channels: int
    stride: int
    """Pixels of the picture between neighbouring positions."""
    receptive_field: int
    """Side, in pixels, of the square that one position sees."""
    pooled: bool
    """Whether it is the last of its block, so that a pooling comes next."""


PICTURE = LayerGeometry(channels=3, stride=1, receptive_field=1, pooled=False)


def layer_geometry(configuration: Configuration, before: LayerGeometry = PICTURE) -> dict[str, LayerGeometry]:
    """Channels, stride and receptive field of every layer of the first trunk, or of one that goes on after a layer."""
    geometry: dict[str, LayerGeometry] = {}
    receptive, stride = before.receptive_field, before.stride
    blocks = zip(configuration.widths, configuration.convolutions, strict=True)
    for block, (width, count) in enumerate(blocks, configuration.first_block):
        if block > 1:  # a 2x2 pooling sees one more position, then positions lie twice as far apart
            receptive, stride = receptive + stride, stride * 2
        for i, channels in enumerate((width,) * count if isinstance(width, int) else width, 1):
            receptive += 2 * stride
            geometry[f"relu{block}_{i}"] = LayerGeometry(channels, stride, receptive, i == count)
    return geometry


def branching_point(configuration: Configuration, block: int) -> LayerGeometry:
    """After which layer of this trunk another one goes on that begins with a block; before the first, the picture."""
    return PICTURE if block == 1 else layer_geometry(configuration)[configuration.last_layer(block - 1)]


class VGG(nn.Module):
    """A VGG trunk that returns the layers asked for and computes nothing beyond the deepest of them.

    Call with pictures `(B, 3, H, W)`, sRGB in 0..1, and layer names; returns features `(B, C, h, w)` by
    name. Raises `UsageError` for an unknown layer. Where a second trunk branches off, the first goes on with what is
    left when that is `narrowed`.

    One that is to branch off another is made for the layer that it has `seen` there.
    """

    def __init__(self, configuration: Configuration, seen: LayerGeometry = PICTURE) -> None:
        super().__init__()
        self.configuration, self.seen = configuration, seen
        self.own_geometry = layer_geometry(configuration, seen)
        below = configuration.below
        self.below = None if below is None else VGG(below, branching_point(configuration, below.first_block))
        self.geometry = _geometry_of_both(self.own_geometry, self.below)
        self.convolutions = nn.ModuleDict()
        channels = seen.channels
        for layer, place in self.own_geometry.items():
            self.convolutions[_convolution_name(layer)] = nn.Conv2d(channels, place.channels, 3)
            channels = place.channels
        self.readouts = nn.ModuleDict()
        for layer, width in configuration.readouts.items():
            self.readouts[layer] = nn.Conv2d(self.own_geometry[layer].channels, width, 1)
        self.register_buffer("mean", torch.tensor(configuration.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(configuration.std).view(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    @property
    def name(self) -> str:
        return self.configuration.name

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.geometry)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def forward(self, picture: Tensor, layers: Iterable[str], narrowed: Narrowed | None = None) -> dict[str, Tensor]:
        return self._features(picture, self.check_layers(layers), {}, narrowed)

    def _features(
        self,
        picture: Tensor,
        wanted: set[str],
        normalised: dict[Normalisation, Tensor],
        narrowed: Narrowed | None = None,
    ) -> dict[str, Tensor]:
        """The features of layers of all trunks; what one has `normalised` serves the next, too."""
        own = wanted & self.own_geometry.keys()
        below = self.below if wanted - own else None
        block = 1 if below is None else below.configuration.first_block
        features: dict[str, Tensor] = {}
        if own or block > 1:
            kind = self.configuration.normalisation
            if kind not in normalised:
                normalised[kind] = self._normalise(picture)
            features, shared = self._own(normalised[kind], own, block, narrowed)
        if below is not None and block > 1:
            features |= below._own(shared, wanted - own)[0]
        elif below is not None:
            features |= below._features(picture, wanted - own, normalised)
        return features

    def up_to(self, block: int, picture: Tensor, layers: Iterable[str]) -> tuple[dict[str, Tensor], Tensor]:
        """Features of layers of the first trunk, and what one sees that branches off before a block (not the first)."""
        return self._own(self._normalise(picture), set(layers), block)

    def before(self, block: int, picture: Tensor) -> Tensor:
        """What a trunk sees that branches off before a block (not the first): the last one's features, pooled."""
        return self.up_to(block, picture, ())[1]

    def after(self, seen: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """The features of layers of this trunk, which branches off where this was seen."""
        return self._own(seen, set(layers))[0]

    def _own(
        self, x: Tensor, wanted: set[str], block: int = 1, narrowed: Narrowed | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The features of layers of the first trunk, of a normalised picture, and what comes before a block."""
        features: dict[str, Tensor] = {}
        shared, end = x, self.configuration.last_layer(block - 1) if block > 1 else ""
        for layer, place in self.own_geometry.items():
            x = self._convolve(x, layer)
            if layer in wanted or not place.pooled or self.configuration.pooling == "average":
                x = F.relu(x, inplace=True)
            if layer in wanted:
                features[layer] = self._read(x, layer) if layer in self.readouts else x
            is_done = len(features) == len(wanted)
            if is_done and not end:
                break
            if place.pooled:
                x = self._pool(x)
            if layer == end:
                shared, end = x, ""
                if is_done:
                    break
                x = x if narrowed is None else narrowed(x)
        return features, shared

    def channels(self, layer: str) -> int:
        """Channels of the features of a layer."""
        if layer not in self.own_geometry and self.below is not None:
            return self.below.channels(layer)
        return self.configuration.readouts.get(layer, self.geometry[layer].channels)

    def by_trunk(self, layers: Iterable[str]) -> list[tuple[str, ...]]:
        """The layers that one trunk computes, for each trunk that computes any."""
        wanted = tuple(layers)
        own, deeper = (
            tuple(layer for layer in wanted if (layer in self.own_geometry) == is_own) for is_own in (True, False)
        )
        below = [] if self.below is None else self.below.by_trunk(deeper)
        return [own, *below] if own else below

    def shares(self, layers: Iterable[str]) -> str | None:
        """The last layer that both trunks share in what is computed for these, if any."""
        block = 1 if self.below is None else self.below.configuration.first_block
        deeper = set(layers) - self.own_geometry.keys()
        return self.configuration.last_layer(block - 1) if block > 1 and deeper else None

    def activations(self, layers: Iterable[str]) -> float:
        """How many numbers there are, per pixel, in all that is computed for these layers."""
        wanted = set(layers)
        own, deeper = wanted & self.own_geometry.keys(), wanted - self.own_geometry.keys()
        count = 0.0 if self.below is None or not deeper else self.below.activations(deeper)
        shared = self.shares(wanted)
        needed = own if shared is None else own | {shared}
        for layer, place in self.own_geometry.items() if needed else ():
            read = self.configuration.readouts.get(layer, 0) if layer in own else 0
            count += (place.channels + read) / place.stride**2
            if layer == self.deepest(needed):
                break
        return count

    def convolution(self, layer: str) -> nn.Conv2d:
        """The convolution whose rectified output is `layer` of the first trunk."""
        return cast(nn.Conv2d, self.convolutions[_convolution_name(layer)])

    def check_layers(self, layers: Iterable[str]) -> set[str]:
        """The layers as a set; raises `UsageError`, with a near match, for one the trunk lacks."""
        wanted = set(layers)
        for layer in sorted(wanted):
            if layer not in self.geometry:
                raise UsageError(
                    f"{layer}: no such layer; {self.name} has {self.layers[0]} … {self.layers[-1]}"
                    f"{near_match(layer, self.layers)}"
                )
        return wanted

    def deepest(self, layers: Iterable[str]) -> str:
        """The deepest of the given layers (not empty)."""
        return max(layers, key=self.layers.index)

    def smallest_side(self, layers: Iterable[str]) -> int:
        """The smallest picture side, in pixels, at which every given layer has at least 2 positions."""
        return max((2 * self.geometry[layer].stride for layer in layers), default=1)

    def sizes(self, height: int, width: int) -> dict[str, tuple[int, int]]:
        """Height and width of every layer's features for a picture of this size (with any padding but `none`)."""
        return {layer: (height // place.stride, width // place.stride) for layer, place in self.geometry.items()}

    def with_pooling(self, pooling: Pooling) -> VGG:
        """The same weights with another pooling (shared, not copied)."""
        return self._varied(pooling=pooling)

    def with_padding(self, padding: Padding) -> VGG:
        """The same weights with another padding (shared, not copied)."""
        return self._varied(padding=padding)

    def without_readouts(self) -> VGG:
        """The same weights, every layer as it is (shared, not copied)."""
        return self._varied(readouts={})

    def _varied(self, **changes: Any) -> VGG:
        """A twin of another configuration, both trunks alike."""
        twin = VGG.__new__(VGG)
        nn.Module.__init__(twin)
        twin.below = None if self.below is None else self.below._varied(**changes)
        below = None if twin.below is None else twin.below.configuration
        twin.configuration, twin.seen = replace(self.configuration, **changes, below=below), self.seen
        twin.own_geometry, twin.geometry = self.own_geometry, self.geometry
        twin.convolutions = self.convolutions
        twin.readouts = nn.ModuleDict({layer: self.readouts[layer] for layer in twin.configuration.readouts})
        twin.register_buffer("mean", self.mean, persistent=False)
        twin.register_buffer("std", self.std, persistent=False)
        return twin

    def _normalise(self, picture: Tensor) -> Tensor:
        """Over whole rows: numbers of three channels are slow to spread over a picture whose channels lie together."""
        if self.configuration.channel_order == "BGR":
            picture = picture.flip(1)
        rows = picture.permute(0, 2, 3, 1)
        mean, std = (one.flatten().repeat(picture.shape[3]) for one in (self.mean, self.std))
        return ((rows.flatten(2) - mean) / std).view(rows.shape).permute(0, 3, 1, 2)

    def _pool(self, x: Tensor) -> Tensor:
        if self.configuration.pooling == "average":
            return F.avg_pool2d(x, 2) * 2  # so that activations keep their size
        return rectified_max_pool(x)

    def _convolve(self, x: Tensor, layer: str) -> Tensor:
        convolution = self.convolution(layer)
        return convolve(x, convolution.weight, convolution.bias, self.configuration.padding)

    def _read(self, x: Tensor, layer: str) -> Tensor:
        readout = cast(nn.Conv2d, self.readouts[layer])
        return F.relu(convolve(x, readout.weight, readout.bias, "none"), inplace=True)


def joined(first: VGG, below: VGG) -> VGG:
    """Two trunks as one encoder: the first for its own layers, the other for those after them.

    Raises `UsageError` if the other does not go on where the first ends.
    """
    if not below.configuration.goes_on(first.configuration):
        raise UsageError(f"{below.name}: the second trunk must go on after {first.layers[-1]}, where the first ends")
    both = VGG(replace(first.configuration, below=below.configuration)).to(first.device)
    if below.seen != cast(VGG, both.below).seen:
        raise UsageError(f"{below.name}: the second trunk goes on after a layer that the first does not have")
    both.convolutions, both.readouts, both.below = first.convolutions, first.readouts, below
    return both


def _geometry_of_both(trunk: Mapping[str, LayerGeometry], below: VGG | None) -> dict[str, LayerGeometry]:
    """The geometry of all layers, shallow to deep."""
    return {**trunk, **{layer: own for layer, own in (below.geometry if below else {}).items() if layer not in trunk}}


def _convolution_name(layer: str) -> str:
    return layer.replace("relu", "conv")


@torch.no_grad()
def normalise_activations(encoder: VGG, mean_activations: Mapping[str, Tensor]) -> None:
    """Rescale the weights of the first trunk so that every channel's mean activation becomes 1 (Gatys et al. 2015).

    `mean_activations[layer]` is `(C,)`, measured on natural pictures; channels that are hardly ever active (mean
    below `RARELY_ACTIVE` of the layer's) are raised as if they reached that share, not to 1, so that they do not
    shout. ReLU networks allow it exactly: scaling a channel by 1/m and what reads it by m changes nothing else,
    readouts and a trunk that branches off among it.
    """
    before: Tensor | None = None
    shared = encoder.shares(encoder.geometry)
    for layer in encoder.own_geometry:
        convolution = encoder.convolution(layer)
        means = mean_activations[layer].to(convolution.weight)
        scale = means.clamp(min=RARELY_ACTIVE * float(means.mean()))
        scale = torch.where(scale > 0, scale, 1.0)  # a layer that is never active stays so
        if before is not None:
            convolution.weight.mul_(before.view(1, -1, 1, 1))
        convolution.weight.div_(scale.view(-1, 1, 1, 1))
        if convolution.bias is not None:
            convolution.bias.div_(scale)
        if layer in encoder.readouts:
            cast(nn.Conv2d, encoder.readouts[layer]).weight.mul_(scale.view(1, -1, 1, 1))
        if layer == shared and encoder.below is not None:
            encoder.below.convolution(encoder.below.layers[0]).weight.mul_(scale.view(1, -1, 1, 1))
        before = scale


@torch.no_grad()
def measure_mean_activations(encoder: VGG, pictures: Sequence[Tensor], first: VGG | None = None) -> dict[str, Tensor]:
    """Mean activation `(C,)` of every channel of every layer of the first trunk, over pictures `(B, 3, H, W)`.

    Before readouts. Of one that branches off, `first` is the trunk that it does so from.
    """
    sums: dict[str, Tensor] = {}
    plain, layers = encoder.without_readouts(), encoder.own_geometry
    for picture in pictures:
        seen = None if first is None else first.before(encoder.configuration.first_block, picture)
        for layer, features in (plain(picture, layers) if seen is None else plain.after(seen, layers)).items():
            mean = features.float().mean(dim=(0, 2, 3))
            sums[layer] = sums[layer] + mean if layer in sums else mean
    return {layer: total / len(pictures) for layer, total in sums.items()}

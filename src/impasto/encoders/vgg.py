"""One configurable VGG trunk, or two that are read as one; `lite`, `vgg19` and `vgg19-caffe` are configurations of it.

Blocks of 3x3 convolutions and ReLU with 2x2 pooling between the blocks (Simonyan & Zisserman 2014,
configuration E). A layer is named after its block and its place in it: `relu4_2` is the output of
the second convolution of the fourth block.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
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

RARELY_ACTIVE = 0.02

VGG19_CONVOLUTIONS = (2, 2, 4, 4, 4)


@dataclass(frozen=True)
class Configuration:
    """What distinguishes one trunk from another.

    `widths` are channels per block (or of each of its convolutions), `convolutions` convolutions per block. Pictures
    (RGB, 0..1) are put into `channel_order` and normalised as (picture - mean) / std before the first convolution.
    `readouts` are layers that are read through a rectified 1x1 convolution of their own, and its channels: with it a
    distilled trunk predicts its teacher's features, of which there are more than its own. `below` is a second trunk,
    which sees the picture, too, and has the layers after the last one of the first.
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
            f"relu{block}_{i}" for block, count in enumerate(self.convolutions, 1) for i in range(1, count + 1)
        )


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


def layer_geometry(configuration: Configuration) -> dict[str, LayerGeometry]:
    """Channels, stride and receptive field of every layer of the first trunk."""
    geometry = {}
    receptive, stride = 1, 1
    for block, (width, count) in enumerate(zip(configuration.widths, configuration.convolutions, strict=True), 1):
        if block > 1:  # a 2x2 pooling sees one more position, then positions lie twice as far apart
            receptive, stride = receptive + stride, stride * 2
        for i, channels in enumerate((width,) * count if isinstance(width, int) else width, 1):
            receptive += 2 * stride
            geometry[f"relu{block}_{i}"] = LayerGeometry(channels, stride, receptive, i == count)
    return geometry


class VGG(nn.Module):
    """A VGG trunk that returns the layers asked for and computes nothing beyond the deepest of them.

    Call with pictures `(B, 3, H, W)`, sRGB in 0..1, and layer names; returns features `(B, C, h, w)` by
    name. Raises `UsageError` for an unknown layer.
    """

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.configuration = configuration
        self.below = None if configuration.below is None else VGG(configuration.below)
        self.own_geometry = layer_geometry(configuration)
        self.geometry = _geometry_of_both(self.own_geometry, self.below)
        self.convolutions = nn.ModuleDict()
        channels = 3
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

    def forward(self, picture: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        return self._features(picture, self.check_layers(layers), {})

    def _features(
        self, picture: Tensor, wanted: set[str], normalised: dict[Normalisation, Tensor]
    ) -> dict[str, Tensor]:
        """The features of layers of all trunks; what one has `normalised` serves the next, too."""
        features: dict[str, Tensor] = {}
        own = wanted & self.own_geometry.keys()
        if own:
            kind = self.configuration.normalisation
            if kind not in normalised:
                normalised[kind] = self._normalise(picture)
            features = self._own(normalised[kind], own)
        if self.below is not None and wanted - own:
            features |= self.below._features(picture, wanted - own, normalised)
        return features

    def _own(self, x: Tensor, wanted: set[str]) -> dict[str, Tensor]:
        """The features of layers of the first trunk, at least one, of a normalised picture."""
        features: dict[str, Tensor] = {}
        for layer, place in self.own_geometry.items():
            x = self._convolve(x, layer)
            if layer in wanted or not place.pooled or self.configuration.pooling == "average":
                x = F.relu(x, inplace=True)
            if layer in wanted:
                features[layer] = self._read(x, layer) if layer in self.readouts else x
                if len(features) == len(wanted):
                    break
            if place.pooled:
                x = self._pool(x)
        return features

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

    def activations(self, layers: Iterable[str]) -> float:
        """How many numbers there are, per pixel, in all that is computed for these layers."""
        wanted = set(layers)
        own, deeper = wanted & self.own_geometry.keys(), wanted - self.own_geometry.keys()
        count = 0.0 if self.below is None or not deeper else self.below.activations(deeper)
        for layer, place in self.own_geometry.items() if own else ():
            read = self.configuration.readouts.get(layer, 0) if layer in own else 0
            count += (place.channels + read) / place.stride**2
            if layer == self.deepest(own):
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
        twin.configuration = replace(self.configuration, **changes, below=below)
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

    Raises `UsageError` if the other does not have the layers of the first, and more.
    """
    if not {*first.own_geometry} < {*below.own_geometry}:
        raise UsageError(
            f"{below.name}: the second trunk needs the layers of the first, {', '.join(first.own_geometry)}, and more"
        )
    both = VGG(replace(first.configuration, below=below.configuration))
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
    readouts among it.
    """
    before: Tensor | None = None
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
        before = scale


@torch.no_grad()
def measure_mean_activations(encoder: VGG, pictures: Sequence[Tensor]) -> dict[str, Tensor]:
    """Mean activation `(C,)` of every channel of every layer of the first trunk, over pictures `(B, 3, H, W)`.

    Before readouts.
    """
    sums: dict[str, Tensor] = {}
    plain = encoder.without_readouts()
    for picture in pictures:
        for layer, features in plain(picture, plain.own_geometry).items():
            mean = features.float().mean(dim=(0, 2, 3))
            sums[layer] = sums[layer] + mean if layer in sums else mean
    return {layer: total / len(pictures) for layer, total in sums.items()}

"""A student: a trunk whose features are read through a head for each of its teacher's layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impasto.encoders.vgg import PICTURE, RARELY_ACTIVE, VGG, Configuration, LayerGeometry, branching_point

Moments = tuple[Tensor, Tensor]
"""Means and standard deviations of a teacher's channels over photographs."""

# Neighbouring positions of shallow layers say nearly the same: every 4th and 2nd halves the time of a step.
SPARSE = {"relu1_1": 4, "relu1_2": 4, "relu2_1": 2, "relu2_2": 2}
TOGETHER = 8
"""Channels that a processor takes at once."""


class TrainableVGG(VGG):
    """The trunk with batch normalisation before every ReLU; without it most channels of the deep blocks die."""

    def __init__(self, configuration: Configuration, seen: LayerGeometry = PICTURE) -> None:
        super().__init__(configuration, seen)
        self.norms = nn.ModuleDict({layer: nn.BatchNorm2d(g.channels) for layer, g in self.geometry.items()})

    def _convolve(self, x: Tensor, layer: str) -> Tensor:
        return self.norms[layer](super()._convolve(x, layer))

    @torch.no_grad()
    def folded(self) -> VGG:
        """The same function as a plain trunk: each normalisation goes into the convolution before it."""
        plain = VGG(self.configuration, self.seen)
        for layer in self.layers:
            norm, source, target = self.norms[layer], self.convolution(layer), plain.convolution(layer)
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            target.weight.copy_(source.weight * scale.view(-1, 1, 1, 1))
            target.bias.copy_((source.bias - norm.running_mean) * scale + norm.bias)
        return plain.eval()


class Student(nn.Module):
    """The trunk and its rectified heads; one that branches off looks at what a `first` trunk has learnt before."""

    first: VGG | None

    def __init__(self, configuration: Configuration, targets: Mapping[str, int], first: VGG | None = None) -> None:
        super().__init__()
        seen = PICTURE if first is None else branching_point(first.configuration, configuration.first_block)
        self.__dict__["first"] = first  # no part of this module, which is what is trained, and saved
        self.trunk = TrainableVGG(configuration, seen)
        self.heads = nn.ModuleDict(
            {layer: nn.Conv2d(self.trunk.geometry[layer].channels, n, 1) for layer, n in targets.items()}
        )
        for convolution in self.trunk.convolutions.values():
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        features = self.features(x, layers)
        return {layer: F.relu(self.heads[layer](sparse(layer, f))) for layer, f in features.items()}

    def features(self, x: Tensor, layers: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Those of the trunk, of these layers or of all."""
        layers = self.trunk.layers if layers is None else layers
        if self.first is None:
            return self.trunk(x, layers)
        return self.trunk.after(self.first.before(self.trunk.configuration.first_block, x), layers)

    @torch.no_grad()
    def measure_norms(self, batches: list[Tensor]) -> None:
        """Set the normalisations' statistics to those of these pictures."""
        for norm in self.trunk.norms.values():
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean
        self.trunk.train()
        for x in batches:
            self.features(x)
        self.trunk.eval()


@torch.no_grad()
def encoder_of(student: Student, moments: Mapping[str, Moments], most: Mapping[str, int]) -> VGG:
    """A plain trunk with readouts in place of the heads of some layers, at most so many channels of each.

    The readouts are the teacher's features that are ever active, the strongest, of mean activation 1.
    """
    trunk = student.trunk.folded()
    kept = {layer: strongest_channels(moments[layer], count) for layer, count in most.items()}
    readouts = {layer: len(numbers) for layer, numbers in kept.items()}
    encoder = VGG(replace(trunk.configuration, readouts=readouts), student.trunk.seen)
    encoder.convolutions.load_state_dict(trunk.convolutions.state_dict())
    for layer, numbers in kept.items():
        head, readout, (mean, std) = student.heads[layer], encoder.readouts[layer], moments[layer]
        gain = (std / unit_of(mean)).flatten()
        readout.weight.copy_((gain.view(-1, 1, 1, 1) * head.weight)[numbers])
        readout.bias.copy_((gain * head.bias)[numbers])
    return encoder.eval().requires_grad_(False).to(student.trunk.device, memory_format=torch.channels_last)


@torch.no_grad()
def student_of(
    trunk: VGG,
    first: VGG | None,
    moments: Mapping[str, Moments],
    examples: Sequence[tuple[Tensor, Mapping[str, Tensor]]],
) -> Student:
    """The student that a trunk with readouts, which may branch off a first one, was exported from.

    That is as nearly as its weights tell.

    Over the examples, crops and their teacher's answers, the normalisations change nothing. What was not exported of
    heads is fitted to the answers by least squares.
    """
    widths = {layer: mean.shape[1] for layer, (mean, _) in moments.items()}
    student = Student(replace(trunk.configuration, readouts={}, below=None), widths, first).to(trunk.device)
    student.trunk.convolutions.load_state_dict(trunk.convolutions.state_dict())
    student.eval()
    seen: dict[str, list[Tensor]] = {layer: [] for layer in student.trunk.layers}
    for layer, norm in student.trunk.norms.items():
        norm.running_var.fill_(1 - norm.eps)
        norm.register_forward_hook(lambda _, __, y, found=seen[layer]: found.append(_mean_and_square(y)))
    answered = [(student.features(crops), answers) for crops, answers in examples]
    for layer, norm in student.trunk.norms.items():
        norm._forward_hooks.clear()
        mean, square = torch.stack(seen[layer]).mean(0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((square - mean.square()).clamp(min=0))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(mean)
    for layer, head in student.heads.items():
        features = torch.cat([_rows(sparse(layer, found[layer])) for found, _ in answered])
        wanted = torch.cat([_rows(answers[layer]) for _, answers in answered])
        solution = torch.linalg.lstsq(F.pad(features, (0, 1), value=1.0), wanted).solution
        head.weight.copy_(solution[:-1].T[:, :, None, None])
        head.bias.copy_(solution[-1])
        if layer in trunk.readouts:
            mean, std = moments[layer]
            kept, gain = strongest_channels(moments[layer], trunk.channels(layer)), (std / unit_of(mean)).flatten()
            if len(kept) < trunk.channels(layer):  # exported when all channels still were
                kept = torch.arange(mean.numel())
            for own, read in zip(head.parameters(), trunk.readouts[layer].parameters(), strict=True):
                own[kept] = read / gain[kept].view(-1, *[1] * (read.ndim - 1))
    return student


def _mean_and_square(features: Tensor) -> Tensor:
    """Of each channel, `(2, C)`."""
    return torch.stack([features.mean((0, 2, 3)), features.square().mean((0, 2, 3))])


def _rows(features: Tensor) -> Tensor:
    """`(B, C, H, W)` as `(B·H·W, C)`."""
    return features.movedim(1, -1).flatten(0, 2)


@torch.no_grad()
def grow(student: Student, other: Mapping[str, Tensor]) -> None:
    """Copy a student of other widths: what reads new channels starts at zero, narrower layers keep the heaviest."""
    own = student.state_dict()
    first, *_ = student.trunk.layers
    source = torch.arange(other[f"trunk.convolutions.{_conv(first)}.weight"].shape[1])
    for layer, following in zip(student.trunk.layers, [*student.trunk.layers[1:], None], strict=True):
        convolution, norm, head = (f"trunk.convolutions.{_conv(layer)}.", f"trunk.norms.{layer}.", f"heads.{layer}.")
        readers = [other.get(f"{head}weight"), other.get(f"trunk.convolutions.{_conv(following)}.weight")]
        heavy = other[f"{norm}weight"].square() * sum(
            reader.square().sum((0, 2, 3)) / reader.square().sum() for reader in readers if reader is not None
        )
        kept = heavy.topk(min(len(heavy), student.trunk.geometry[layer].channels)).indices.sort().values
        _copy(own[f"{convolution}weight"], other[f"{convolution}weight"][kept][:, source])
        for name in (f"{convolution}bias", *(f"{norm}{n}" for n in ("weight", "bias", "running_mean", "running_var"))):
            _copy(own[name], other[name][kept])
        if f"{head}weight" in other and f"{head}weight" in own:
            _copy(own[f"{head}weight"], other[f"{head}weight"][:, kept])
            _copy(own[f"{head}bias"], other[f"{head}bias"])
        source = kept


@torch.no_grad()
def adopt(student: Student, first: VGG, batches: Iterable[Tensor]) -> None:
    """Let a student branch off another trunk: its first convolution makes of what it sees there what it made before.

    That is as nearly as least squares over these pictures can.
    """
    block, layer = student.trunk.configuration.first_block, student.trunk.layers[0]
    old = student.trunk.convolution(layer)
    new = nn.Conv2d(branching_point(first.configuration, block).channels, old.out_channels, 3).to(student.trunk.device)
    products = wanted = torch.zeros(()).to(old.weight)
    for x in batches:
        own, other = (F.pad(trunk.before(block, x), (1, 1, 1, 1), "replicate") for trunk in (student.first, first))
        rows = F.pad(_rows(F.unfold(other, 3)[..., None]), (0, 1), value=1.0).double()
        products, wanted = products + rows.T @ rows, wanted + rows.T @ _rows(old(own)).double()
    ridge = 1e-6 * products.diagonal().mean() * torch.eye(len(products)).to(products)
    solution = torch.linalg.solve(products + ridge, wanted).T.float()
    new.weight.copy_(solution[:, :-1].view_as(new.weight))
    new.bias.copy_(solution[:, -1])
    student.trunk.convolutions[_conv(layer)] = new
    student.__dict__["first"] = first


def first_trunk(encoder: VGG) -> VGG:
    """The first of an encoder's trunks, alone."""
    alone = VGG(replace(encoder.configuration, below=None))
    alone.convolutions, alone.readouts = encoder.convolutions, encoder.readouts
    return alone.eval().requires_grad_(False)


def _copy(into: Tensor, old: Tensor) -> None:
    if into.ndim == 4:
        into[:, old.shape[1] :] = 0
    into[tuple(map(slice, old.shape))] = old


def _conv(layer: str | None) -> str:
    return (layer or "").replace("relu", "conv")


def unit_of(mean: Tensor) -> Tensor:
    """What becomes 1 in features of these mean activations."""
    return mean.clamp(min=RARELY_ACTIVE * float(mean.mean()))


def strongest_channels(moments: Moments, most: int) -> Tensor:
    """The numbers of the channels with the largest squares in the units of losses, at most so many.

    Those are left out that are never active – a third of the reduced teacher's from relu3_2 on –, but for what makes
    their number a multiple of `TOGETHER`.
    """
    mean, std = (one.flatten() for one in moments)
    strength = torch.where(mean > 0, (mean.square() + std.square()) / unit_of(mean).square(), 0)
    count = min(most, -(-int((mean > 0).sum()) // TOGETHER) * TOGETHER, mean.numel())
    return strength.topk(count).indices.sort().values


def sparse(layer: str, features: Tensor) -> Tensor:
    """The positions at which a layer is compared."""
    step = SPARSE.get(layer, 1)
    return features[:, :, step // 2 :: step, step // 2 :: step]

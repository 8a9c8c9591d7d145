"""The two teachers of `lite`, read into the same trunk (neither may be shipped, nor anything converted from them)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from impasto.encoders.vgg import VGG, Configuration, measure_mean_activations, normalise_activations

EXACT_LAYERS = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1")
REDUCED_LAYERS = ("relu3_4", "relu4_1", "relu4_2", "relu4_4", "relu5_1")
STEPPING_STONES = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu4_3")
"""Of the reduced teacher, too: what its deep layers are made of, though nobody asks `lite` for it."""
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def exact_teacher(folder: Path) -> VGG:
    """The original VGG-19, to relu3_4 (Simonyan & Zisserman; CC BY 4.0)."""
    encoder = VGG(
        Configuration(
            name="vgg19-caffe",
            widths=(64, 128, 256),
            convolutions=(2, 2, 4),
            mean=(103.939 / 255, 116.779 / 255, 123.68 / 255),
            std=(1 / 255, 1 / 255, 1 / 255),
            channel_order="BGR",
            padding="zeros",
        )
    )
    return _filled(encoder, load_file(folder / "vgg19-to-relu3_4.safetensors"))


def reduced_teacher(folder: Path) -> VGG:
    """The 16x-reduced VGG-19 of Collaborative Distillation (Wang et al. 2020; MIT), to relu5_1.

    Its first 1x1 convolution on the picture is folded into conv1_1.
    """
    weights = load_file(folder / "vgg19-cd16x-to-relu5_1.safetensors")
    matrix = weights.pop("conv0.weight")[:, :, 0, 0]
    offset = weights.pop("conv0.bias")
    first = weights["conv1_1.weight"]
    weights["conv1_1.bias"] = weights["conv1_1.bias"] + torch.einsum("oihw,i->o", first, offset)
    weights["conv1_1.weight"] = torch.einsum("oihw,ij->ojhw", first, matrix)
    encoder = VGG(
        Configuration(
            name="vgg19-cd16x",
            widths=(16, 32, 64, 128, 128),
            convolutions=(2, 2, 4, 4, 1),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            padding="reflect",
        )
    )
    return _filled(encoder, {k: v for k, v in weights.items() if "expand" not in k})


class BothTeachers(VGG):
    """The best there is of VGG-19 here: the original where it could be had, the reduced one below.

    Only for comparison: it computes both trunks.
    """

    def __init__(self, exact: VGG, reduced: VGG) -> None:
        super().__init__(reduced.configuration)
        self.exact, self.reduced = exact, reduced

    def forward(self, picture: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        shallow = [layer for layer in layers if layer in EXACT_LAYERS]
        deep = [layer for layer in layers if layer not in EXACT_LAYERS]
        features: dict[str, Tensor] = self.exact(picture, shallow) | self.reduced(picture, deep)
        return features


def normalised(encoder: VGG, pictures: Sequence[Tensor]) -> VGG:
    """The encoder with mean activations of 1 over these pictures."""
    with torch.no_grad():
        normalise_activations(encoder, measure_mean_activations(encoder, pictures))
    return encoder


def _filled(encoder: VGG, weights: dict[str, Tensor]) -> VGG:
    encoder.convolutions.load_state_dict(weights)
    return encoder.eval().requires_grad_(False).to(memory_format=torch.channels_last)

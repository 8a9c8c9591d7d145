"""The two teachers of `lite`, read into the same trunk (neither may be shipped, nor anything converted from them)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from impasto.encoders.vgg import VGG, Configuration, measure_mean_activations, normalise_activations

DEEP_LAYERS = tuple(f"relu{block}_{i}" for block, count in enumerate((2, 4, 4, 1), 2) for i in range(1, count + 1))
"""Of the reduced teacher: all from the second block on, for they are what its deep layers are made of."""
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


def normalised(encoder: VGG, pictures: Sequence[Tensor]) -> VGG:
    """The encoder with mean activations of 1 over these pictures."""
    with torch.no_grad():
        normalise_activations(encoder, measure_mean_activations(encoder, pictures))
    return encoder


def _filled(encoder: VGG, weights: dict[str, Tensor]) -> VGG:
    encoder.convolutions.load_state_dict(weights)
    return encoder.eval().requires_grad_(False).to(memory_format=torch.channels_last)

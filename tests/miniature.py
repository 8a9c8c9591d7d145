"""Encoders so small that they take no time."""

from __future__ import annotations

import torch
from torch import nn

from impasto.encoders import VGG, Configuration

TINY = Configuration("tiny", (4, 6), (2, 2), mean=(0.4, 0.5, 0.6), channel_order="BGR")


def tiny_encoder(configuration: Configuration = TINY, seed: int = 0) -> VGG:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VGG(configuration)


def lively(configuration: Configuration, seed: int = 0) -> VGG:
    """A trunk in which every layer is active."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = VGG(configuration)
        for convolution in encoder.convolutions.values():
            nn.init.kaiming_normal_(convolution.weight)
            nn.init.uniform_(convolution.bias, 0.0, 0.2)
    return encoder.requires_grad_(False).eval()

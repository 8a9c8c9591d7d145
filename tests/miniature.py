"""What tests of weights share: an encoder so small that it takes no time."""

from __future__ import annotations

import torch

from impasto.encoders import VGG, Configuration

TINY = Configuration("tiny", (4, 6), (2, 2), mean=(0.4, 0.5, 0.6), channel_order="BGR")


def tiny_encoder(configuration: Configuration = TINY, seed: int = 0) -> VGG:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VGG(configuration)

"""Make shipped weights of the last run of the deep trunk: both trunks, activations normalised, float16.

python training/export.py last --photos PHOTOS --out src/impasto/encoders/lite.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from crops import natural_crops, read_pictures
from distill import FIRST, PLANS, revived
from impasto.encoders import load_encoder
from impasto.encoders.storage import save_encoder
from impasto.encoders.vgg import VGG, joined, measure_mean_activations, normalise_activations
from student import encoder_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="of the deep trunk")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="to normalise on, as in the training")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    batches = natural_crops(read_pictures(options.photos))
    below = encoder_of(*revived("deep", options.run, "cpu"), PLANS["deep"].readouts)
    encoder = joined(load_encoder(options.run / FIRST), below)
    normalise_activations(encoder, measure_mean_activations(encoder, batches))
    within_float16(encoder)
    normalise_activations(below, measure_mean_activations(below, batches, encoder))
    within_float16(below)
    save_encoder(encoder, options.out, dtype=torch.float16)
    print(
        f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, normalised on {sum(map(len, batches))} photographs"
    )


@torch.no_grad()
def within_float16(trunk: VGG) -> None:
    """Silence channels whose weights float16 cannot hold: those that the training has hardly ever seen active."""
    for layer in trunk.own_geometry:
        convolution = trunk.convolution(layer)
        beyond = (
            convolution.weight.abs().amax((1, 2, 3)).maximum(convolution.bias.abs())
            > torch.finfo(torch.float16).max / 2
        )
        if beyond.any():
            print(f"{layer}: channels {beyond.nonzero().flatten().tolist()} are silenced")
            convolution.weight[beyond], convolution.bias[beyond] = 0.0, 0.0


if __name__ == "__main__":
    main()

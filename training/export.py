"""Make shipped weights of trained ones: activations normalised, float16.

python training/export.py both/encoder.safetensors --photos PHOTOS --out src/impasto/encoders/lite.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from crops import natural_crops, read_pictures
from impasto.encoders import load_encoder
from impasto.encoders.storage import save_encoder
from impasto.encoders.vgg import VGG, measure_mean_activations, normalise_activations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="that together.py wrote")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="to normalise on, as in the training")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    batches = natural_crops(read_pictures(options.photos))
    encoder = load_encoder(options.weights)
    normalise_activations(encoder, measure_mean_activations(encoder, batches))
    within_float16(encoder)
    if encoder.below is not None:
        normalise_activations(encoder.below, measure_mean_activations(encoder.below, batches, encoder))
        within_float16(encoder.below)
    save_encoder(encoder, options.out, dtype=torch.float16)
    print(
        f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, normalised on {sum(map(len, batches))} photographs"
    )


@torch.no_grad()
def within_float16(trunk: VGG) -> None:
    """Silence channels whose weights float16 cannot hold: those that a normalisation has never seen active."""
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

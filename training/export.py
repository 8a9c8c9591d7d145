"""Make shipped weights of the last run of the deep trunk: both trunks, activations normalised, float16.

python training/export.py last --photos PHOTOS --out src/impasto/encoders/lite.safetensors
python training/export.py last --first shallow --photos PHOTOS --out …    # of which the beginning is still the same
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from crops import natural_crops, read_pictures
from distill import FIRST, PLANS, revived
from impasto.encoders import load_encoder
from impasto.encoders.storage import save_encoder
from impasto.encoders.vgg import VGG, joined, measure_mean_activations, normalise_activations
from student import encoder_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="of the deep trunk")
    parser.add_argument("--first", type=Path, help="run of the first trunk, which has learnt more since")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="to normalise on, as in the training")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    batches = natural_crops(read_pictures(options.photos))
    below = encoder_of(*revived("deep", options.run, "cpu"), PLANS["deep"].readouts)
    first = load_encoder(options.run / FIRST)
    if options.first is not None:
        before, first = first, encoder_of(*revived("shallow", options.first, "cpu"), PLANS["shallow"].readouts)
        if not see_alike(before, first, below.configuration.first_block, batches[0][:8]):
            raise SystemExit(f"{options.first}: does not begin as the trunk that {options.run} branches off")
    encoder = joined(first, below)
    normalise_activations(encoder, measure_mean_activations(encoder, batches))
    within_float16(encoder)
    normalise_activations(below, measure_mean_activations(below, batches, encoder))
    within_float16(below)
    save_encoder(encoder, options.out, dtype=torch.float16)
    print(
        f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, normalised on {sum(map(len, batches))} photographs"
    )


@torch.no_grad()
def see_alike(one: VGG, other: VGG, block: int, pictures: Tensor) -> bool:
    """Whether what comes before a block is the same in both trunks, up to rounding."""
    a, b = (trunk.before(block, pictures) for trunk in (one, other))
    return a.shape == b.shape and float((a - b).norm()) < 1e-3 * float(a.norm())


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

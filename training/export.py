"""Write the two trunks as one encoder's weights: activations normalised, heads as readouts, float16.

The deep one branches off the exported shallow one, so that this is exported first, then named by its file.

python training/export.py --shallow lite.safetensors --deep deep --photos PHOTOS --out new.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from crops import natural_crops, read_pictures
from distill import PLANS, first_trunk, load
from impasto.encoders import load_encoder
from impasto.encoders.storage import save_encoder
from impasto.encoders.vgg import VGG, joined, measure_mean_activations, normalise_activations
from student import Student, encoder_of

WANTED = {
    "shallow": ("relu2_1", "relu2_2", "relu3_1"),
    "deep": ("relu3_4", "relu4_1", "relu4_2", "relu4_4", "relu5_1"),
}
"""Layers that are read through their heads; the two largest are near enough to the teacher's as they are."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shallow", type=Path, required=True, help="its training run, or weights that have it")
    parser.add_argument("--deep", type=Path, required=True, help="its training run, which began with these weights")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="to normalise on, as in the training")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    batches = natural_crops(read_pictures(options.photos))
    if options.shallow.is_file():
        first = first_trunk(load_encoder(options.shallow))
    else:
        first = trained_trunk("shallow", options.shallow)
        normalise_activations(first, measure_mean_activations(first, batches))
    below = trained_trunk("deep", options.deep, first)
    normalise_activations(below, measure_mean_activations(below, batches, first))
    save_encoder(joined(first, below), options.out, dtype=torch.float16)
    print(
        f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, normalised on {sum(map(len, batches))} photographs"
    )


def trained_trunk(trunk: str, run: Path, first: VGG | None = None) -> VGG:
    """The averaged student, at the widths that its weights have, with readouts in place of its heads."""
    saved = load(run, "cpu")
    weights, moments = saved["average"], saved["moments"]
    names = PLANS[trunk].configuration((1,) * len(PLANS[trunk].convolutions)).layers
    channels = [(layer[4], len(weights[f"trunk.convolutions.{layer.replace('relu', 'conv')}.bias"])) for layer in names]
    widths = [
        tuple(n for block, n in channels if block == one) for one in dict.fromkeys(block for block, _ in channels)
    ]
    heads = {layer: mean.shape[1] for layer, (mean, _) in moments.items()}
    student = Student(PLANS[trunk].configuration(widths), heads, first)
    student.load_state_dict(weights)
    return encoder_of(student.eval(), moments, WANTED[trunk])


if __name__ == "__main__":
    main()

"""Write a training run as an encoder's weights file: activations normalised, heads as readouts, float16.

python training/export.py --run lite-run --pictures PHOTOS --out src/impasto/encoders/lite.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from distill import Student, encoder_of, load, plain_crops, read_pictures, student_configuration
from impasto.encoders.storage import save_encoder
from impasto.encoders.vgg import VGG, measure_mean_activations, normalise_activations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, help="natural pictures to normalise on")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    encoder = trained_encoder(options.run)
    pictures = read_pictures(options.pictures)[::8]
    batches = [plain_crops(pictures[i : i + 16], 224) for i in range(0, len(pictures), 16)]
    with torch.no_grad():
        normalise_activations(encoder, measure_mean_activations(encoder, batches))
    save_encoder(encoder, options.out, dtype=torch.float16)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, normalised on {len(pictures)} pictures")


def trained_encoder(run: Path) -> VGG:
    """The averaged student, at the widths that its weights have, with readouts in place of its heads."""
    saved = load(run, "cpu")
    weights, moments = saved["average"], saved["moments"]
    layers = student_configuration((1,) * 5).layers
    channels = [
        (layer[4], len(weights[f"trunk.convolutions.{layer.replace('relu', 'conv')}.bias"])) for layer in layers
    ]
    widths = [tuple(n for block, n in channels if block == one) for one in "12345"]
    student = Student(widths, {layer: mean.shape[1] for layer, (mean, _) in moments.items()})
    student.load_state_dict(weights)
    return encoder_of(student.eval(), moments)


if __name__ == "__main__":
    main()

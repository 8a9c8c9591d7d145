"""Write the trunk of a training run as an encoder's weights file: activations normalised, float16, heads left behind.

python training/export.py --run lite-run --pictures PHOTOS --out src/impasto/encoders/lite.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from distill import TrainableVGG, plain_crops, read_pictures, student_configuration
from impasto.encoders.storage import save_encoder
from impasto.encoders.vgg import VGG, measure_mean_activations, normalise_activations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, help="natural pictures to normalise on")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    encoder = trained_trunk(options.run / "checkpoint.pt")
    pictures = read_pictures(options.pictures)[::8]
    batches = [plain_crops(pictures[i : i + 16], 224) for i in range(0, len(pictures), 16)]
    with torch.no_grad():
        normalise_activations(encoder, measure_mean_activations(encoder, batches))
    save_encoder(encoder, options.out, dtype=torch.float16)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, normalised on {len(pictures)} pictures")


def trained_trunk(checkpoint: Path) -> VGG:
    """The averaged trunk, at the widths that its weights have, as a plain one."""
    state = torch.load(checkpoint, weights_only=True)["average"]
    weights = {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}
    widths = tuple(len(weights[f"convolutions.conv{block}_1.bias"]) for block in range(1, 6))
    trunk = TrainableVGG(student_configuration(widths))
    trunk.load_state_dict(weights)
    return trunk.folded()


if __name__ == "__main__":
    main()

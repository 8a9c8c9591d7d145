"""How nearly the Gram matrix of a picture that is joined from others is the mean of theirs, on real pictures.

    python benchmarks/collage.py --sets DATA/painting-sets --out benchmarks/results/collage

Four works, cut to squares, joined 2 x 2: four of van Gogh, of Monet, of pixel art, and one each of four other sets.
All positions count, with the edges repeated as `lite` does or with zeros beyond them, or only those that see nothing
but one of the four. Writes a table (.md), of means over the sets, and numbers (.json).
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.encoders import VGG, load_encoder
from impasto.library.signature import _border, _inner
from impasto.losses.gram import gram
from impasto.pictures.files import read_picture
from impasto.pictures.folders import pictures_in
from impasto.pictures.resize import resize

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
SIDES = (256, 512)
ALIKE = ("van-gogh", "monet", "pixel-art")
MIXED = ("durer-prints", "hokusai", "malevich-suprematism", "thorburn-watercolours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", type=Path, required=True, help="folder of folders of works")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    sets = {name: spread(pictures_in(options.sets / name)) for name in ALIKE}
    sets["mixed"] = [pictures_in(options.sets / name)[0] for name in MIXED]
    encoder = load_encoder("lite")
    rows = []
    for (works, paths), side in product(sets.items(), SIDES):
        found = errors_by_positions(encoder, torch.cat([square(path, side) for path in paths]))
        for positions, errors in found.items():
            rows.append({"works": works, "side": side, "positions": positions, "errors": errors})
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))
    print(table(rows))


def spread(paths: list[Path]) -> list[Path]:
    """Four of them: neighbours in the alphabet are often of one series."""
    return paths[:: len(paths) // 4][:4]


def square(path: Path, side: int) -> Tensor:
    """The middle of a picture, `(1, 3, side, side)`."""
    pixels = read_picture(path).pixels
    height, width = pixels.shape[-2:]
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    return resize(pixels[..., top : top + shorter, left : left + shorter], side, side)


@torch.no_grad()
def errors_by_positions(encoder: VGG, parts: Tensor) -> dict[str, dict[str, float]]:
    """By which positions count, and layer, how far the joined picture's Gram matrix is from the parts' mean."""
    zeros = encoder.with_padding("zeros")
    whole, own = encoder(joined(parts), LAYERS), encoder(parts, LAYERS)
    borders = {layer: _border(encoder.geometry[layer]) for layer in LAYERS}
    whole_within = {layer: joined(_inner(quarters(whole[layer]), border)) for layer, border in borders.items()}
    own_within = {layer: _inner(own[layer], border) for layer, border in borders.items()}
    return {
        "all, edges repeated": errors(whole, own),
        "all, zeros beyond": errors(zeros(joined(parts), LAYERS), zeros(parts, LAYERS)),
        "those that see one part": errors(whole_within, own_within),
    }


def joined(parts: Tensor) -> Tensor:
    """Four pictures `(4, C, H, W)` as one `(1, C, 2H, 2W)`."""
    a, b, c, d = parts.split(1)  # type: ignore[no-untyped-call]
    return torch.cat((torch.cat((a, b), -1), torch.cat((c, d), -1)), -2)


def quarters(whole: Tensor) -> Tensor:
    """What `joined` has joined."""
    return torch.cat([part for half in whole.chunk(2, -2) for part in half.chunk(2, -1)])


def errors(whole: Mapping[str, Tensor], parts: Mapping[str, Tensor]) -> dict[str, float]:
    """By layer ‖G − mean G_k‖² / ‖mean G_k‖²."""
    found = {}
    for layer in whole:
        mean = gram(parts[layer]).double().mean(0)
        found[layer] = float((gram(whole[layer])[0].double() - mean).square().sum() / mean.square().sum())
    return found


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "‖G − mean G_k‖² / ‖mean G_k‖² (and its root), G of a picture joined from 2 x 2, means over the sets",
        "",
        f"| positions | side of a part, px | {' | '.join(LAYERS)} |",
        "|---" * (2 + len(LAYERS)) + "|",
    ]
    for positions, side in product(dict.fromkeys(row["positions"] for row in rows), SIDES):
        alike = [row["errors"] for row in rows if (row["positions"], row["side"]) == (positions, side)]
        cells = []
        for layer in LAYERS:
            squared = [found[layer] for found in alike]
            cells.append(f"{statistics.mean(squared):.1e} ({statistics.mean(e**0.5 for e in squared):.1e})")
        lines.append(f"| {positions} | {side} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

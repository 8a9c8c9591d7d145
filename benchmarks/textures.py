"""Textures larger than their exemplar: do squares of them come again, and is there a seam where they wrap.

    python benchmarks/textures.py --exemplar examples/strokes.jpg --pictures textures --out benchmarks/results/textures

The same is measured of the exemplar, and of the exemplar laid side by side, in which everything comes again. Writes
numbers (.json), a table (.md) and the pictures.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import impasto
from measures import repetition

VARIANTS: dict[str, dict[str, Any]] = {"plain": {}, "--tile both": {"tile": "both"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exemplar", type=Path, required=True)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--pictures", type=Path, required=True, help="folder for the textures")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    options.pictures.mkdir(parents=True, exist_ok=True)
    exemplar = impasto.read_picture(options.exemplar).pixels
    times = -(-options.size // min(exemplar.shape[-2:]))
    rows = [measured("exemplar", exemplar), measured("side by side", exemplar.tile(1, 1, times, times))]
    for name, settings in VARIANTS.items():
        result = impasto.texture(options.exemplar, width=options.size, height=options.size, **settings)
        result.save(options.pictures / f"texture-{name.strip('-').replace(' ', '-')}.png")
        rows.append(measured(name, result.tensor) | {"seconds": result.record.seconds})
        print(rows[-1], flush=True)
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))


def measured(name: str, pixels: Tensor) -> dict[str, Any]:
    again = repetition(pixels)
    return {"name": name, "again": statistics.median(again), "most": max(again), "seam": seam(pixels)}


def seam(pixels: Tensor) -> float:
    """Mean square step from one border to the opposite one, over that between neighbours within (1: no seam)."""
    found = []
    for axis in (-1, -2):
        inside = pixels.diff(dim=axis).square().mean()
        across = (pixels.select(axis, 0) - pixels.select(axis, -1)).square().mean()
        found.append(across / inside)
    return float(torch.stack(found).max())


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| | squares of 64 pixels come again: median | most | step across the border, over one within |",
        "|---" * 4 + "|",
    ]
    lines += [f"| {row['name']} | {row['again']:.2f} | {row['most']:.2f} | {row['seam']:.2f} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

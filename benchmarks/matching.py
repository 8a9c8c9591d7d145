"""Nearest patches exactly and by principal components: seconds of a match, and what it keeps of the correlation.

    python benchmarks/matching.py --data SEMANTIC --out benchmarks/results/matching

SEMANTIC holds Seth and Gogh, the portraits of the first implementation of semantic transfer; their features are those
of relu3_1. The approximation compares patches by 64 principal components, of 64 of the features, and ranks the eight
best of each exactly; `kept` is its mean correlation over the exact one, `worst` that of a hundredth of the patches.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.encoders import load_encoder
from impasto.losses.matching import Grid, Sources
from impasto.losses.patches import as_grid
from impasto.pictures.files import read_picture
from impasto.pictures.resize import fit, resize
from impasto.synthesis.objective import encode
from measures import table

SIZES = (384, 512, 1024)
LAYER, SIDE = "relu3_1", 3
CHANNELS, COMPONENTS, RANKED = 64, 64, 8
AT_ONCE = 2**25
"""Of products of patches."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    pictures = [read_picture(options.data / "neural-doodle" / f"{name}.jpg") for name in ("Seth", "Gogh")]
    encoder = load_encoder("lite")
    rows = []
    for size in SIZES:
        with torch.no_grad():
            pixels = [resize(one.pixels, *fit(one.height, one.width, size)) for one in pictures]
            rows.append({"size": size, **compared(*(encode(encoder, one, [LAYER])[LAYER].float() for one in pixels))})
        print(rows[-1], flush=True)
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))


def compared(own: Tensor, theirs: Tensor) -> dict[str, Any]:
    """Facts of both ways for features `(1, C, H, W)`."""
    began = time.perf_counter()
    exact = Sources([Grid(as_grid(theirs))], SIDE).nearest(Grid(as_grid(own))).score.flatten()
    seconds = time.perf_counter() - began

    began = time.perf_counter()
    few = [_projected(one, theirs.flatten(2)[0].T, CHANNELS) for one in (own, theirs)]
    patches = [F.unfold(one, SIDE)[0].T for one in few]
    _, vectors = torch.linalg.eigh(patches[1].T @ patches[1])
    small, candidates = (one @ vectors[:, -COMPONENTS:] for one in patches)
    lengths = F.unfold(theirs.square().sum(1, keepdim=True), SIDE)[0].sum(0).sqrt()
    candidates /= lengths[:, None]
    step = max(1, AT_ONCE // len(candidates))
    best = torch.cat([(part @ candidates.T).topk(RANKED, 1, sorted=False).indices for part in small.split(step)])
    score = _ranked(own, theirs, best)
    found = time.perf_counter() - began
    kept = score / exact
    return {
        "patches": len(exact),
        "exact s": round(seconds, 2),
        "approximate s": round(found, 2),
        "kept": round(float(score.mean() / exact.mean()), 4),
        "worst": round(float(kept.sort().values[len(kept) // 100]), 4),
    }


def _projected(features: Tensor, basis: Tensor, count: int) -> Tensor:
    _, vectors = torch.linalg.eigh(basis.T @ basis)
    return torch.einsum("bchw,cd->bdhw", features, vectors[:, -count:])


def _ranked(own: Tensor, theirs: Tensor, best: Tensor) -> Tensor:
    """The highest correlation `(N,)` of each patch with those of its candidates `(N, K)`, some at a time."""
    (height, width), wide = (side - SIDE + 1 for side in own.shape[2:]), theirs.shape[3] - SIDE + 1
    a, b = own[0].permute(1, 2, 0), theirs[0].permute(1, 2, 0)
    row, column = best // wide, best % wide
    total, norm, length = (torch.zeros(best.shape) for _ in range(3))
    for i in range(SIDE):
        for j in range(SIDE):
            mine = a[i : i + height, j : j + width].flatten(0, 1)
            for k in range(best.shape[1]):
                other = b[row[:, k] + i, column[:, k] + j]
                total[:, k] += (mine * other).sum(1)
                norm[:, k] += mine.square().sum(1)
                length[:, k] += other.square().sum(1)
    return (total / (norm * length).sqrt()).amax(1)


if __name__ == "__main__":
    main()

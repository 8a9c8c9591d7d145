"""What options cost per step, beside a plain transfer: several styles, regions, photorealism, tiles.

    python benchmarks/options.py --size 512 --out benchmarks/results/options

On one thread and in CPU time. Variants take turns, a few steps at a time, so that the ratios hold on a noisy machine;
the last of these counts, which finds the memory that the others have asked for (tiles give back that of all variants).
Writes a table (.md) and numbers (.json).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from impasto.machine import Machine
from impasto.methods.transfer import TransferSettings, transfer
from impasto.pictures.files import read_picture
from impasto.synthesis import Objective, Scale, Synthesis
from speed import machine

EXAMPLES = Path(__file__).parents[1] / "examples"
MAP = {"segmentation": str(EXAMPLES / "lighthouse-map.png")}
VARIANTS: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (1, {}),
    "3 styles, one target": (3, {}),
    "3 styles, 3 losses": (3, {"mix": "losses"}),
    "3 regions": (3, {**MAP, "region_styles": "blue:1,red:2,green:3"}),
    "3 regions, soft": (3, {**MAP, "region_styles": "blue:1,red:2,green:3", "feather": 0.02}),
    "2 regions, 1 kept": (3, {**MAP, "region_styles": "blue:1,red:keep,green:3"}),
    "painting on luminance": (1, {"keep_color": "luminance"}),
    "photorealism, full": (1, {"photoreal": "full"}),
}
TILED = "in about four tiles"
TURN = 3
"""Steps of a variant before the next one's, of which the last counts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    torch.set_num_threads(1)
    works = {name: synthesis(options.size, TURN * options.steps, *variant) for name, variant in VARIANTS.items()}
    works[TILED] = in_tiles(synthesis(options.size, TURN * options.steps, 1, {}), options.size // 2)
    runs = {name: iter(work) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.steps):
        for name, run in runs.items():
            for _ in range(TURN - 1):
                next(run)
            began = time.process_time()
            next(run)
            times[name].append(time.process_time() - began)
    seconds = {name: statistics.median(seen) for name, seen in times.items()}
    ratios = {
        name: statistics.median(one / plain for one, plain in zip(seen, times["plain"], strict=True))
        for name, seen in times.items()
    }
    report = {"machine": machine(), "size": options.size, "seconds_per_step": seconds, "ratio": ratios}
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(report))
    print(table(report))


def synthesis(size: int, steps: int, styles: int, settings: dict[str, Any]) -> Synthesis:
    """The work of one variant, at its finest scale alone."""
    names = ("lighthouse", "starry-night", "the-scream", "wheat-field")[: styles + 1]
    content, *paintings = (read_picture(EXAMPLES / f"{name}.jpg") for name in names)
    maps = {"segmentation": read_picture(MAP["segmentation"])} if "segmentation" in settings else {}
    told = TransferSettings.of(size=size, coarsest=size, steps=steps, tolerance=0, **settings)
    return transfer(content, paintings, told, Machine.choose("cpu"), maps).synthesis


def in_tiles(work: Synthesis, tile: int) -> Synthesis:
    """The same work, in tiles with cores of this side."""
    whole = work.objective_at

    def tiled(scale: Scale) -> Objective:
        found = whole(scale)
        return Objective(found.encoder, found.terms, bfloat16=found.bfloat16, tile=tile)

    work.objective_at = tiled
    return work


def table(report: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {1000 * seconds:.0f} | {report['ratio'][name]:.2f} |"
        for name, seconds in report["seconds_per_step"].items()
    ]
    here = report["machine"]
    head = f"{here['processor']}; {report['size']} px, lite, medians of a step, CPU time of one thread\n\n"
    head += "| variant | ms a step | × plain |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()

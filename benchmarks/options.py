"""What options cost per step, beside a plain transfer: several styles, regions, photorealism, tiles.

    python benchmarks/options.py --size 512 --out benchmarks/results/options

Steps of all variants take turns, two in a row of which the second counts, on one thread and in CPU time, so that the
ratios hold on a noisy machine. Writes a table (.md) and numbers (.json).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from impasto.cli import RUNTIME

os.environ.update(RUNTIME)  # as the command line does, before torch is imported

import torch

from impasto.machine import Machine
from impasto.methods.transfer import TransferSettings, transfer
from impasto.pictures.files import read_picture
from impasto.synthesis import Objective
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    torch.set_num_threads(1)
    objectives = {name: objective(options.size, *told) for name, told in VARIANTS.items()}
    objectives[TILED] = objective(options.size, 1, {}, tile=options.size // 2)
    times: dict[str, list[float]] = {name: [] for name in objectives}
    for _ in range(options.rounds):
        for name, (one, picture) in objectives.items():
            step(one, picture)  # asks for the memory that this variant needs
            times[name].append(step(one, picture))
    medians = {name: statistics.median(seen) for name, seen in times.items()}
    report = {"machine": machine(), "size": options.size, "seconds_per_step": medians}
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(report))
    print(table(report))


def step(objective: Objective, picture: torch.Tensor) -> float:
    """Seconds of CPU time."""
    picture.grad = None
    began = time.process_time()
    objective.add_gradient(picture)
    return time.process_time() - began


def objective(
    size: int, styles: int, settings: dict[str, Any], tile: int | None = None
) -> tuple[Objective, torch.Tensor]:
    """The objective of the finest scale, and a picture to look at."""
    names = ("lighthouse", "starry-night", "the-scream", "wheat-field")[: styles + 1]
    content, *paintings = (read_picture(EXAMPLES / f"{name}.jpg") for name in names)
    maps = {"segmentation": read_picture(MAP["segmentation"])} if "segmentation" in settings else {}
    told = TransferSettings.of(size=size, **settings)
    work = transfer(content, paintings, told, Machine.choose("cpu"), maps)
    found = work.synthesis.objective_at(work.synthesis.schedule[-1])
    if tile is not None:
        found = Objective(found.encoder, found.terms, bfloat16=found.bfloat16, tile=tile)
    scale = work.synthesis.schedule[-1]
    picture = torch.rand(1, 3, scale.height, scale.width).contiguous(memory_format=torch.channels_last)
    return found, picture.requires_grad_()


def table(report: dict[str, Any]) -> str:
    medians = report["seconds_per_step"]
    rows = [f"| {name} | {1000 * s:.0f} | {s / medians['plain']:.2f} |" for name, s in medians.items()]
    here = report["machine"]
    head = f"{here['processor']}; {report['size']} px, lite, medians of the CPU time of one thread\n\n"
    head += "| variant | ms a step | × plain |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()

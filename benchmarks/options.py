"""What options cost per step, beside a plain transfer: several styles, regions, photorealism, tiles.

    python benchmarks/options.py --size 512 --out benchmarks/results/options

Each variant is a process of its own, as in a run, on one thread and in CPU time; variants take turns, so that the
ratios hold on a noisy machine. Writes a table (.md) and numbers (.json).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
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
STEPS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in (*VARIANTS, TILED)}
    for _ in range(options.rounds):
        for name, seen in times.items():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seen += pool.apply(steps, (options.size, name))
    medians = {name: statistics.median(seen) for name, seen in times.items()}
    report = {"machine": machine(), "size": options.size, "seconds_per_step": medians}
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(report))
    print(table(report))


def steps(size: int, name: str) -> list[float]:
    """Seconds of CPU time of some steps, after two in which memory is asked for."""
    torch.set_num_threads(1)
    tiled = name == TILED
    one, picture = objective(size, *((1, {}) if tiled else VARIANTS[name]), tile=size // 2 if tiled else None)
    seconds = []
    for _ in range(STEPS + 2):
        picture.grad = None
        began = time.process_time()
        one.add_gradient(picture)
        seconds.append(time.process_time() - began)
    return seconds[2:]


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

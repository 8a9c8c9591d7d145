"""Minutes and peak memory of large prints.

    python benchmarks/prints.py --photo photo.jpg --painting painting.jpg --work prints --out benchmarks/results/prints

The photograph is enlarged to each number of megapixels and painted at its own size by the command line, within
`--memory`. Photographs and prints stay in `--work`, to be looked at. Hours: each print is written down when it is done,
what is written down is not printed again, and what was stopped goes on from its checkpoint (its time then starts anew:
such rows say so).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from speed import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--megapixels", type=float, nargs="+", default=(2, 6, 12, 24))
    parser.add_argument("--steps", type=int, help="a scale; the default's if not given")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--work", type=Path, required=True, help="folder for photographs and prints")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    place = options.out.with_suffix(".json")
    report = json.loads(place.read_text()) if place.exists() else {"machine": machine(), "prints": []}
    for megapixels in options.megapixels:
        wanted = {"megapixels": megapixels, "steps": options.steps, "memory": options.memory}
        if not any(wanted.items() <= row.items() for row in report["prints"]):
            report["prints"].append(wanted | printed(options, megapixels))
            place.write_text(json.dumps(report, indent=1) + "\n")
            options.out.with_suffix(".md").write_text(table(report))
    print(table(report))


def printed(options: argparse.Namespace, megapixels: float) -> dict[str, Any]:
    """Make one print; what the whole process took."""
    photo = options.work / f"photo-{megapixels:g}.jpg"
    if not photo.exists():
        enlarge(options.photo, megapixels, photo)
    name = f"print-{megapixels:g}-{options.steps or 'default'}-{options.memory}"
    out, checkpoint = (options.work / f"{name}{suffix}" for suffix in (".png", ".checkpoint.safetensors"))
    command = [sys.executable, "-m", "impasto"]
    resumed = checkpoint.exists()
    if resumed:
        command += ["resume", str(checkpoint)]
    else:
        steps = [] if options.steps is None else ["--steps", str(options.steps)]
        command += ["transfer", str(photo), str(options.painting), "--size", "full", "--memory", options.memory]
        command += [*steps, "-o", str(out), "--force", "--no-preview"]
    began = time.perf_counter()
    with (options.work / f"{name}.log").open("a") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{name}: failed, see {log.name}")
    with Image.open(out) as picture:
        width, height = picture.size
    return {
        "width": width,
        "height": height,
        "wall_seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "resumed": resumed,
    }


def enlarge(photo: Path, megapixels: float, out: Path) -> None:
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(photo) as opened:
        picture = opened.convert("RGB")
    scale = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    size = round(picture.width * scale), round(picture.height * scale)
    picture.resize(size, Image.Resampling.LANCZOS).save(out, quality=92)


def table(report: dict[str, Any]) -> str:
    rows = [
        f"| {row['megapixels']:g} ({row['width']}×{row['height']}) | {row['steps'] or 'default'} | {row['memory']} "
        f"| {row['wall_seconds'] / 60:.1f} | {row['cpu_seconds'] / 60:.1f} | {row['peak_memory'] / 1e9:.2f} |"
        + (" resumed" if row["resumed"] else "")
        for row in sorted(report["prints"], key=lambda row: (row["steps"] or 0, row["megapixels"]))
    ]
    head = (
        f"{report['machine']}\n\n| megapixels | steps a scale | --memory | minutes | CPU minutes | peak memory, GB |\n"
    )
    return head + "|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()

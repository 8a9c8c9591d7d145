"""Time and memory against size and encoder: per step, and to a finished picture.

    python benchmarks/speed.py --out benchmarks/results/speed

Every measurement runs in a process of its own, so that its peak memory is its own; encoders are measured in turn at
each size, so that their ratios hold on a noisy machine. `vgg19-random` is a VGG-19 trunk with random weights: as
slow as the real one, and needs no download. Writes a table (.md), numbers (.json) and a plot (.png).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
CONTENT, STYLE = EXAMPLES / "lighthouse.jpg", EXAMPLES / "starry-night.jpg"
SIZES = (128, 256, 512, 1024, 2048)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--finished", type=int, nargs="*", default=(384, 512, 1024), help="sizes of whole pictures")
    parser.add_argument("--encoders", nargs="+", default=("lite", "vgg19-random"))
    parser.add_argument("--largest-vgg", type=int, default=1024, help="beyond it the VGG-19 takes minutes a step")
    parser.add_argument("--child", nargs=2, metavar=("ENCODER", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure_steps(options.child[0], int(options.child[1]))))
        return
    steps = [
        in_child(encoder, size)
        for size in options.sizes
        for encoder in options.encoders
        if encoder == "lite" or size <= options.largest_vgg
    ]
    finished = [finish(size, preset) for size in options.finished for preset in presets_at(size)]
    report = {"machine": machine(), "steps": steps, "finished": finished}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(report))
    plot(report, options.out.with_suffix(".png"))
    print(table(report))


def measure_steps(encoder: str, size: int) -> dict[str, Any]:
    """Median seconds of a step at one size, and the peak memory of this process."""
    import torch

    from impasto.encoders.vgg import VGG, Configuration
    from impasto.machine import Machine
    from impasto.memory import peak_memory
    from impasto.methods import transfer as method
    from impasto.pictures.files import read_picture

    if encoder == "vgg19-random":
        torch.manual_seed(0)
        random = VGG(Configuration("vgg19-random", (64, 128, 256, 512, 512))).eval().requires_grad_(False)
        random = random.to(memory_format=torch.channels_last)
        method.load_encoder = lambda *_, **__: random  # type: ignore[assignment]
        encoder = "lite"
        name = "vgg19-random"
    else:
        name = encoder
    machine_ = Machine.choose("auto")
    steps = 16 if size <= 512 else 5
    settings = method.TransferSettings.of(size=size, coarsest=size, steps=steps, encoder=encoder, tolerance=0)
    work = method.transfer(read_picture(CONTENT), [read_picture(STYLE)], settings, machine_)
    times = []
    clock = time.perf_counter()
    for step in work.synthesis:
        times.append(time.perf_counter() - clock)
        pixels = step.width * step.height
        clock = time.perf_counter()
    seconds = statistics.median(times[1:])
    return {
        "encoder": name,
        "size": size,
        "pixels": pixels,
        "seconds": seconds,
        "peak_memory": peak_memory(machine_.device),
        "device": machine_.describe(),
    }


def in_child(encoder: str, size: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--out", "-", "--child", encoder, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stdout.strip(), file=sys.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def presets_at(size: int) -> tuple[str, ...]:
    return ("sketch", "balanced") if size <= 512 else ("balanced",)


def finish(size: int, preset: str) -> dict[str, Any]:
    """Wall time from command to file, the same within, and the peak memory, of one whole picture."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.png"
        command = [sys.executable, "-m", "impasto", "transfer", str(CONTENT), str(STYLE), "-o", str(out), "--json"]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, "--size", str(size), "--preset", preset], capture_output=True, text=True, check=True
        )
        wall = time.perf_counter() - began
    result = json.loads(done.stdout.splitlines()[-1])
    row = {"size": size, "preset": preset, "wall_seconds": wall, **{k: result[k] for k in ("seconds", "peak_memory")}}
    print(json.dumps(row), file=sys.stderr)
    return row


def machine() -> dict[str, Any]:
    import torch

    return {
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['machine']}",
        "",
        "| size | encoder | ms a step | µs a pixel | peak memory, GB |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['size']} | {row['encoder']} | {1e3 * row['seconds']:.0f} | {1e6 * row['seconds'] / row['pixels']:.2f} "
        f"| {row['peak_memory'] / 1e9:.2f} |"
        for row in report["steps"]
    ]
    lines += [
        "",
        "| size | preset | command to file, s | of that, painting, s | peak memory, GB |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['size']} | {row['preset']} | {row['wall_seconds']:.1f} | {row['seconds']:.1f} "
        f"| {row['peak_memory'] / 1e9:.2f} |"
        for row in report["finished"]
    ]
    return "\n".join(lines) + "\n"


def plot(report: dict[str, Any], path: Path) -> None:
    """Time and memory against megapixels; straight lines of slope 1 are linear cost."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time_panel, memory_panel = figure.subplots(1, 2)
    for encoder in dict.fromkeys(row["encoder"] for row in report["steps"]):
        rows = [row for row in report["steps"] if row["encoder"] == encoder]
        megapixels = [row["pixels"] / 1e6 for row in rows]
        time_panel.plot(megapixels, [row["seconds"] for row in rows], marker="o", label=encoder)
        memory_panel.plot(megapixels, [row["peak_memory"] / 1e9 for row in rows], marker="o", label=encoder)
    time_panel.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="seconds a step")
    memory_panel.set(xlabel="megapixels", ylabel="peak memory, GB")
    for panel in (time_panel, memory_panel):
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

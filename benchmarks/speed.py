"""Time and memory against size and encoder: per step, and to a finished picture.

    python benchmarks/speed.py --out benchmarks/results/speed

Every measurement runs in a process of its own, so that its peak memory is its own. How many times as fast one encoder
is as the other is measured in one process, a few steps of each in turn: the machine is noisy. `vgg19-random` is a
VGG-19 trunk with random weights: as slow as the real one, and needs no download. Writes a table (.md), numbers (.json)
and a plot (.png).
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
TURNS = "turns"
ROUNDS, STEPS_A_TURN = 14, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--finished", type=int, nargs="*", default=(384, 512, 1024), help="sizes of whole pictures")
    parser.add_argument("--encoders", nargs="+", default=("lite", "vgg19-random"))
    parser.add_argument("--ratio-at", type=int, default=512, help="size at which encoders take turns")
    parser.add_argument("--largest-vgg", type=int, default=1024, help="beyond it the VGG-19 takes minutes a step")
    parser.add_argument("--child", nargs=2, metavar=("ENCODER", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        encoder, size = options.child[0], int(options.child[1])
        print(json.dumps(take_turns(size) if encoder == TURNS else measure_steps(encoder, size)))
        return
    turns = in_child(TURNS, options.ratio_at)
    steps = [
        in_child(encoder, size)
        for size in options.sizes
        for encoder in options.encoders
        if encoder == "lite" or size <= options.largest_vgg
    ]
    finished = [finish(size, preset) for size in options.finished for preset in presets_at(size)]
    report = {"machine": machine(), "turns": turns, "steps": steps, "finished": finished}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(report))
    plot(report, options.out.with_suffix(".png"))
    print(table(report))


def measure_steps(encoder: str, size: int) -> dict[str, Any]:
    """Median seconds of a step at one size, and the peak memory of this process."""
    from impasto.machine import Machine
    from impasto.memory import peak_memory

    machine_ = Machine.choose("auto")
    times = []
    clock = time.perf_counter()
    for step in synthesis(encoder, size, 16 if size <= 512 else 5, machine_):
        times.append(time.perf_counter() - clock)
        pixels = step.width * step.height
        clock = time.perf_counter()
    return {
        "encoder": encoder,
        "size": size,
        "pixels": pixels,
        "seconds": statistics.median(times[1:]),
        "peak_memory": peak_memory(machine_.device),
        "device": machine_.describe(),
    }


def take_turns(size: int) -> dict[str, Any]:
    """Seconds of the steps of `lite` and of VGG-19 that follow one of their own, and how they compare."""
    from impasto.machine import Machine

    machine_ = Machine.choose("auto")
    encoders = ("lite", "vgg19-random")
    running = {name: iter(synthesis(name, size, (ROUNDS + 1) * STEPS_A_TURN, machine_)) for name in encoders}
    times: dict[str, list[float]] = {name: [] for name in encoders}
    for turn in range(ROUNDS + 1):
        for name, steps in running.items():
            for step in range(STEPS_A_TURN):
                clock = time.perf_counter()
                next(steps)
                if turn and step:
                    times[name].append(time.perf_counter() - clock)
    ours, theirs = times.values()
    return {
        "size": size,
        "ratio": statistics.median(theirs) / statistics.median(ours),
        "ratio_of_fastest": min(theirs) / min(ours),
        "seconds": times,
    }


def synthesis(name: str, size: int, steps: int, machine_: Any) -> Any:
    """Steps of a transfer at one scale."""
    import torch

    from impasto.encoders import load_encoder
    from impasto.encoders.vgg import VGG, Configuration
    from impasto.methods import transfer as method
    from impasto.pictures.files import read_picture

    if name == "vgg19-random":
        torch.manual_seed(0)
        encoder = VGG(Configuration(name, (64, 128, 256, 512, 512))).eval().requires_grad_(False)
        encoder = encoder.to(memory_format=torch.channels_last)
    else:
        encoder = load_encoder(name)
    method.load_encoder = lambda *_, **__: encoder  # type: ignore[assignment]
    settings = method.TransferSettings.of(size=size, coarsest=size, steps=steps, tolerance=0)
    return method.transfer(read_picture(CONTENT), [read_picture(STYLE)], settings, machine_).synthesis


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
        "At {size} px, in turn in one process, a step of lite is {ratio:.2f} times as fast as one of VGG-19 to relu5_1 "
        "(medians; the fastest steps: {ratio_of_fastest:.2f}).".format_map(report["turns"]),
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

"""Runs of a training: their common options, reports and checkpoints."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crops import read_pictures

HELD_OUT = 96


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders, searched deeply")
    parser.add_argument("--art", type=Path, nargs="+", required=True, help="the same of paintings")
    parser.add_argument("--teachers", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--decay", type=float, default=0.6, help="last share of the steps, with falling rate")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128, help="pixels")
    parser.add_argument("--echo", type=int, default=2, help="steps per batch that the teachers look at")
    parser.add_argument("--paint", type=int, default=120, help="steps between paintings to learn from")
    parser.add_argument("--report", type=int, default=250, help="steps between reports and checkpoints")
    parser.add_argument("--device", default="cpu", help="cpu, cuda …; on a GPU, larger batches and --echo 1")
    parser.add_argument("--bfloat16", action="store_true", help="where the processor knows it: a third less time")
    parser.add_argument("--seed", type=int, default=0)


def begin(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    print("options", vars(options), flush=True)


@dataclass(frozen=True)
class Pictures:
    """To learn from, held out, and the photographs among them, which units are measured on."""

    learned: list[Tensor]
    held_out: list[Tensor]
    photos: list[Tensor]

    @classmethod
    def read(cls, options: argparse.Namespace) -> Pictures:
        photos = read_pictures(options.photos)
        pictures = [picture.to(options.device) for picture in [*read_pictures(options.art), *photos]]
        random.Random(0).shuffle(pictures)
        print(f"{len(pictures) - HELD_OUT} pictures to learn from, {HELD_OUT} held out", flush=True)
        return cls(pictures[HELD_OUT:], pictures[:HELD_OUT], photos)


def learning_rate(step: int, options: argparse.Namespace) -> float:
    """Short warm-up, constant, then linear to zero over the last `decay` of the steps."""
    return min(1.0, (step + 1) / 200, (options.steps - step) / (options.decay * options.steps))


@torch.no_grad()
def average_in(average: torch.nn.Module, student: torch.nn.Module, step: int, longest: float) -> None:
    """Let an exponential average of the weights follow the student."""
    decay = min(longest, (step + 1) / (step + 10))
    for a, p in zip(average.parameters(), student.parameters(), strict=True):
        a.lerp_(p, 1 - decay)


class Running:
    """Losses of late, averaged."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        for name, value in zip(losses, torch.stack([*losses.values()]).tolist(), strict=True):
            self.values[name] = 0.98 * self.values.get(name, value) + 0.02 * value


def report(
    out: Path, step: int, seconds: float, rate: float, training: Mapping[str, float], held_out: Mapping[str, float]
) -> None:
    line = {"step": step, "seconds": round(seconds), "rate": round(rate, 3)}
    line["held_out"] = {name: round(value, 4) for name, value in held_out.items()}
    line["training"] = {name: round(value, 4) for name, value in training.items()}
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    shown = " ".join(f"{name.replace('relu', '')} {value:.3f}" for name, value in held_out.items())
    print(step, f"{seconds:.0f}s", shown, flush=True)


def save(run: Path, state: Mapping[str, Any]) -> None:
    torch.save(state, run / "checkpoint.tmp")
    (run / "checkpoint.tmp").replace(run / "checkpoint.pt")


def load(run: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The checkpoint of a run."""
    state: dict[str, Any] = torch.load(run / "checkpoint.pt", weights_only=True, map_location=device)
    return state


def go_on(optimiser: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Take an optimiser's moments from a checkpoint, but not its rates."""
    rates = [group["lr"] for group in optimiser.param_groups]
    optimiser.load_state_dict(saved)
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate

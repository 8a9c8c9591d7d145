"""Train one of the two trunks of `lite`, which predict their teachers' features through 1x1 heads.

    python training/distill.py shallow --photos PHOTOS --art ART --teachers TEACHERS --out shallow --steps 20000
    python training/distill.py deep --first shallow … --out deep --steps 20000
    python training/distill.py shallow … --grow-from lite.safetensors --widths 16 64 128 --out narrow --steps 5000

The shallow one learns the first layers of the original VGG-19; the deep one, which branches off it before its second
block, those of the reduced VGG-19 beyond. Each learns all its teacher's layers on the way, not only those that are
wanted. What comes after is `together.py`.

Random initialisation, fixed seed. Every target channel is in units of its standard deviation, so the loss of a layer
is the share of the teacher's variance that is left unexplained. The heads are rectified as the teacher is. Most of the
weight goes to channels as losses weigh them, that is in units of their mean activation over photographs: a few rarely
active ones carry most of it, and uniform weights leave just those unlearned. The Gram matrices themselves are
compared: a prediction that is right on average of what cannot be known is too weak, and painted pictures would be as
weak.
Convolutions are trained with Muon (momentum, orthogonalised per matrix), everything else with AdamW; the weights
that count are an exponential average. Half of the crops are what an optimiser made of others by the student's own
features, or by the reduced teacher's (`painted.py`).
A checkpoint every few minutes; starting again with the same --out goes on from it, and a changed --steps moves the end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from crops import augmented_crops, natural_crops, plain_crops
from impasto.encoders import load_encoder
from impasto.encoders.vgg import VGG, Configuration, joined
from lessons import Aims, Lessons, Teacher, residuals
from muon import Muon
from runs import Pictures, Running, average_in, go_on, learning_rate, load, options_of, report, save
from student import Student, TrainableVGG, adopt, encoder_of, first_trunk, grow, student_of
from teachers import DEEP_LAYERS, exact_teacher, reduced_teacher


@dataclass(frozen=True)
class Plan:
    """What a trunk is to be, and to learn."""

    widths: tuple[int | tuple[int, ...], ...]
    convolutions: tuple[int, ...]
    aims: Aims
    first_block: int = 1

    def configuration(self, widths: Sequence[int | tuple[int, ...]]) -> Configuration:
        return Configuration(
            "lite", tuple(widths), self.convolutions, padding="replicate", first_block=self.first_block
        )


PLANS = {
    "shallow": Plan(
        ((24, 16), 64, 128),
        (2, 2, 1),
        Aims(
            {"relu1_1": 2.0, "relu1_2": 1.0, "relu2_1": 3.0, "relu2_2": 2.0, "relu3_1": 6.0},
            {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 2.0},
        ),
    ),
    "deep": Plan(
        (32, (64, 64, 48, 48), (112, 96, 80, 128), 112),
        (2, 4, 4, 1),
        Aims(
            dict.fromkeys(DEEP_LAYERS, 1.0) | {"relu2_2": 2.0, "relu4_2": 4.0},
            {"relu4_1": 0.5, "relu5_1": 0.5},
        ),
        first_block=2,
    ),
}
EXAMPLES = 24
"""Batches of 16 crops that tell what the normalisations of an exported trunk were."""
BATCHES_TO_SETTLE = 320
"""Of crops, over which the statistics of normalisations are measured at the end."""


def main() -> None:
    options = parse()
    plan = PLANS[options.trunk]
    pictures = Pictures.read(options)
    # Padded as the students are: what these have not learnt of the border, an optimiser fills with noise.
    exact, reduced = (t(options.teachers).with_padding("replicate") for t in (exact_teacher, reduced_teacher))
    reduced = reduced.to(options.device)
    teach = Teacher(exact.to(options.device) if options.trunk == "shallow" else deepcopy(reduced), plan.aims)
    teach.standardise(natural_crops(pictures.photos, options.device))

    first = None if options.trunk == "shallow" else revived("shallow", options.first).trunk.requires_grad_(False)
    student, average = (
        Student(plan.configuration(options.widths or plan.widths), teach.widths, first).to(options.device)
        for _ in range(2)
    )
    if options.grow_from is not None:
        grow(student, beginning(options, teach, pictures.learned, first))
    average.load_state_dict(student.state_dict())
    matrices = [p for p in student.trunk.parameters() if p.ndim == 4]
    others = [p for p in student.parameters() if p.requires_grad and not any(p is m for m in matrices)]
    adam = torch.optim.AdamW(others, lr=4e-3, betas=(0.9, 0.99), weight_decay=0.0)
    optimisers: list[torch.optim.Optimizer] = [Muon(matrices, lr=options.lr), adam]
    start = resume(options.out, student, average, optimisers)

    test = [
        (x := plain_crops(pictures.held_out[i : i + 16], 128), teach(x)) for i in range(0, len(pictures.held_out), 16)
    ]
    if options.bfloat16:
        teach.model.bfloat16()
    lessons = Lessons(pictures.learned, teach, reduced, batch=options.batch, size=options.crop, echo=options.echo)
    bases = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    running = Running()
    began = time.time()
    for step in range(start, options.steps):
        rate = learning_rate(step, options)
        for optimiser, base in zip(optimisers, bases, strict=True):
            for group, lr in zip(optimiser.param_groups, base, strict=True):
                group["lr"] = lr * rate
        if step % options.paint == 0 and lessons.begun:
            average.measure_norms(lessons.crops_of_late(8))
            own = encoder_of(average, teach.moments)
            pair = joined(own, reduced) if average.first is None else joined(average.first.folded(), own)
            lessons.paint(pair.requires_grad_(False))
        crops, targets = lessons.at(step)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.bfloat16):
            predictions = student(crops, targets)
        losses = teach.losses(predictions, targets)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        teach.total(losses).backward()
        for optimiser in optimisers:
            optimiser.step()
        average_in(average, student, step, longest=0.998)
        running.add(losses)
        if (step + 1) % options.report == 0 or step + 1 == options.steps:
            # Those of a few hundred crops cost what hours of training gain, so that there are many in the end.
            last = step + 1 == options.steps
            average.measure_norms(
                [lessons.crops() for _ in range(BATCHES_TO_SETTLE)] if last else lessons.crops_of_late()
            )
            report(options.out, step + 1, time.time() - began, rate, running.values, evaluate(average, test, teach))
            state = {"step": step + 1, "student": student.state_dict(), "average": average.state_dict()}
            save(options.out, state | {"moments": teach.moments, "optimisers": [o.state_dict() for o in optimisers]})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("trunk", choices=[*PLANS])
    parser.add_argument("--first", type=Path, help="the run of the trunk that the deep one branches off")
    parser.add_argument("--widths", type=widths, nargs="+", help="of blocks, or a,b,… in a block")
    parser.add_argument("--grow-from", type=Path, help="run or weights to begin with, perhaps of other widths")
    parser.add_argument("--lr", type=float, default=0.02, help="of the convolutions")
    options = options_of(parser)
    if (options.trunk == "deep") != (options.first is not None):
        parser.error("--first is needed by the deep trunk, and only by it")
    return options


def widths(text: str) -> int | tuple[int, ...]:
    """`128`, or those of each convolution: `128,72,72,72`."""
    found = tuple(map(int, text.split(",")))
    return found if len(found) > 1 else found[0]


def beginning(
    options: argparse.Namespace, teach: Teacher, pictures: list[Tensor], first: VGG | None
) -> dict[str, Tensor]:
    """The weights of the student to begin with, of a run or of an encoder that was exported."""
    if options.grow_from.is_dir():
        other = revived(options.trunk, options.grow_from)
    else:
        encoder = load_encoder(options.grow_from)
        own, sees = (encoder, None) if options.trunk == "shallow" else (encoder.below, first_trunk(encoder))
        if own is None:
            raise SystemExit(f"{options.grow_from}: has no second trunk")
        crops = [augmented_crops(pictures, 16, options.crop) for _ in range(EXAMPLES)]
        other = student_of(own, sees, teach.moments, [(x, teach(x)) for x in crops])
    if first is not None:
        adopt(other, first, plain_crops(pictures[:16], 128))
    return other.to(options.device).state_dict()


def revived(trunk: str, run: Path) -> Student:
    """The averaged student of a run, at the widths that its weights have."""
    saved = load(run)
    weights, moments = saved["average"], saved["moments"]
    heads = {layer: mean.shape[1] for layer, (mean, _) in moments.items()}
    seen = {name.removeprefix("first."): value for name, value in weights.items() if name.startswith("first.")}
    first = TrainableVGG(PLANS["shallow"].configuration(widths_of(seen, ""))) if seen else None
    student = Student(PLANS[trunk].configuration(widths_of(weights, "trunk.")), heads, first)
    student.load_state_dict(weights)
    return student.eval()


def widths_of(weights: Mapping[str, Tensor], prefix: str) -> list[tuple[int, ...]]:
    """Of the blocks of a trunk, from its convolutions' weights."""
    names = [n for n in weights if n.startswith(f"{prefix}convolutions.") and n.endswith("weight")]
    channels = [(name.removeprefix(prefix).split(".")[1].split("_")[0], len(weights[name])) for name in names]
    return [tuple(n for block, n in channels if block == one) for one in dict.fromkeys(block for block, _ in channels)]


def resume(run: Path, student: Student, average: Student, optimisers: Sequence[torch.optim.Optimizer]) -> int:
    if not (run / "checkpoint.pt").exists():
        return 0
    state = load(run, next(student.parameters()).device)
    student.load_state_dict(state["student"])
    average.load_state_dict(state["average"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        go_on(optimiser, saved)
    return int(state["step"])


@torch.no_grad()
def evaluate(student: Student, test: list[tuple[Tensor, dict[str, Tensor]]], teach: Teacher) -> dict[str, float]:
    """The unexplained share of each layer of held-out pictures."""
    found = [residuals(student(x, targets), targets, teach.weights) for x, targets in test]
    return {layer: sum(float(one[layer]) for one in found) / len(found) for layer in student.heads}


if __name__ == "__main__":
    main()

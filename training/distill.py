"""Train one of the two trunks of `lite`, which predict their teachers' features through 1x1 heads.

    python training/distill.py shallow --photos PHOTOS --art ART --teachers TEACHERS --out shallow --steps 20000
    python training/distill.py deep --first shallow … --out deep --steps 5000
    python training/distill.py deep --first shallow … --grow-from deep --still --lr 0.004 --out last --steps 12000
    python training/distill.py shallow … --grow-from lite.safetensors --widths 16 64 128 --out narrow --steps 5000

The shallow one learns the first layers of the original VGG-19; the deep one, which branches off it before its second
block, those of the reduced VGG-19 beyond. Each learns all its teacher's layers on the way, not only those that are
wanted. In the last phase the statistics of normalisations stay: batches of eight pictures, half of them painted, have
statistics of their own, and what a student learns of features with these is half lost with others.

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
from impasto.encoders.storage import save_encoder
from impasto.encoders.vgg import VGG, Configuration, joined
from lessons import Aims, Lessons, Teacher, residuals
from muon import Muon
from runs import Pictures, Running, add_options, average_in, begin, go_on, learning_rate, load, report, save
from student import Moments, Student, adopt, encoder_of, first_trunk, grow, student_of
from teachers import DEEP_LAYERS, exact_teacher, reduced_teacher


@dataclass(frozen=True)
class Plan:
    """What a trunk is to be, and to learn."""

    widths: tuple[int | tuple[int, ...], ...]
    convolutions: tuple[int, ...]
    aims: Aims
    last_aims: Aims
    """While statistics stay."""
    readouts: Mapping[str, int]
    """The layers that are wanted, and the most channels of each."""
    first_block: int = 1

    def configuration(self, widths: Sequence[int | tuple[int, ...]]) -> Configuration:
        return Configuration(
            "lite", tuple(widths), self.convolutions, padding="replicate", first_block=self.first_block
        )


PLANS = {
    "shallow": Plan(
        (24, 64, 128),
        (2, 2, 1),
        Aims(
            {"relu1_1": 2.0, "relu1_2": 1.0, "relu2_1": 3.0, "relu2_2": 2.0, "relu3_1": 6.0},
            {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 2.0},
        ),
        Aims(
            {"relu1_1": 1.0, "relu1_2": 1.0, "relu2_1": 3.0, "relu2_2": 0.5, "relu3_1": 8.0},
            {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 2.0},
        ),
        {"relu2_1": 96, "relu2_2": 128, "relu3_1": 224},
    ),
    "deep": Plan(
        (32, 48, (96, 80, 64, 96), 96),
        (2, 4, 4, 1),
        Aims(
            dict.fromkeys(DEEP_LAYERS, 1.0) | {"relu2_2": 2.0, "relu4_2": 4.0},
            {"relu4_1": 0.5, "relu5_1": 0.5},
        ),
        Aims(
            {
                "relu2_1": 1.0,
                "relu2_2": 0.5,
                "relu3_1": 0.5,
                "relu3_2": 0.25,
                "relu3_4": 0.5,
                "relu4_1": 2.0,
                "relu4_2": 6.0,
                "relu4_4": 0.25,
                "relu5_1": 2.0,
            },
            {"relu4_1": 0.5, "relu5_1": 0.5},
        ),
        dict.fromkeys(("relu3_4", "relu4_1", "relu4_2", "relu4_4", "relu5_1"), 128),
        first_block=2,
    ),
}
FIRST = "first.safetensors"
"""In a run of the deep trunk, the one that it branches off."""
EXAMPLES = 24
"""Batches of 16 crops that tell what the normalisations of an exported trunk were."""
BATCHES_TO_SETTLE = 320
"""Of crops, over which the statistics of normalisations are measured at the end."""


def main() -> None:
    options = parse()
    begin(options)
    plan = PLANS[options.trunk]
    pictures = Pictures.read(options)
    # Padded as the students are: what these have not learnt of the border, an optimiser fills with noise.
    exact, reduced = (t(options.teachers).with_padding("replicate") for t in (exact_teacher, reduced_teacher))
    reduced = reduced.to(options.device)
    model = exact.to(options.device) if options.trunk == "shallow" else deepcopy(reduced)
    configuration = plan.configuration(options.widths or plan.widths)
    kept = first_layers(configuration, options.keep)
    aims = plan.last_aims if options.still else plan.aims
    teach = Teacher(model, aims.without(kept))
    teach.standardise(natural_crops(pictures.photos, options.device))

    first = None if options.first is None else first_of(options.first, options.device)
    if first is not None:
        save_encoder(first, options.out / FIRST, dtype=torch.float32)
    student, average = (Student(configuration, teach.widths, first).to(options.device) for _ in range(2))
    if options.grow_from is not None:
        grow(student, beginning(options, teach, pictures.learned, first))
    for layer in kept:
        student.trunk.convolution(layer).requires_grad_(False)
        student.trunk.norms[layer].requires_grad_(False)
    average.load_state_dict(student.state_dict())
    student.train(not options.still)
    average.eval()
    learning = [p for p in student.parameters() if p.requires_grad]
    matrices = [p for p in student.trunk.parameters() if p.ndim == 4 and p.requires_grad]
    others = [p for p in learning if not any(p is m for m in matrices)]
    adam = torch.optim.AdamW(others, lr=options.lr / 5, betas=(0.9, 0.99), weight_decay=0.0)
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
            if not options.still:
                average.measure_norms(lessons.crops_of_late(8))
            own = encoder_of(average, teach.moments, plan.readouts)
            lessons.paint(joined(own, reduced) if first is None else joined(first, own))
        crops, targets = lessons.at(step)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.bfloat16):
            predictions = student(crops, targets)
        losses = teach.losses(predictions, targets)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        teach.total(losses).backward()
        for optimiser in optimisers:
            optimiser.step()
        average_in(average, student, step, longest=0.99 if options.still else 0.998)
        running.add(losses)
        if (step + 1) % options.report == 0 or step + 1 == options.steps:
            if not options.still:
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
    parser.add_argument("--first", type=Path, help="run or weights of the trunk that the deep one branches off")
    parser.add_argument("--widths", type=widths, nargs="+", help="of blocks, or a,b,… in a block")
    parser.add_argument("--grow-from", type=Path, help="run or weights to begin with, perhaps of other widths")
    parser.add_argument("--still", action="store_true", help="last phase: the statistics of normalisations stay")
    parser.add_argument("--keep", metavar="LAYER", help="this and those before it stay as they are")
    parser.add_argument("--lr", type=float, default=0.02, help="of the convolutions")
    add_options(parser)
    options = parser.parse_args()
    if (options.trunk == "deep") != (options.first is not None):
        parser.error("--first is needed by the deep trunk, and only by it")
    if options.still and options.grow_from is None:
        parser.error("--still goes on from what --grow-from names")
    if options.keep is not None and not options.still:
        parser.error("--keep needs --still: statistics of batches would change what follows")
    return options


def first_layers(configuration: Configuration, last: str | None) -> tuple[str, ...]:
    """Of a trunk, up to this one."""
    if last is None:
        return ()
    if last not in configuration.layers:
        raise SystemExit(f"--keep: no layer {last}; there are {', '.join(configuration.layers)}")
    return configuration.layers[: configuration.layers.index(last) + 1]


def widths(text: str) -> int | tuple[int, ...]:
    """`128`, or those of each convolution: `128,72,72,72`."""
    found = tuple(map(int, text.split(",")))
    return found if len(found) > 1 else found[0]


def first_of(source: Path, device: str) -> VGG:
    """The trunk that another is to branch off: that of a run, or the first of weights that were exported."""
    if source.is_dir():
        return encoder_of(*revived("shallow", source, device), PLANS["shallow"].readouts)
    return first_trunk(load_encoder(source)).to(device)


def beginning(
    options: argparse.Namespace, teach: Teacher, pictures: list[Tensor], first: VGG | None
) -> dict[str, Tensor]:
    """The weights of the student to begin with, of a run or of an encoder that was exported."""
    crops = [augmented_crops(pictures, 16, options.crop) for _ in range(EXAMPLES)]
    if options.grow_from.is_dir():
        other, _ = revived(options.trunk, options.grow_from, options.device)
    else:
        encoder = load_encoder(options.grow_from).to(options.device)
        own, sees = (encoder, None) if first is None else (branch_of(encoder, options.grow_from), first_trunk(encoder))
        other = student_of(own, sees, teach.moments, [(x, teach(x)) for x in crops])
    if first is not None:
        adopt(other, first, crops)
    return other.state_dict()


def branch_of(encoder: VGG, path: Path) -> VGG:
    if encoder.below is None or encoder.below.configuration.first_block == 1:
        raise SystemExit(f"{path}: has no second trunk that branches off")
    return encoder.below


def revived(trunk: str, run: Path, device: str) -> tuple[Student, dict[str, Moments]]:
    """The averaged student of a run, at the widths that its weights have, and its teacher's moments."""
    saved = load(run, device)
    weights, moments = saved["average"], saved["moments"]
    heads = {layer: mean.shape[1] for layer, (mean, _) in moments.items()}
    first = load_encoder(run / FIRST).to(device) if (run / FIRST).exists() else None
    student = Student(PLANS[trunk].configuration(widths_of(weights)), heads, first)
    student.load_state_dict(weights)
    return student.to(device).eval(), moments


def widths_of(weights: Mapping[str, Tensor]) -> list[tuple[int, ...]]:
    """Of the blocks of a trunk, from its convolutions' weights."""
    names = [n for n in weights if n.startswith("trunk.convolutions.") and n.endswith("weight")]
    channels = [(name.split(".")[2].split("_")[0], len(weights[name])) for name in names]
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

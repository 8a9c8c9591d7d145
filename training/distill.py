"""Train one of the two trunks of `lite`, which predict their teachers' features through 1x1 heads.

    python training/distill.py shallow --photos PHOTOS --art ART --teachers TEACHERS --out shallow --steps 20000
    python training/distill.py deep --photos PHOTOS --art ART --teachers TEACHERS --out deep --steps 20000
    python training/distill.py deep … --grow-from deep --still --out deep-still --steps 3000
    python training/distill.py shallow … --grow-from lite.safetensors --widths 16 64 128 --out narrow

The shallow one learns the first layers of the original VGG-19, the deep one those of the reduced VGG-19 beyond. Each
learns all its teacher's layers on the way, not only those that are wanted; the deep one has none at full resolution.

Random initialisation, fixed seed. Every target channel is in units of its standard deviation, so the loss of a layer
is the share of the teacher's variance that is left unexplained. The heads are rectified as the teacher is. Most of the
weight goes to channels as losses weigh them, that is in units of their mean activation over photographs: a few rarely
active ones carry most of it, and uniform weights leave just those unlearned. The Gram matrices themselves are
compared: a prediction that is right on average of what cannot be known is too weak, and painted pictures would be as
weak.
Convolutions are trained with Muon (momentum, orthogonalised per matrix), everything else with AdamW; the weights
that count are an exponential average. Half of the crops are what an optimiser made of others by the student's own
features, or by the reduced teacher's (`painted.py`). In the last phase (`--still`) the statistics of normalisations are
measured on many crops and stay, and Adam trains everything: batches of eight pictures, half of them painted, have
statistics of their own, and what the student learns of features with these is half lost with others.
A checkpoint every few minutes; starting again with the same --out goes on from it, and a changed --steps moves the end.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crops import augmented_crops, natural_crops, plain_crops, read_pictures
from impasto.encoders import load_encoder
from impasto.encoders.vgg import VGG, Configuration, joined
from impasto.losses.gram import gram
from muon import Muon
from painted import Painted
from student import Student, encoder_of, grow, imitate_beginning, sparse, student_of, unit_of
from teachers import DEEP_LAYERS, exact_teacher, reduced_teacher

HELD_OUT = 96


@dataclass(frozen=True)
class Plan:
    """What a trunk is to be, and to learn: weights of the losses of layers, and of those of Gram matrices."""

    widths: tuple[int | tuple[int, ...], ...]
    convolutions: tuple[int, ...]
    layers: Mapping[str, float]
    grams: Mapping[str, float]
    first_block: int = 1

    @property
    def count(self) -> dict[str, float]:
        return {**self.layers, **{f"gram of {layer}": weight for layer, weight in self.grams.items()}}

    def configuration(self, widths: Sequence[int | tuple[int, ...]]) -> Configuration:
        return Configuration(
            "lite", tuple(widths), self.convolutions, padding="replicate", first_block=self.first_block
        )


PLANS = {
    "shallow": Plan(
        (24, 64, 128),
        (2, 2, 1),
        {"relu1_1": 2.0, "relu1_2": 1.0, "relu2_1": 3.0, "relu2_2": 2.0, "relu3_1": 6.0},
        {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 2.0},
    ),
    "deep": Plan(
        (32, 64, 128, 128),
        (2, 4, 4, 1),
        dict.fromkeys(DEEP_LAYERS, 1.0) | {"relu2_2": 2.0, "relu4_2": 4.0},
        {"relu4_1": 0.5, "relu5_1": 0.5},
        first_block=2,
    ),
}
EVENLY = 0.2
"""Share of the weight that all channels have alike."""
BY_TEACHER = 0.4  # of the paintings to learn from
EXAMPLES = 24
"""Batches of 16 crops that tell what the normalisations of an exported trunk were."""
ROUNDS_TO_SETTLE, BATCHES_TO_SETTLE = 6, 320
"""Of paintings and of crops over which the statistics of normalisations are measured before they stay."""


def main() -> None:
    options = parse()
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    print("options", vars(options), flush=True)

    plan = PLANS[options.trunk]
    photos = read_pictures(options.photos)
    pictures = [picture.to(options.device) for picture in [*read_pictures(options.art), *photos]]
    random.Random(0).shuffle(pictures)
    held_out, pictures = pictures[:HELD_OUT], pictures[HELD_OUT:]
    print(f"{len(pictures)} pictures to learn from, {len(held_out)} held out", flush=True)
    # Padded as the students are: what these have not learnt of the border, an optimiser fills with noise.
    exact, reduced = (t(options.teachers).with_padding("replicate") for t in (exact_teacher, reduced_teacher))
    reduced = reduced.to(options.device)
    teach = Teacher(exact.to(options.device) if options.trunk == "shallow" else deepcopy(reduced), plan.layers)
    teach.standardise(natural_crops(photos, options.device))

    configuration = plan.configuration(options.widths or plan.widths)
    first = first_trunk(load_encoder(options.first)).to(options.device) if plan.first_block > 1 else None
    student, average = (Student(configuration, teach.widths, first).to(options.device) for _ in range(2))
    if options.grow_from is not None:
        begin(student, options, teach, pictures)
    average.load_state_dict(student.state_dict())
    optimisers = optimisers_of(student, options)
    start = resume(options.out, student, average, *optimisers)

    test = [(x := plain_crops(held_out[i : i + 16], 128), teach(x)) for i in range(0, HELD_OUT, 16)]
    if options.bfloat16:
        teach.model.bfloat16()
    lessons = Lessons(pictures, teach, reduced, options)
    if options.still:
        for module in (student, average):
            module.eval()
        for _ in range(ROUNDS_TO_SETTLE):
            lessons.paint(average)
        if start == 0 and not (options.grow_from and options.grow_from.is_file()):  # exported weights are settled
            settle(lessons, average)
            student.load_state_dict(average.state_dict())
    importance = {layer: EVENLY + (1 - EVENLY) * weights for layer, weights in teach.weights.items()}
    bases = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    longest = 0.99 if options.still else 0.998
    running: dict[str, float] = {}
    began = time.time()
    for step in range(start, options.steps):
        rate = learning_rate(step, options.steps, options.decay)
        for optimiser, base in zip(optimisers, bases, strict=True):
            for group, lr in zip(optimiser.param_groups, base, strict=True):
                group["lr"] = lr * rate
        if options.paint and step % options.paint == 0 and lessons.begun:
            if not options.still:
                average.measure_norms(lessons.crops_of_late(8))
            lessons.paint(average)
        crops, targets = lessons.at(step)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.bfloat16):
            predictions = student(crops, targets)
        predictions = {name: values.float() for name, values in predictions.items()}
        losses = residuals(predictions, targets, importance)
        losses |= gram_errors(predictions, targets, {layer: teach.gains[layer] for layer in plan.grams})
        total = sum(plan.count[name] * value for name, value in losses.items()) / sum(plan.layers.values())
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        total.backward()
        for optimiser in optimisers:
            optimiser.step()
        decay = min(longest, (step + 1) / (step + 10))
        with torch.no_grad():
            for a, p in zip(average.parameters(), student.parameters(), strict=True):
                a.lerp_(p, 1 - decay)
        for name, value in zip(losses, torch.stack([*losses.values()]).tolist(), strict=True):
            running[name] = 0.98 * running.get(name, value) + 0.02 * value
        if (step + 1) % options.report == 0 or step + 1 == options.steps:
            if not options.still and step + 1 == options.steps:
                settle(lessons, average)
            elif not options.still:
                average.measure_norms(lessons.crops_of_late())
            report(options.out, step + 1, time.time() - began, rate, running, evaluate(average, test, teach.weights))
            save(options.out, step + 1, student, average, teach.moments, *optimisers)


def begin(student: Student, options: argparse.Namespace, teach: Teacher, pictures: list[Tensor]) -> None:
    """Copy the weights of the student to begin with, of a run or of an encoder that was exported."""
    if options.grow_from.is_dir():
        grow(student, load(options.grow_from, options.device)["average"])
        return
    encoder = load_encoder(options.grow_from)
    own = encoder if options.trunk == "shallow" else encoder.below
    if own is None:
        raise SystemExit(f"{options.grow_from}: has no second trunk")
    crops = [augmented_crops(pictures, 16, options.crop) for _ in range(EXAMPLES)]
    branches_off = own.configuration.first_block > 1
    other = student_of(
        own, first_trunk(encoder) if branches_off else None, teach.moments, [(x, teach(x)) for x in crops]
    )
    grow(student, other.to(options.device).state_dict())
    if student.first is not None and not branches_off:
        imitate_beginning(student, other, crops)


def first_trunk(encoder: VGG) -> VGG:
    """The first of its trunks, alone."""
    alone = VGG(replace(encoder.configuration, below=None))
    alone.convolutions, alone.readouts = encoder.convolutions, encoder.readouts
    return alone.eval().requires_grad_(False)


def optimisers_of(student: Student, options: argparse.Namespace) -> list[torch.optim.Optimizer]:
    learning = [p for p in student.parameters() if p.requires_grad]
    if options.still:
        return [torch.optim.Adam(learning, lr=options.lr or 8e-4, betas=(0.9, 0.99))]
    matrices = [p for p in student.trunk.parameters() if p.ndim == 4]
    others = [p for p in learning if not any(p is m for m in matrices)]
    adam = torch.optim.AdamW(others, lr=4e-3, betas=(0.9, 0.99), weight_decay=0.0)
    return [Muon(matrices, lr=options.lr or 0.02), adam]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("trunk", choices=[*PLANS])
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders, searched deeply")
    parser.add_argument("--art", type=Path, nargs="+", required=True, help="the same of paintings")
    parser.add_argument("--teachers", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=Path, help="weights of the trunk that the deep one branches off")
    parser.add_argument("--widths", type=widths, nargs="+", help="of blocks, or a,b,… in a block")
    parser.add_argument("--grow-from", type=Path, help="run or weights to begin with, perhaps of other widths")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--decay", type=float, default=0.6, help="last share of the steps, with falling rate")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128, help="pixels")
    parser.add_argument("--echo", type=int, default=3, help="steps per batch that the teachers look at")
    parser.add_argument("--paint", type=int, default=40, help="steps between paintings to learn from; 0: none")
    parser.add_argument("--lr", type=float, help="of the convolutions, or of all that is still: 0.02 or 0.0008")
    parser.add_argument("--still", action="store_true", help="the last phase: statistics of normalisations stay")
    parser.add_argument("--report", type=int, default=250, help="steps between reports and checkpoints")
    parser.add_argument("--device", default="cpu", help="cpu, cuda …; on a GPU, larger batches and --echo 1")
    parser.add_argument("--bfloat16", action="store_true", help="where the processor knows it: a third less time")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def widths(text: str) -> int | tuple[int, ...]:
    """`128`, or those of each convolution: `128,72,72,72`."""
    found = tuple(map(int, text.split(",")))
    return found if len(found) > 1 else found[0]


@torch.no_grad()
def settle(lessons: Lessons, average: Student) -> None:
    """Set the normalisations' statistics over many crops: those of a few hundred cost what hours of training gain."""
    average.measure_norms([lessons.crops() for _ in range(BATCHES_TO_SETTLE)])


class Lessons:
    """Crops to learn from, half of them painted, and the teacher's answers."""

    def __init__(self, pictures: Sequence[Tensor], teach: Teacher, reduced: VGG, options: argparse.Namespace) -> None:
        self.pictures, self.teach, self.reduced = pictures, teach, reduced
        self.batch, self.size, self.echo = options.batch, options.crop, options.echo
        self.painted = Painted()
        self._late: deque[tuple[Tensor, dict[str, Tensor]]] = deque(maxlen=48)

    @property
    def begun(self) -> bool:
        return len(self._late) >= 8

    def at(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Crops and answers; the teachers cost as much as a step, so that each answer is used more than once."""
        if self.begun and step % self.echo:
            return random.choice(self._late)
        crops = self.crops()
        self._late.append((crops, self.teach(crops)))
        return self._late[-1]

    def crops(self) -> Tensor:
        crops = augmented_crops(self.pictures, self.batch, self.size)
        if self.painted.crops:
            crops[: self.batch // 2] = self.painted.sample(self.batch // 2)
        return crops

    def crops_of_late(self, count: int = 48) -> list[Tensor]:
        return [crops for crops, _ in [*self._late][-count:]]

    def paint(self, average: Student) -> None:
        """Let an optimiser paint by the student's features, or by a teacher's."""
        contents, styles = (augmented_crops(self.pictures, 2 * self.batch, self.size, odd=False) for _ in "cs")
        own = encoder_of(average, self.teach.moments).requires_grad_(False)
        pair = joined(own, self.reduced) if average.first is None else joined(average.first, own)
        self.painted.paint(self.reduced if random.random() < BY_TEACHER else pair, contents, styles)


class Teacher:
    """Target features by layer, each channel in units of its standard deviation."""

    def __init__(self, model: VGG, layers: Iterable[str]) -> None:
        self.model, self.layers = model, tuple(layers)
        self.widths = {layer: model.channels(layer) for layer in self.layers}
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}
        self.gains: dict[str, Tensor] = {}
        """From the units of the targets to a mean activation of 1."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of the channels, as losses weigh them; their mean is 1."""
        return {layer: gain.square() / gain.square().mean() for layer, gain in self.gains.items()}

    @torch.no_grad()
    def standardise(self, batches: Sequence[Tensor]) -> None:
        """Measure the units on photographs, at every fourth position down and across."""
        features = [
            {k: v[:, :, 1::4, 1::4].contiguous() for k, v in self.model(x, self.layers).items()} for x in batches
        ]
        for layer in self.layers:
            values = torch.cat([f[layer] for f in features])
            mean = values.mean((0, 2, 3), keepdim=True)
            std = values.std((0, 2, 3), keepdim=True)
            self.moments[layer] = mean, std.clamp(min=1e-3 * float(std.max()))
            self.gains[layer] = self.moments[layer][1] / unit_of(mean)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        features = self.model(x.to(next(self.model.parameters()).dtype), self.layers)
        return {layer: sparse(layer, f).float() / self.moments[layer][1] for layer, f in features.items()}


def residuals(
    predictions: dict[str, Tensor], targets: dict[str, Tensor], importance: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Unexplained share of the variance, per layer; `importance` weighs its channels."""
    return {name: ((predictions[name] - target).square() * importance[name]).mean() for name, target in targets.items()}


def gram_errors(
    predictions: dict[str, Tensor], targets: dict[str, Tensor], gains: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Relative errors of each crop's Gram matrices, per style layer: what style transfer sees of an encoder."""
    found = {}
    for name, gain in gains.items():
        ours, wanted = (gram(features[name] * gain) for features in (predictions, targets))
        power = wanted.square().sum((1, 2)).clamp(min=1e-12)
        found[f"gram of {name}"] = ((ours - wanted).square().sum((1, 2)) / power).mean()
    return found


def learning_rate(step: int, steps: int, decay: float) -> float:
    """Short warm-up, constant, then linear to zero over the last `decay` of the steps."""
    return min(1.0, (step + 1) / 200, (steps - step) / (decay * steps))


@torch.no_grad()
def evaluate(
    student: Student, test: list[tuple[Tensor, dict[str, Tensor]]], weights: dict[str, Tensor]
) -> dict[str, float]:
    sums = dict.fromkeys(student.heads, 0.0)
    for x, targets in test:
        for name, value in residuals(student(x, targets), targets, weights).items():
            sums[name] += value.item() / len(test)
    return sums


def report(
    out: Path, step: int, seconds: float, rate: float, running: dict[str, float], held_out: dict[str, float]
) -> None:
    line = {"step": step, "seconds": round(seconds), "rate": round(rate, 3)}
    line["held_out"] = {name: round(value, 4) for name, value in held_out.items()}
    line["training"] = {name: round(value, 4) for name, value in running.items()}
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    shown = " ".join(f"{name.replace('relu', '')} {value:.3f}" for name, value in held_out.items())
    print(step, f"{seconds:.0f}s", shown, flush=True)


def save(
    out: Path,
    step: int,
    student: Student,
    average: Student,
    moments: dict[str, tuple[Tensor, Tensor]],
    *optimisers: torch.optim.Optimizer,
) -> None:
    state = {
        "step": step,
        "student": student.state_dict(),
        "average": average.state_dict(),
        "moments": moments,
        "optimisers": [o.state_dict() for o in optimisers],
    }
    torch.save(state, out / "checkpoint.tmp")
    (out / "checkpoint.tmp").replace(out / "checkpoint.pt")


def load(run: Path, device: str | torch.device) -> dict[str, Any]:
    """The checkpoint of a run."""
    state: dict[str, Any] = torch.load(run / "checkpoint.pt", weights_only=True, map_location=device)
    return state


def resume(out: Path, student: Student, average: Student, *optimisers: torch.optim.Optimizer) -> int:
    if not (out / "checkpoint.pt").exists():
        return 0
    state = load(out, next(student.parameters()).device)
    student.load_state_dict(state["student"])
    average.load_state_dict(state["average"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        rates = [group["lr"] for group in optimiser.param_groups]
        optimiser.load_state_dict(saved)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
    return int(state["step"])


if __name__ == "__main__":
    main()

"""Train both trunks of `lite` together, the last phase: what they share learns what both need.

    python training/together.py --shallow shallow --deep deep --photos PHOTOS --art ART --teachers TEACHERS \\
        --out both --steps 5000 --decay 0.85
    python training/together.py --weights lite.safetensors --lr 1e-4 … --out more --steps 5000

Only the layers that are wanted count, and a few on the way. The statistics of normalisations stay as they are, and Adam
trains everything: batches of eight pictures, half of them painted, have statistics of their own, and what a student
learns of features with these is half lost with others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crops import augmented_crops, natural_crops, plain_crops
from distill import EXAMPLES, revived
from impasto.encoders import load_encoder
from impasto.encoders.storage import save_encoder
from impasto.encoders.vgg import VGG, joined
from lessons import Aims, Lessons, Teacher, residuals
from runs import Pictures, Running, average_in, go_on, learning_rate, load, options_of, report, save
from student import Student, adopt, encoder_of, first_trunk, sparse, student_of
from teachers import exact_teacher, reduced_teacher

AIMS = {
    "shallow": Aims(
        {"relu1_1": 1.0, "relu2_1": 3.0, "relu2_2": 0.5, "relu3_1": 6.0},
        {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 2.0},
    ),
    "deep": Aims(
        {
            "relu2_1": 1.0,
            "relu3_1": 0.5,
            "relu3_4": 0.5,
            "relu4_1": 2.0,
            "relu4_2": 4.0,
            "relu4_4": 0.25,
            "relu5_1": 2.0,
        },
        {"relu4_1": 0.5, "relu5_1": 0.5},
    ),
}
WANTED = {
    "shallow": ("relu2_1", "relu2_2", "relu3_1"),
    "deep": ("relu3_4", "relu4_1", "relu4_2", "relu4_4", "relu5_1"),
}
"""Layers that are read through their heads; the two largest are near enough to the teacher's as they are."""
ROUNDS_TO_BEGIN = 6
"""Of paintings."""


class Both(nn.Module):
    """The students of both trunks, of which the deep one branches off the other's."""

    def __init__(self, shallow: Student, deep: Student) -> None:
        super().__init__()
        self.students = nn.ModuleDict({"shallow": shallow, "deep": deep})
        for student, aims in zip(self.students.values(), AIMS.values(), strict=True):
            for layer in student.heads.keys() - aims.layers.keys():
                del student.heads[layer]

    def forward(self, x: Tensor) -> dict[str, dict[str, Tensor]]:
        shallow, deep = self.students.values()
        block = deep.trunk.configuration.first_block
        features, seen = shallow.trunk.up_to(block, x, shallow.heads)
        found = {"shallow": features, "deep": deep.trunk.after(seen, deep.heads)}
        return {
            trunk: {layer: F.relu(self.students[trunk].heads[layer](sparse(layer, f))) for layer, f in some.items()}
            for trunk, some in found.items()
        }

    def encoder(self, moments: Mapping[str, dict[str, tuple[Tensor, Tensor]]]) -> VGG:
        """With readouts in place of the heads."""
        trunks = (
            encoder_of(student, moments[trunk], [layer for layer in WANTED[trunk] if layer in student.heads])
            for trunk, student in self.students.items()
        )
        return joined(*trunks).requires_grad_(False)


def main() -> None:
    options = parse()
    pictures = Pictures.read(options)
    exact, reduced = (
        t(options.teachers).with_padding("replicate").to(options.device) for t in (exact_teacher, reduced_teacher)
    )
    models = {"shallow": exact, "deep": deepcopy(reduced)}
    teach = {trunk: Teacher(model, AIMS[trunk]) for trunk, model in models.items()}
    for one in teach.values():
        one.standardise(natural_crops(pictures.photos, options.device))
    if options.weights is None:
        student = of_runs(options.shallow, options.deep, pictures)
    else:
        student = of_weights(options.weights, teach, pictures)
    student = student.to(options.device).requires_grad_(True).eval()
    moments = {trunk: one.moments for trunk, one in teach.items()}
    average = deepcopy(student)
    optimiser = torch.optim.Adam(student.parameters(), lr=options.lr, betas=(0.9, 0.99))
    start = 0
    if (options.out / "checkpoint.pt").exists():
        state = load(options.out, options.device)
        start = state["step"]
        student.load_state_dict(state["student"])
        average.load_state_dict(state["average"])
        go_on(optimiser, state["optimiser"])

    def answers(x: Tensor) -> dict[str, dict[str, Tensor]]:
        return {trunk: one(x) for trunk, one in teach.items()}

    test = [
        (x := plain_crops(pictures.held_out[i : i + 16], 128), answers(x)) for i in range(0, len(pictures.held_out), 16)
    ]
    if options.bfloat16:
        for one in teach.values():
            one.model.bfloat16()
    lessons = Lessons(pictures.learned, answers, reduced, batch=options.batch, size=options.crop, echo=options.echo)
    for _ in range(ROUNDS_TO_BEGIN):
        lessons.paint(average.encoder(moments))
    running, began = Running(), time.time()
    for step in range(start, options.steps):
        rate = learning_rate(step, options)
        for group in optimiser.param_groups:
            group["lr"] = options.lr * rate
        if step % options.paint == options.paint - 1:
            lessons.paint(average.encoder(moments))
        crops, targets = lessons.at(step)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.bfloat16):
            predictions = student(crops)
        losses = {trunk: one.losses(predictions[trunk], targets[trunk]) for trunk, one in teach.items()}
        optimiser.zero_grad(set_to_none=True)
        torch.stack([one.total(losses[trunk]) for trunk, one in teach.items()]).sum().backward()
        optimiser.step()
        average_in(average, student, step, longest=0.99)
        running.add({f"{trunk} {name}": value for trunk, some in losses.items() for name, value in some.items()})
        if (step + 1) % options.report == 0 or step + 1 == options.steps:
            held_out = evaluate(average, test, teach)
            report(options.out, step + 1, time.time() - began, rate, running.values, held_out)
            state = {"step": step + 1, "student": student.state_dict(), "average": average.state_dict()}
            save(options.out, state | {"optimiser": optimiser.state_dict()})
            save_encoder(average.encoder(moments), options.out / "encoder.safetensors", dtype=torch.float32)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shallow", type=Path, help="the run of this trunk")
    parser.add_argument("--deep", type=Path, help="the run of the other one")
    parser.add_argument("--weights", type=Path, help="or exported weights of both")
    parser.add_argument("--lr", type=float, default=4e-4)
    options = options_of(parser)
    if (options.weights is None) != (options.shallow is not None and options.deep is not None):
        parser.error("either --shallow and --deep or --weights must be given")
    return options


def of_runs(shallow: Path, deep: Path, pictures: Pictures) -> Both:
    first, other = revived("shallow", shallow), revived("deep", deep)
    adopt(other, first.trunk, plain_crops(pictures.learned[:16], 128))
    return Both(first, other)


def of_weights(weights: Path, teach: Mapping[str, Teacher], pictures: Pictures) -> Both:
    """Heads that were not exported, but for that of the first layer, are gone."""
    encoder = load_encoder(weights)
    if encoder.below is None or encoder.below.configuration.first_block == 1:
        raise SystemExit(f"{weights}: has no second trunk that branches off")
    crops = [augmented_crops(pictures.learned, 16, 128) for _ in range(EXAMPLES)]
    first = first_trunk(encoder)
    students = [
        student_of(trunk, sees, one.moments, [(x, one(x)) for x in crops])
        for (trunk, sees), one in zip(((first, None), (encoder.below, first)), teach.values(), strict=True)
    ]
    for student, trunk in zip(students, (first, encoder.below), strict=True):
        for layer in student.heads.keys() - trunk.readouts.keys() - {"relu1_1"}:
            del student.heads[layer]
    adopt(students[1], students[0].trunk, crops[0])
    return Both(*students)


@torch.no_grad()
def evaluate(
    both: Both, test: list[tuple[Tensor, dict[str, dict[str, Tensor]]]], teach: Mapping[str, Teacher]
) -> dict[str, float]:
    """The unexplained share of each layer of held-out pictures."""
    sums: dict[str, float] = {}
    for x, targets in test:
        for trunk, predictions in both(x).items():
            for layer, value in residuals(predictions, targets[trunk], teach[trunk].weights).items():
                name = f"{trunk} {layer}"
                sums[name] = sums.get(name, 0.0) + float(value) / len(test)
    return sums


if __name__ == "__main__":
    main()

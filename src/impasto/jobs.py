"""A job: a method, its inputs and settings; begun, gone on with, or made again from a record."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from impasto import __version__
from impasto.encoders.weights import weights_checksum
from impasto.errors import Interrupted, PictureError
from impasto.machine import Machine, Precision, explained_memory, peak_memory, require_memory
from impasto.methods import Method, find_method
from impasto.methods.settings import Settings
from impasto.methods.work import Work
from impasto.pictures.files import Source, read_picture
from impasto.pictures.picture import Picture
from impasto.records import InputRecord, Record, thinned
from impasto.results import Result
from impasto.synthesis import Step, Synthesis
from impasto.synthesis.checkpoint import load_checkpoint, save_checkpoint

Observer = Callable[[Step], None]


@dataclass(frozen=True)
class Job:
    """What is to be done, and where. `inputs` by role, as paths or pictures in memory."""

    method: Method
    inputs: Mapping[str, Source]
    settings: Settings
    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    max_pixels: int = 200_000_000
    record: Record | None = None
    """The record that the job was made from, if any."""

    @property
    def paths(self) -> dict[str, Path]:
        """The inputs that are files, by role."""
        sources = {**self.inputs, **self.settings.pictures}
        return {role: Path(source) for role, source in sources.items() if isinstance(source, str | PathLike)}

    @classmethod
    def of(cls, method: str, inputs: Mapping[str, Source], settings: Mapping[str, Any], **where: Any) -> Job:
        """A job from plain values; raises `UsageError`."""
        found = find_method(method)
        return cls(found, inputs, found.settings.of(**settings), **where)

    @classmethod
    def from_record(cls, record: Record, beside: Path, changes: Mapping[str, Any] | None = None, **where: Any) -> Job:
        """The job that a record tells of, its inputs looked for from here and beside the result.

        `changes` replaces settings, or inputs by role.
        """
        changes = dict(changes or {})
        method = find_method(record.method)
        named = {role: changes.pop(role) for role in method.inputs if role in changes}
        settings = method.settings.of(**record.settings).changed(**changes)
        wanted = {*method.inputs, *settings.pictures} - {*named, *changes}
        found = {one.role: _find_input(one, beside) for one in record.inputs if one.role in wanted}
        return cls(method, named | found, settings, record=record, **where)

    def begin(self) -> Running:
        """Read the inputs and prepare the work; raises `ImpastoError`s for whatever is wrong with them.

        A `UserWarning` names each input that has changed since the record was written.
        """
        machine = Machine.choose(self.device, self.precision, self.threads)
        pictures = {
            role: read_picture(source, max_pixels=self.max_pixels, name=_name(role, source))
            for role, source in {**self.settings.pictures, **self.inputs}.items()
        }
        for message in self.changed_inputs(pictures):
            warnings.warn(message, stacklevel=2)
        work = self.method.function(**pictures, settings=self.settings, machine=machine)
        final = work.synthesis.schedule[-1]
        memory = require_memory(work.encoder, work.layers, final.height, final.width, machine.device)
        return Running(self, pictures, machine, work, memory)

    def changed_inputs(self, pictures: Mapping[str, Picture]) -> list[str]:
        """A sentence for every input that is not what it was when the record was written."""
        before = {one.role: one.sha256 for one in self.record.inputs} if self.record else {}
        return [
            f"{picture.name}: the {role} has changed since the record was written"
            for role, picture in pictures.items()
            if before.get(role) not in (None, picture.sha256)
        ]


@dataclass
class Running:
    """A job under way. Iterate over its steps, or `run` it; either may be left and resumed from a checkpoint."""

    job: Job
    pictures: Mapping[str, Picture]
    machine: Machine
    work: Work
    estimated_memory: int
    cancel: threading.Event = field(default_factory=threading.Event)
    """Set it, from any thread, to stop after the step at work."""

    @property
    def synthesis(self) -> Synthesis:
        return self.work.synthesis

    def __iter__(self) -> Iterator[Step]:
        scale = self.synthesis.schedule[-1]
        with explained_memory(self.work.encoder, self.work.layers, scale.height, scale.width, self.machine.device):
            for step in self.synthesis:
                yield step
                if self.cancel.is_set():
                    return

    def run(self, observers: Iterable[Observer] = ()) -> Result:
        """Do all the steps, telling the observers of each; raises `Interrupted` when cancelled."""
        watching = list(observers)
        for step in self:
            for observer in watching:
                observer(step)
        if self.cancel.is_set() and not self.synthesis.finished:
            raise Interrupted("stopped; what was reached is in .result()")
        return self.result()

    def estimate_seconds(self) -> float:
        """How long the work will take, from one step timed at the coarsest scale."""
        synthesis = self.synthesis
        scale = synthesis.scale
        objective = synthesis.objective_at(scale)
        picture = synthesis.picture.requires_grad_()
        for _ in range(2):  # the first one warms up
            began = time.perf_counter()
            (gradient,) = torch.autograd.grad(objective(picture)[0], picture)
            float(gradient.sum())  # waits for the device
        per_pixel = (time.perf_counter() - began) / scale.pixels
        return per_pixel * sum(s.pixels * s.steps for s in synthesis.schedule)

    def result(self) -> Result:
        """The picture so far, with its record."""
        picture = self.work.finish(self.synthesis.picture)
        return Result(picture, self.record(), tuple(self.synthesis.history))

    def record(self) -> Record:
        scale = self.synthesis.scale
        return Record(
            impasto=__version__,
            torch=torch.__version__,
            method=self.job.method.name,
            settings=self.job.settings.model_dump(),
            inputs=tuple(_input_record(role, picture) for role, picture in self.pictures.items()),
            encoder=self.work.encoder.name,
            encoder_checksum=weights_checksum(self.work.encoder),
            device=str(self.machine.device),
            precision="bfloat16" if self.machine.bfloat16 else "float32",
            width=scale.width,
            height=scale.height,
            seconds=round(self.synthesis.seconds, 3),
            peak_memory=peak_memory(self.machine.device),
            history=thinned(self.synthesis.history),
        )

    def save_checkpoint(self, path: Path, output: Path) -> None:
        """Write all that `resume` needs to go on towards `output`."""
        about = {
            "record": self.record().model_dump(exclude={"history"}),
            "folder": str(Path.cwd()),
            "output": str(output.absolute()),
            "where": {"device": self.job.device, "precision": self.job.precision, "threads": self.job.threads},
        }
        save_checkpoint(path, self.synthesis, about)


def resume(path: Path) -> tuple[Running, Path]:
    """Go on from a checkpoint: the running job, and where its result goes. Raises `ImpastoError`s."""
    tensors, state, about = load_checkpoint(path)
    try:
        record = Record.model_validate(about["record"])
        folder, output, where = Path(about["folder"]), Path(about["output"]), dict(about["where"])
    except (KeyError, ValueError, TypeError):
        raise PictureError(f"{path}: is a checkpoint of another version of impasto; start the work anew") from None
    job = Job.from_record(record, folder, **where)
    running = replace(job, record=None).begin()
    for message in job.changed_inputs(running.pictures):
        raise PictureError(f"{message}; the work cannot go on with it: start anew")
    running.synthesis.go_on_from(tensors, state)
    return running, output


def _find_input(one: InputRecord, beside: Path) -> Path:
    if one.path is None:
        raise PictureError(
            f"the {one.role} was a picture in memory and cannot be found again: name a file with --set {one.role}=PATH"
        )
    path = Path(one.path)
    for candidate in (path, beside / path, beside / path.name):
        if candidate.is_file():
            return candidate
    raise PictureError(f"{path}: no such file any more; name its new place with --set {one.role}=PATH")


def _input_record(role: str, picture: Picture) -> InputRecord:
    return InputRecord(
        role=role,
        path=str(picture.path) if picture.path else None,
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
    )


def _name(role: str, source: Source) -> str:
    """What messages call a picture: its file's name, or its role."""
    return Path(source).name if isinstance(source, str | PathLike) else role

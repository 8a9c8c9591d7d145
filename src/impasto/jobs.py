"""A job: a method, its inputs and settings; begun, gone on with, or made again from a record."""

from __future__ import annotations

import hashlib
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from impasto import __version__
from impasto.encoders import DownloadObserver, encoder_status, load_encoder, weights_checksum
from impasto.encoders.catalogue import encoder_path
from impasto.errors import ImpastoError, Interrupted, PictureError, UsageError, near_match
from impasto.machine import Machine, Precision, estimated_memory, explained_memory
from impasto.memory import parse_memory, peak_memory, used_memory
from impasto.methods import Method, find_method, numbered
from impasto.methods.settings import Settings
from impasto.methods.work import Work
from impasto.origins import Origins
from impasto.pictures.atomic import write_failure
from impasto.pictures.files import Source, read_picture
from impasto.pictures.map_files import read_map
from impasto.pictures.picture import Picture
from impasto.records import InputRecord, Record, thinned
from impasto.results import Result
from impasto.synthesis import Step, Synthesis
from impasto.synthesis.checkpoint import load_checkpoint, save_checkpoint

Observer = Callable[[Step], None]

MOST_THREADS = 256
"""Far more than pay; a million of them crash PyTorch."""


@dataclass(frozen=True)
class Job:
    """What is to be done, and where. `inputs` by role, as paths or pictures in memory."""

    method: Method
    inputs: Mapping[str, Source]
    settings: Settings
    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    memory: str | int | None = None
    max_pixels: int = 200_000_000
    checksums: Mapping[str, str] = field(default_factory=dict)
    """What a record says of files that are to be used again: sha256 by role, the weights as `encoder`."""
    known: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What methods find out about inputs, for other jobs with the same ones."""
    remarks: tuple[str, ...] = ()
    """What is to be told about it, in short."""

    def __post_init__(self) -> None:
        choices = get_args(Precision)
        if self.precision not in choices:
            near = near_match(str(self.precision), choices)
            raise UsageError(f"precision {self.precision}: unknown{near}; there are {', '.join(choices)}")
        if not isinstance(self.max_pixels, int) or self.max_pixels < 1:
            raise UsageError(f"max_pixels {self.max_pixels}: must be a whole number of at least 1")
        if self.threads is not None and (not isinstance(self.threads, int) or not 1 <= self.threads <= MOST_THREADS):
            raise UsageError(f"threads {self.threads}: must be a whole number of 1 to {MOST_THREADS}")
        if self.memory is not None:
            parse_memory(self.memory)

    @property
    def sources(self) -> dict[str, Source]:
        """All the pictures that go in, by role: the inputs, and those that the settings name."""
        return {**self.inputs, **{role: p for role, p in self.settings.pictures.items() if role not in self.inputs}}

    @property
    def paths(self) -> dict[str, Path]:
        """Those of them that are files, by role."""
        return {role: Path(source) for role, source in self.sources.items() if isinstance(source, str | PathLike)}

    @classmethod
    def of(cls, method: str, inputs: Mapping[str, Source], settings: Mapping[str, Any], **where: Any) -> Job:
        """A job from plain values; raises `UsageError`. Settings that name pictures may be pictures themselves."""
        found = find_method(method)
        words, pictures = _named_pictures(found.settings, settings)
        return cls(found, {**inputs, **pictures}, found.settings.of(**{**settings, **words}), **where)

    @classmethod
    def from_record(
        cls,
        record: Record,
        beside: Path,
        changes: Mapping[str, Any] | None = None,
        *,
        advice: str = "name its new place with --set {role}=PATH",
        **where: Any,
    ) -> Job:
        """The job that a record tells of, its files looked for from here and beside the result.

        `changes` replaces settings, or inputs by role; `advice` ends the message about an input that is gone.
        """
        changes = dict(changes or {})
        method = find_method(record.method)
        recorded = method.settings.of(**record.settings)
        roles = {one.role for one in record.inputs if one.role not in method.settings.model_fields}
        _check_names(method, changes, roles)
        named = {role: changes.pop(role) for role in [*changes] if method.is_input(role) or role in roles}
        settings = recorded.changed(**_moved_files(recorded, beside) | changes)
        as_before = {role for role, path in recorded.pictures.items() if settings.pictures.get(role) == path}
        wanted = {*filter(method.is_input, (one.role for one in record.inputs)), *as_before} - {*named}
        again = [one for one in record.inputs if one.role in wanted]
        found = {one.role: find_input(one, beside, advice) for one in again}
        checksums = {one.role: one.sha256 for one in again if one.sha256}
        if "encoder" not in changes:
            checksums["encoder"] = record.encoder_checksum
        inputs = dict(sorted((found | named).items(), key=lambda one: _place(method, one[0])))
        return cls(method, inputs, settings, checksums=checksums, **where)

    def require_inputs(self) -> None:
        """Raise what reading would raise for those inputs that are no files at all."""
        for path in self.paths.values():
            try:
                there = path.is_file()
            except OSError:  # no possible name
                there = False
            if not there:
                read_picture(path, name=path.name)

    def read_pictures(self) -> dict[str, Picture]:
        """All the pictures that go in, by role; raises `ImpastoError`s."""
        return {
            role: (read_map if self.settings.is_map(role) else read_picture)(
                source, max_pixels=self.max_pixels, name=_name(role, source)
            )
            for role, source in self.sources.items()
        }

    def begin(self, downloads: DownloadObserver | None = None) -> Running:
        """Read the inputs and prepare the work; raises `ImpastoError`s for whatever is wrong with them.

        A `UserWarning` names each input that has changed since the record was written. `downloads` is told of the
        download (bytes done, bytes in all) of an encoder that is not here yet.
        """
        running = self._prepare(downloads)
        for message in running.changed_files():
            warnings.warn(message, stacklevel=2)
        return running

    def _prepare(self, downloads: DownloadObserver | None) -> Running:
        machine = Machine.choose(str(self.device), self.precision, self.threads, self.memory)
        pictures = self.read_pictures()
        if downloads is not None:
            self._fetch_encoder(downloads)
        began = time.perf_counter()
        work = self.method.begin(pictures, self.settings, machine, self.known)
        final = work.synthesis.schedule[-1]
        memory = estimated_memory(work.encoder, work.layers, final.height, final.width, work.budget)
        memory += used_memory(machine.device)
        return Running(self, pictures, machine, work, memory, time.perf_counter() - began)

    def _fetch_encoder(self, downloads: DownloadObserver) -> None:
        """Download the encoder now, in front of somebody, so that the method finds it in the cache."""
        name = getattr(self.settings, "encoder", None)
        if name is not None and not encoder_status(name).present:
            load_encoder(name, observer=downloads)


@dataclass
class Running:
    """A job under way. Iterate over its steps, or `run` it; either may be left and resumed from a checkpoint."""

    job: Job
    pictures: Mapping[str, Picture]
    machine: Machine
    work: Work
    estimated_memory: int
    preparation: float
    """Seconds that it took to look at the inputs, and to find maps of them."""
    cancel: threading.Event = field(default_factory=threading.Event)
    """Set it, from any thread, to stop after the step at work."""

    @property
    def synthesis(self) -> Synthesis:
        return self.work.synthesis

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be told about the work, in short."""
        return (*self.job.remarks, *self.work.remarks)

    def __iter__(self) -> Iterator[Step]:
        scale = self.synthesis.schedule[-1]
        with explained_memory(self.work.encoder, self.work.layers, scale.height, scale.width, self.work.budget):
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
            raise Interrupted("stopped before the end; what was reached is the error's result", self.result)
        return self.result()

    def changed_files(self) -> list[str]:
        """A sentence for every input that is not what it was when the record was written."""
        before = self.job.checksums
        changed = [
            f"{picture.name}: the {role} has changed since the record was written"
            for role, picture in self.pictures.items()
            if before.get(role) not in (None, picture.sha256)
        ]
        if before.get("encoder") not in (None, weights_checksum(self.work.encoder)):
            changed.append(f"{self.work.encoder.name}: the encoder has changed since the record was written")
        return changed

    def estimate_seconds(self) -> float:
        """How long the work will take at most: by what is done of it, or from one step timed at the first scale."""
        synthesis = self.synthesis
        done, ahead = synthesis.progress()
        if done:
            return synthesis.seconds * ahead / done
        scale = synthesis.scale
        if not scale.steps:
            return 0.0
        with explained_memory(self.work.encoder, self.work.layers, scale.height, scale.width, self.work.budget):
            objective = synthesis.objective_at(scale)
            picture = synthesis.picture.requires_grad_()
            for _ in range(2):  # the first one warms up
                picture.grad = None
                began = time.perf_counter()
                total, _ = objective.add_gradient(picture)
                float(total.detach())  # waits for the device
        return (time.perf_counter() - began) * ahead / (scale.pixels * scale.effort)

    def result(self) -> Result:
        """The picture so far, with its record."""
        picture = self.work.finish(self.synthesis.picture)
        return Result(picture, self.record(), tuple(self.synthesis.history), self._origins())

    def _origins(self) -> Origins | None:
        return None if self.work.origins is None else self.work.origins()

    def record(self) -> Record:
        scale, origins = self.synthesis.scale, self._origins()
        return Record(
            impasto=__version__,
            torch=torch.__version__,
            method=self.job.method.name,
            settings=self.job.settings.model_dump(),
            inputs=tuple(InputRecord.of(role, picture) for role, picture in self.pictures.items()),
            encoder=self.work.encoder.name,
            encoder_checksum=weights_checksum(self.work.encoder),
            device=str(self.machine.device),
            precision="bfloat16" if self.machine.bfloat16 else "float32",
            width=scale.width,
            height=scale.height,
            seconds=round(self.preparation + self.synthesis.seconds, 3),
            peak_memory=peak_memory(self.machine.device),
            history=thinned(self.synthesis.history),
            facts={**self.work.facts, **({} if origins is None else {"patches": origins.facts})},
        )

    def take_up(self, checkpoint: Path) -> bool:
        """Go on from a checkpoint if it is of this very work; raises `PictureError` if that is damaged."""
        try:
            tensors, state, about = load_checkpoint(checkpoint)
            same = self.record().same_work(Record.model_validate(about["record"]))
        except (ImpastoError, KeyError, ValueError, TypeError):
            return False
        if same:
            self._go_on_from(checkpoint, tensors, state)
        return same

    def _go_on_from(self, checkpoint: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        try:
            self.synthesis.go_on_from(tensors, state)
            scale = self.synthesis.scale
        except (KeyError, IndexError, ValueError, TypeError, AttributeError):
            raise PictureError(_foreign(checkpoint)) from None
        if self.synthesis.picture.shape[-2:] != (scale.height, scale.width):
            raise PictureError(_foreign(checkpoint))

    def save_checkpoint(self, path: Path, output: Mapping[str, Any]) -> None:
        """Write all that `resume` needs to go on, with `output` (plain JSON values); raises `PictureError`."""
        job = self.job
        about = {
            "record": self.record().model_dump(exclude={"history"}),
            "folder": str(Path.cwd()),
            "output": dict(output),
            "where": {
                "device": str(job.device),
                "precision": job.precision,
                "threads": job.threads,
                "memory": job.memory,
                "max_pixels": job.max_pixels,
            },
        }
        try:
            save_checkpoint(path, self.synthesis, about)
        except OSError as error:
            raise PictureError(write_failure(path, error)) from error


def resume(path: Path, downloads: DownloadObserver | None = None) -> tuple[Running, dict[str, Any]]:
    """Go on from a checkpoint: the running job, and the `output` that was saved with it. Raises `ImpastoError`s."""
    tensors, state, about = load_checkpoint(path)
    try:
        record = Record.model_validate(about["record"])
        folder, output, where = Path(about["folder"]), dict(about["output"]), dict(about["where"])
        job = Job.from_record(record, folder, advice="put it back there to go on", **where)
    except ImpastoError:
        raise
    except (KeyError, ValueError, TypeError):
        raise PictureError(_foreign(path)) from None
    running = job._prepare(downloads)
    for message in running.changed_files():
        raise PictureError(f"{message}; the work cannot go on with it: start anew")
    running._go_on_from(path, tensors, state)
    return running, output


def inputs_of(method: Method, sources: Sequence[Source]) -> dict[str, Source]:
    """A method's inputs by role, from pictures in their order; raises `UsageError` for too few or too many."""
    return dict(zip(method.roles(len(sources)), sources, strict=True))


def as_list(given: Any) -> list[Any]:
    """What was given as one thing, or as a list or tuple of them; an array is one."""
    return [*given] if isinstance(given, list | tuple) else [given]


def _foreign(path: Path) -> str:
    return f"{path}: is damaged, or a checkpoint of another version of impasto; start the work anew"


def _named_pictures(model: type[Settings], settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Source]]:
    """Of settings that name pictures those that are pictures themselves: words in their place, and them by role."""
    words: dict[str, Any] = {}
    pictures: dict[str, Source] = {}
    for name, role in model.picture_fields.items():
        value = settings.get(name)
        values: Sequence[Any] = value if isinstance(value, list | tuple) else [] if value is None else [value]
        stand_ins = []
        for own_role, one in zip(numbered(role, len(values)), values, strict=True):
            in_memory = not isinstance(one, str | PathLike)
            stand_ins.append(own_role if in_memory else str(one))
            if in_memory:
                pictures[own_role] = one
        if values:
            words[name] = tuple(stand_ins) if values is value else stand_ins[0]
    return words, pictures


def _check_names(method: Method, changes: Mapping[str, Any], roles: Iterable[str]) -> None:
    known = {*method.inputs, *method.settings.model_fields, *roles}
    for name in changes:
        if name not in known and not method.is_input(name):
            raise UsageError(f"{name}: no such setting or input{near_match(name, known)}")


def _place(method: Method, role: str) -> tuple[int, int]:
    """Where a role comes in the order of inputs; the pictures that settings name come last."""
    name = role.rstrip("0123456789")
    return (method.inputs.index(name), int(role[len(name) :] or 1)) if method.is_input(role) else (len(role), 0)


def find_input(one: InputRecord, beside: Path, advice: str) -> Path:
    """The file that a record means, looked for from here and beside the result; raises `PictureError` with `advice`."""
    remedy = advice.format(role=one.role)
    if one.path is None:
        raise PictureError(f"the {one.role} was a picture in memory and cannot be found again: {remedy}")
    candidates = _candidates(Path(one.path), beside)
    if not candidates:
        raise PictureError(f"{one.path}: no such file any more; {remedy}")
    if len(candidates) == 1:
        return candidates[0]
    return next((path for path in candidates if path.is_file() and _sha256(path) == one.sha256), candidates[0])


def _moved_files(settings: Settings, beside: Path) -> dict[str, str]:
    """The settings that name files which lie elsewhere now."""
    name = getattr(settings, "encoder", None)
    encoder = None if name is None else encoder_path(name)
    files = {**settings.files, **({} if encoder is None else {"encoder": encoder})}
    found = {field: _candidates(path, beside)[:1] for field, path in files.items()}
    return {field: str(place) for field, places in found.items() for place in places if place != files[field]}


def _candidates(path: Path, beside: Path) -> list[Path]:
    """The files that a recorded path may mean: from here, from the folder `beside`, and in it."""
    return [one for one in dict.fromkeys((path, beside / path, beside / path.name)) if _is_there(one)]


def _is_there(path: Path) -> bool:
    """Whether there is such a file, or one of the name of many that differ in numbers, as in `flow_{}_{}.flo`."""
    several = re.sub(r"\{[^}]*\}", "*", path.name)
    return path.exists() or (several != path.name and any(path.parent.glob(several)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name(role: str, source: Source) -> str:
    """What messages call a picture: its file's name, or its role."""
    return Path(source).name if isinstance(source, str | PathLike) else role

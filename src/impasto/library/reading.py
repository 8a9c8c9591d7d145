"""Reading files in the manner of a library: the sketch and the thumbnail of each, in one process or in several."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from impasto.encoders import load_encoder
from impasto.encoders.vgg import VGG
from impasto.errors import ImpastoError, PictureError
from impasto.library.sketch import sketch_of
from impasto.library.store import Manifest, size_of
from impasto.pictures.encoding import over_white
from impasto.pictures.files import read_picture, to_array
from impasto.pictures.picture import Picture

THUMBNAIL = 128
"""Longest side, in pixels."""
FEW = 32
"""Files that are not worth the start of other processes."""
AHEAD = 4
"""Files that each process has been given."""


class ReaderDiedError(Exception):
    """One of the processes that read files is not there any more."""


@dataclass(frozen=True)
class Found:
    """What a file gives: of a row what is not said by facts, the sketch, or the reason why there is none.

    `lasting` reasons stay as long as the file does; others, such as permissions, may be gone the next time.
    """

    row: dict[str, Any]
    sketch: NDArray[np.float32]  # no tensor: between processes each would be an open file
    reason: str = ""
    lasting: bool = True


@dataclass(frozen=True)
class _Eye:
    """Reads files in the manner of a library."""

    encoder: VGG
    layers: dict[str, int]
    max_pixels: int

    @classmethod
    def of(cls, manifest: Manifest, max_pixels: int) -> _Eye:
        return cls(load_encoder(manifest.encoder), manifest.layers, max_pixels)

    def read(self, path: str, label: str) -> Found:
        row: dict[str, Any] = {"id": None}
        try:
            with suppress(OSError):  # reading says what is wrong
                row |= size_of(Path(path))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of many files, what is odd about one
                picture = read_picture(path, max_pixels=self.max_pixels, name=label)
            parts = sketch_of(self.encoder, picture, self.layers)
            row |= {"id": picture.sha256, "width": picture.width, "height": picture.height}
            return Found(row | {"thumbnail": _thumbnail(picture)}, torch.cat([*parts.values()]).numpy())
        except MemoryError:
            return _refused(row, f"{label}: does not fit into memory; make it smaller first", lasting=False)
        except ImpastoError as error:
            return _refused(row, str(error), isinstance(error, PictureError) and _is_lasting(error.__cause__))


def _refused(row: dict[str, Any], reason: str, lasting: bool) -> Found:
    return Found(row, np.empty(0, np.float32), reason, lasting)


def _is_lasting(cause: BaseException | None) -> bool:
    """Whether what made a picture unreadable lies in the file: not in the system, nor in a package that is missing."""
    return not isinstance(cause, ImportError) and getattr(cause, "errno", None) is None


def _thumbnail(picture: Picture) -> bytes:
    array = to_array(picture)
    image = Image.fromarray(array if picture.alpha is None else over_white(array))
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    return data.getvalue()


def read_all(files: Sequence[tuple[str, str]], manifest: Manifest, processes: int, max_pixels: int) -> Generator[Found]:
    """What files give, in their order, read here or in several processes, which end with this one.

    `files` are paths, and what messages call them. Raises `ReaderDiedError`.
    """
    if processes > 1 and len(files) > FEW:
        yield from _read_apart(files, manifest, processes, max_pixels)
    elif files:
        eye = _Eye.of(manifest, max_pixels)
        yield from (eye.read(*file) for file in files)


@dataclass(frozen=True)
class _Reader:
    """A process, the line to it, and the places of the files that it was given."""

    process: SpawnProcess
    line: Connection
    given: deque[int] = field(default_factory=deque)

    @classmethod
    def started(cls, manifest: Manifest, max_pixels: int) -> _Reader:
        context = multiprocessing.get_context("spawn")
        context.Lock()  # starts a helper of multiprocessing's, which would let interrupts through
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, manifest, max_pixels), daemon=True)
        with _or_died(), _no_interrupts():
            process.start()
        there.close()
        return cls(process, here)

    def give(self, place: int, file: tuple[str, str]) -> None:
        with _or_died():
            self.line.send(file)
        self.given.append(place)

    def take(self) -> tuple[int, Found]:
        with _or_died():
            found = self.line.recv()
        if isinstance(found, Exception):
            raise found
        return self.given.popleft(), found

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.line.close()


def _read_apart(
    files: Sequence[tuple[str, str]], manifest: Manifest, processes: int, max_pixels: int
) -> Generator[Found]:
    readers: list[_Reader] = []
    found: dict[int, Found] = {}
    given = 0
    try:
        readers.extend(_Reader.started(manifest, max_pixels) for _ in range(processes))
        for place in range(len(files)):
            while place not in found:
                while given < min(len(files), place + AHEAD * processes):
                    min(readers, key=lambda one: len(one.given)).give(given, files[given])
                    given += 1
                ready = wait([one.line for one in readers if one.given])
                found.update(one.take() for one in readers if one.line in ready)
            yield found.pop(place)
    finally:
        for one in readers:
            one.end()


@contextmanager
def _or_died() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise ReaderDiedError from error


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """While a process is started, which inherits this: Ctrl-C is for this one, and comes after."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(line: Connection, manifest: Manifest, max_pixels: int) -> None:
    """Read files for the process at the other end of a line, until it closes it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    torch.set_num_threads(1)
    eye = _Eye.of(manifest, max_pixels)
    with suppress(EOFError, OSError):
        while True:
            path, label = line.recv()
            try:
                line.send(eye.read(path, label))
            except Exception as error:
                line.send(error)


def _end_with_parent() -> None:
    """End this process with the one that started it, however that one ends and whatever this one is doing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Reading files in several processes: in order, with nothing left running."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

from impasto.library import reading
from impasto.library.reading import Found, ReaderDiedError, read_all
from impasto.library.store import Manifest

MANIFEST = Manifest(encoder="lite", encoder_checksum="0", layers={})
FILES = [(f"/{number}.png", f"{number}.png") for number in range(20)]


def found(path: str) -> Found:
    return Found({"path": path}, np.zeros(1, np.float32))


class Process:
    """Stands for one that reads files, in a thread; after some it dies."""

    def __init__(self, line: Connection, lives: int) -> None:
        self.line, self.lives, self.ended = line, lives, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        try:
            for _ in range(self.lives):
                self.line.send(found(self.line.recv()[0]))
        except (EOFError, OSError):
            pass
        self.line.close()

    def kill(self) -> None:
        self.ended = True

    def join(self) -> None:
        pass


@pytest.fixture
def lives() -> dict[int, int]:
    """After how many files a process dies, by its number."""
    return {}


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch, lives: dict[int, int]) -> list[Process]:
    """Those that were started."""
    started: list[Process] = []

    def start(manifest: Manifest, max_pixels: int) -> Any:
        here, there = multiprocessing.Pipe()
        started.append(Process(there, lives.get(len(started), 100)))
        return reading._Reader(started[-1], here)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "FEW", 4)
    monkeypatch.setattr(reading._Reader, "started", start)
    return started


def test_what_several_read_comes_in_order(processes: list[Process]) -> None:
    assert [one.row["path"] for one in read_all(FILES, MANIFEST, 3, 10)] == [path for path, _ in FILES]
    assert [one.ended for one in processes] == [True] * 3


def test_a_reader_that_dies_is_told_and_ends_the_others(processes: list[Process], lives: dict[int, int]) -> None:
    lives[1] = 2
    with pytest.raises(ReaderDiedError):
        [*read_all(FILES, MANIFEST, 3, 10)]
    assert [one.ended for one in processes] == [True] * 3


def test_a_reader_that_cannot_be_started_ends_the_others(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = reading._Reader.started

    def fail_later(manifest: Manifest, max_pixels: int) -> Any:
        if len(processes) == 2:
            raise ReaderDiedError
        return start(manifest, max_pixels)

    monkeypatch.setattr(reading._Reader, "started", fail_later)
    with pytest.raises(ReaderDiedError):
        next(read_all(FILES, MANIFEST, 3, 10))
    assert [one.ended for one in processes] == [True] * 2


def test_readers_end_when_nobody_listens_any_more(processes: list[Process]) -> None:
    results = read_all(FILES, MANIFEST, 3, 10)
    next(results)
    results.close()
    assert [one.ended for one in processes] == [True] * 3


def test_for_few_files_no_process_is_started(processes: list[Process], monkeypatch: pytest.MonkeyPatch) -> None:
    class Eye:
        def read(self, path: str, label: str) -> Found:
            return found(path)

    monkeypatch.setattr(reading._Eye, "of", lambda *_: Eye())
    assert len([*read_all(FILES[:4], MANIFEST, 3, 10)]) == 4
    assert len([*read_all(FILES, MANIFEST, 1, 10)]) == 20
    assert not processes


def test_for_no_files_not_even_an_encoder_is_loaded() -> None:
    assert not [*read_all([], Manifest(encoder="none", encoder_checksum="0", layers={}), 1, 10)]


def test_a_process_reads_until_its_line_is_closed_and_tells_of_defects(monkeypatch: pytest.MonkeyPatch) -> None:
    class Eye:
        def read(self, path: str, label: str) -> Found:
            if path == "odd":
                raise ZeroDivisionError("a defect")
            return found(path)

    monkeypatch.setattr(reading._Eye, "of", lambda *_: Eye())
    monkeypatch.setattr(reading.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(reading.signal, "signal", lambda *_: None)
    here, there = multiprocessing.Pipe()
    reader = reading._Reader(None, here)  # type: ignore[arg-type]
    for place, path in enumerate(("odd", "even")):
        reader.give(place, (path, path))
    threading.Thread(target=reading._serve, args=(there, MANIFEST, 10)).start()
    with pytest.raises(ZeroDivisionError, match="a defect"):
        reader.take()
    assert here.recv().row == {"path": "even"}
    here.close()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no such masks here")
def test_ctrl_c_reaches_no_process_that_is_being_started() -> None:
    with reading._no_interrupts():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())

"""Adding that is cut off, or done twice at once: nothing is lost, whatever comes between."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from gallery import EVERY, LIBRARY, fill, names, no_reading, opened, reading, truncated, whole
from impasto.errors import Interrupted, LibraryError
from impasto.library import adding, changes, encoder, store
from impasto.library.store import ChangedError, Library
from impasto.library.upkeep import check
from studio import paint

pytestmark = pytest.mark.usefixtures("gallery")


# Work that is cut off


def stop_at(count: int) -> Callable[[int, int], None]:
    def observe(done: int, total: int) -> None:
        if done == count:
            raise KeyboardInterrupt

    return observe


def test_ctrl_c_keeps_what_is_done_and_the_same_call_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted, match=r"stopped; art\.library keeps 3 new works, and the same command goes on"):
        fill(observer=stop_at(3))
    assert names(opened()) == EVERY[:3]
    assert [one.path for one in opened().manifest.sources] == [whole("works")]
    seen = reading(monkeypatch)
    assert fill() == adding.Report(added=2, known=3)
    assert seen == EVERY[3:]


@pytest.mark.parametrize("written", [False, True])
def test_ctrl_c_while_works_are_written_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    original, interrupts = changes._write_manifest, iter([False, True])

    def write(folder: Path, manifest: store.Manifest) -> None:
        interrupt = next(interrupts, False)
        if written or not interrupt:
            original(folder, manifest)
        if interrupt:
            raise KeyboardInterrupt

    monkeypatch.setattr(changes, "_write_manifest", write)
    with pytest.raises(Interrupted):
        fill()
    assert names(opened()) == EVERY
    check(opened())


@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_is_done_is_written_on_the_way(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(adding, "WORKS_BETWEEN_COMMITS", step)
    there: list[int] = []
    fill(observer=lambda done, total: there.append(len(opened())))
    assert there == [done // step * step for done in range(5)]  # the last one counts after it is told
    assert names(opened()) == EVERY


def test_a_full_disk_loses_nothing_and_the_same_call_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "WORKS_BETWEEN_COMMITS", 2)
    original, writes = changes.parquet.write_table, iter(range(9))

    def write(*words: Any, **options: Any) -> None:
        if next(writes) >= 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*words, **options)

    monkeypatch.setattr(changes.parquet, "write_table", write)
    with pytest.raises(LibraryError, match=r"art\.library/library\.json: the disk is full; free some space"):
        fill()
    monkeypatch.setattr(changes.parquet, "write_table", original)
    assert names(opened()) == EVERY[:2]
    assert len([*Path(LIBRARY).iterdir()]) == 4  # nothing half done takes up the space
    assert fill() == adding.Report(added=3, known=2)


def test_a_read_only_library_can_be_run_over_again_when_nothing_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(changes, "atomic_write", refuse)
    assert fill() == adding.Report(known=5)
    paint(Path("works/ink/moon.png"), 64, 48, 9)
    with pytest.raises(LibraryError, match=r"library\.json: the folder is not writable"):
        fill()


def test_a_damaged_library_takes_no_works() -> None:
    fill("works/ink")
    (path,) = Path(LIBRARY).glob("works-*")
    path.write_bytes(b"")
    with pytest.raises(LibraryError, match=r"works-\w+\.parquet: is damaged; impasto library rebuild art\.library"):
        fill()


# Two at once


@pytest.mark.parametrize("step", [1, 2, 1024])
@pytest.mark.parametrize("moment", [1, 3, 5])
def test_two_that_add_the_same_folder_add_it_once(monkeypatch: pytest.MonkeyPatch, step: int, moment: int) -> None:
    monkeypatch.setattr(adding, "WORKS_BETWEEN_COMMITS", step)

    def observe(done: int, total: int) -> None:
        if done == moment:
            fill()

    fill(observer=observe)
    assert sorted(names(opened())) == EVERY
    check(opened())
    no_reading(monkeypatch)
    assert fill() == adding.Report(known=5)


@pytest.mark.parametrize("step", [1, 1024])
def test_two_that_add_copies_of_each_other_s_works_tell_them_from_new_ones(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(adding, "WORKS_BETWEEN_COMMITS", step)
    shutil.copytree("works/ink", "copies")
    reports = []

    def observe(done: int, total: int) -> None:
        if done == 1:
            reports.append(fill("copies"))

    reports.append(fill(observer=observe))
    assert sum(report.added for report in reports) == len(opened()) == 5
    assert sum(len(report.duplicates) for report in reports) == 3
    no_reading(monkeypatch)
    again = [fill("works"), fill("copies")]
    assert sum(len(report.duplicates) for report in again) == 3


def test_two_that_meet_unreadable_files_remember_both(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("works/ink/dodo.png", "works/wash/dodo.png"):
        truncated(Path(name))

    def observe(done: int, total: int) -> None:
        if done == 1:
            fill("works/wash")

    fill("works/ink", observer=observe)
    no_reading(monkeypatch)
    assert len(fill().refused) == 2


def test_two_that_make_a_library_at_once_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    original = encoder.create_library

    def create(folder: Path, manifest: store.Manifest) -> Library:
        monkeypatch.setattr(encoder, "create_library", original)
        fill("works/wash")
        return original(folder, manifest)

    monkeypatch.setattr(encoder, "create_library", create)
    assert fill("works/ink").added == 3
    assert len(opened()) == 5


def test_a_library_that_is_being_changed_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    original, times = Library.works_of, iter(range(9))

    def read(self: Library, *words: Any) -> Any:
        if next(times) == 0:
            raise ChangedError("was changed while it was read")
        return original(self, *words)

    monkeypatch.setattr(Library, "works_of", read)
    assert fill() == adding.Report(known=5)


# Several processes


def test_several_processes_find_the_same_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    truncated(Path("works/ink/dodo.png"))
    monkeypatch.setattr("impasto.library.signature.SIDE", 256)  # as it is elsewhere
    monkeypatch.setattr("impasto.library.reading.FEW", 0)
    assert fill(library="alone") == fill(library="together", processes=2)
    alone, together = (opened(name) for name in ("alone", "together"))
    assert alone.works("id", "path", "thumbnail") == together.works("id", "path", "thumbnail")
    torch.testing.assert_close(torch.cat(alone.sketches()), torch.cat(together.sketches()), rtol=1e-2, atol=1e-2)
    assert not multiprocessing.active_children()


def test_a_process_that_dies_costs_one_sentence_and_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.library.reading.FEW", 0)
    monkeypatch.setattr("impasto.library.reading.AHEAD", 1)

    def kill(done: int, total: int) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(LibraryError, match=r"one of the processes that read pictures died.*--processes 1"):
        fill(processes=2, observer=kill)
    assert not multiprocessing.active_children()
    assert 1 <= len(opened()) < 5
    report = fill()
    assert report.added + report.known == 5


CHILD = """
import os, sys, time
from impasto.library import adding, reading

if __name__ == "__main__":
    reading.FEW, adding.WORKS_BETWEEN_COMMITS = 0, 1

    def observe(done, total):
        if done == 3:
            print("now", flush=True)
            time.sleep(600)

    adding.add("art.library", ["works"], encoder="brief.safetensors", processes=2, observer=observe)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_kill_9_leaves_a_whole_library_and_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("child.py").write_text(CHILD)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "child.py"], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        readers = psutil.Process(child.pid).children(recursive=True)
        assert len(readers) >= 2
    finally:
        child.kill()
        child.communicate()
    left = [one for one in psutil.wait_procs(readers, timeout=30)[1] if one.status() != psutil.STATUS_ZOMBIE]
    assert not left
    check(opened())
    assert names(opened()) == EVERY[: len(opened())]
    assert len(opened()) >= 2
    seen = reading(monkeypatch)
    report = fill()
    assert report.added + report.known == 5
    assert len(seen) == report.added


# What a kill costs


def test_it_is_written_early_and_then_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(65):
        paint(Path(f"works/{number:02}.png"), 8, 8, 30 + number)
    now = [0.0]
    monkeypatch.setattr(adding.time, "monotonic", lambda: now[0])
    written: list[float] = []
    original = adding.commit

    def commit(*words: Any) -> Any:
        written.append(now[0])
        return original(*words)

    def second(done: int, total: int) -> None:
        now[0] += 1.001

    monkeypatch.setattr(adding, "commit", commit)
    fill(observer=second)
    assert [round(time) for time in written] == [2, 6, 14, 30, 50, 70]

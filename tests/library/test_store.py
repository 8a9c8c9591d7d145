"""What is in a library: whole at every moment, one change after the other."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytest
import torch
from pyarrow import parquet
from torch import Tensor
from torch.testing import assert_close

from impasto.errors import LibraryError
from impasto.library import changes, store
from impasto.library.changes import Change, commit, create_library, replace_by
from impasto.library.store import ChangedError, Library, Manifest, Source, open_library
from impasto.library.upkeep import check
from shelf import LAYERS, MANIFEST, adding, ids, row, sketch, skipped


def unscaled(library: Library) -> Tensor:
    """The sketches as they were given, as far as half precision tells."""
    scale = torch.cat([torch.full((n,), library.manifest.units[layer]) for layer, n in LAYERS.items()])
    return torch.cat(library.sketches()).float() * scale


def files(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "WORKS_OF_A_SHARD", 2)


# Works


def test_what_is_written_is_read_again(library: Library) -> None:
    found = open_library(library.folder)
    assert found.works(*store.SCHEMA.names).to_pylist() == [row(f"w{n}") for n in range(3)]
    assert_close(unscaled(found), torch.stack([sketch(n) for n in range(3)]), rtol=1e-3, atol=1e-3)


def test_other_programs_can_read_the_works(library: Library) -> None:
    (path,) = library.folder.glob("works-*.parquet")
    assert parquet.read_table(path).column_names == store.SCHEMA.names


def test_layers_count_alike_whatever_their_numbers_are_like(tmp_path: Path) -> None:
    loud = torch.tensor([1000.0, 1000, 1000, 1, 1])
    change = Change([row(f"w{n}") for n in range(4)], [sketch(n) * loud for n in range(4)])
    found = commit(create_library(tmp_path / "a", MANIFEST), change)
    fine, coarse = torch.cat(found.sketches()).float().split([3, 2], 1)
    assert float(fine.square().sum(1).mean()) == pytest.approx(1, abs=1e-2)
    assert float(coarse.square().sum(1).mean()) == pytest.approx(1, abs=1e-2)


def test_later_works_are_in_the_units_of_the_first_ones(library: Library) -> None:
    after = commit(library, Change([row("w9")], [sketch(9, 50.0)]))
    assert after.manifest.units == library.manifest.units
    assert_close(unscaled(after)[3], sketch(9, 50.0), rtol=1e-3, atol=1e-3)


def test_a_work_unlike_all_others_has_finite_numbers(library: Library) -> None:
    after = commit(library, Change([row("w9")], [sketch(9, 1e9)]))
    assert torch.cat(after.sketches()).isfinite().all()


@pytest.mark.usefixtures("small_shards")
def test_shards_are_filled_up_and_keep_the_order(library: Library) -> None:
    for numbers in ((3,), (4, 5, 6)):
        library = commit(library, adding(*numbers))
    assert [shard.count for shard in library.manifest.shards] == [2, 2, 2, 1]
    assert ids(library) == [f"w{n}" for n in range(7)]
    assert_close(unscaled(library), torch.stack([sketch(n) for n in range(7)]), rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("small_shards")
def test_what_is_gone_leaves_the_others_with_their_own_sketches(library: Library) -> None:
    after = commit(library, Change(gone=frozenset({"w0"})))
    assert ids(after) == ["w1", "w2"]
    assert_close(unscaled(after), torch.stack([sketch(1), sketch(2)]), rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("small_shards")
def test_a_shard_that_nothing_happens_to_is_not_written_anew(library: Library) -> None:
    after = commit(library, Change(gone=frozenset({"w2"}), replaced={"other": {"title": "new"}}))
    assert after.manifest.shards[0] == library.manifest.shards[0]


def test_a_library_whose_works_are_all_gone_can_be_filled_again(library: Library) -> None:
    empty = commit(library, Change(gone=frozenset({"w0", "w1", "w2"})))
    assert (len(empty), empty.works("id", "tags").num_rows, empty.sketches()) == (0, 0, [])
    assert ids(commit(empty, adding(1))) == ["w1"]


def test_new_facts_are_those_of_one_work_and_leave_sketches_alone(library: Library) -> None:
    after = commit(library, Change(replaced={"w1": {"title": "Hare", "tags": ["wash", "moon"]}}))
    assert after.works("title", "tags").to_pylist() == [
        {"title": "w0", "tags": ["ink"]},
        {"title": "Hare", "tags": ["wash", "moon"]},
        {"title": "w2", "tags": ["ink"]},
    ]
    assert [one.sketches for one in after.manifest.shards] == [one.sketches for one in library.manifest.shards]


def test_a_work_can_go_and_come_in_one_change(library: Library) -> None:
    back = Change([row("w1", path="/new.png")], [sketch(1)], gone=frozenset({"w1"}))
    assert commit(library, back).works("id", "path").to_pylist()[1:] == [
        {"id": "w2", "path": "/pictures/w2.png"},
        {"id": "w1", "path": "/new.png"},
    ]


def test_the_last_word_on_a_source_counts(library: Library) -> None:
    for facts in ("folders", "sidecar"):
        library = commit(library, Change(sources=[Source(path="/a", facts=facts), Source(path=f"/{facts}", facts="x")]))
    assert [(one.path, one.facts) for one in library.manifest.sources] == [
        ("/folders", "x"),
        ("/a", "sidecar"),
        ("/sidecar", "x"),
    ]


# Several processes


def test_what_another_process_has_added_is_not_added_twice(library: Library) -> None:
    commit(library, adding(3, 4))
    assert ids(commit(library, adding(4, 5))) == ["w0", "w1", "w2", "w3", "w4", "w5"]


def test_a_work_that_goes_and_comes_is_there_whatever_another_process_has_done(library: Library) -> None:
    commit(library, adding(3))
    after = commit(library, Change([row("w1", path="/new.png")], [sketch(1)], gone=frozenset({"w1"})))
    assert sorted(ids(after)) == ["w0", "w1", "w2", "w3"]


def test_new_facts_of_a_work_that_is_new_itself_are_its_facts(library: Library) -> None:
    after = commit(library, adding(3, replaced={"w3": {"title": "Hare"}}))
    assert after.works("title")["title"].to_pylist() == ["w0", "w1", "w2", "Hare"]


def test_files_that_another_process_has_skipped_stay_skipped(library: Library) -> None:
    commit(library, Change(skipped={"/a": skipped("/a"), "/b": skipped("/b")}))
    after = commit(library, Change(skipped={"/c": skipped("/c"), "/b": None, "/odd.png": None}))
    assert after.skipped()["path"].to_pylist() == ["/a", "/c"]


def test_a_reader_is_told_of_a_change(library: Library) -> None:
    commit(library, adding(3))
    with pytest.raises(ChangedError, match=r"art\.library: was changed while it was read: try again$"):
        library.works("id")


def test_works_of_one_encoder_do_not_go_into_a_library_made_anew_with_another(library: Library) -> None:
    path = library.folder / store.MANIFEST
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"encoder_checksum": "1"}))
    with pytest.raises(ChangedError, match="made anew with another encoder meanwhile"):
        commit(library, adding(3))
    assert ids(open_library(library.folder)) == ["w0", "w1", "w2"]


def test_a_change_waits_for_another_process_s_but_not_for_ever(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "SECONDS_TO_WAIT", 0.01)

    def taken(*_: Any, **__: Any) -> Any:
        raise filelock.Timeout(str(library.folder / store.LOCK))

    monkeypatch.setattr(changes.FileLock, "acquire", taken)
    with pytest.raises(LibraryError, match="another process has been changing it for a while: try again later"):
        commit(library, adding(3))
    monkeypatch.undo()
    assert len(open_library(library.folder)) == 3


def test_a_disk_without_locks_is_refused(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise NotImplementedError

    monkeypatch.setattr(changes.FileLock, "acquire", unknown)
    with pytest.raises(LibraryError, match="this disk knows no locks"):
        commit(library, adding(3))


# Changes that are cut off


PARTS = ["works-", "sketches-", "skipped-", "library"]
EVERYTHING = {"gone": frozenset({"w0"}), "skipped": {"/a": skipped("/a")}}


def failing(monkeypatch: pytest.MonkeyPatch, part: str, error: BaseException) -> None:
    """Files whose names begin so cannot be finished."""
    original = changes.atomic_write

    @contextmanager
    def write(path: Path) -> Iterator[Path]:
        with original(path) as temporary:
            yield temporary
            if path.name.startswith(part):
                raise error

    monkeypatch.setattr(changes, "atomic_write", write)


@pytest.mark.parametrize("part", PARTS)
def test_an_interrupted_change_has_not_happened(library: Library, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    before = files(library.folder)
    failing(monkeypatch, part, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        commit(library, adding(3, **EVERYTHING))
    assert open_library(library.folder) == library
    assert files(library.folder) == before
    check(library)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "is not writable")])
def test_a_change_that_cannot_be_written_has_not_happened(
    library: Library, monkeypatch: pytest.MonkeyPatch, part: str, number: int, words: str
) -> None:
    before = files(library.folder)
    failing(monkeypatch, part, OSError(number, os.strerror(number)))
    with pytest.raises(LibraryError, match=rf"art\.library/library\.json: .*{words}"):
        commit(library, adding(3, **EVERYTHING))
    assert open_library(library.folder) == library
    assert files(library.folder) == before
    monkeypatch.undo()
    assert ids(commit(library, adding(3))) == ["w0", "w1", "w2", "w3"]


def test_a_disk_that_is_full_when_the_lock_is_made_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(changes.FileLock, "acquire", full)
    with pytest.raises(LibraryError, match="the disk is full"):
        create_library(tmp_path / "a", MANIFEST)


def test_a_change_that_is_interrupted_at_its_very_end_has_happened(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = changes._write_manifest

    def write(folder: Path, manifest: Manifest) -> None:
        original(folder, manifest)
        raise KeyboardInterrupt

    monkeypatch.setattr(changes, "_write_manifest", write)
    with pytest.raises(KeyboardInterrupt):
        commit(library, adding(3))
    after = open_library(library.folder)
    check(after)
    assert len(after) == 4


def test_what_a_process_left_that_was_killed_goes_with_the_next_change(library: Library) -> None:
    left = ("works-1.parquet", "sketches-1.safetensors", "skipped-1.parquet", ".impasto-1.json")
    for name in (*left, "notes.txt"):
        (library.folder / name).write_bytes(b"")
    commit(library, adding(3))
    assert files(library.folder).isdisjoint(left)
    assert "notes.txt" in files(library.folder)


# One library in place of another


@pytest.fixture
def other(library: Library) -> Library:
    """One that is to take its place, within it."""
    inner = create_library(library.folder / ".rebuilt", MANIFEST.model_copy(update={"encoder": "vgg19"}))
    return commit(inner, adding(5, 6, skipped={"/new.png": skipped("/new.png")}))


def whole(library: Library) -> tuple[Sequence[str], Sequence[str], str]:
    check(library)
    return ids(library), library.skipped()["path"].to_pylist(), library.manifest.encoder


def test_a_library_takes_the_place_of_another_and_stays_whole(library: Library, other: Library) -> None:
    found = replace_by(library, other)
    expected = (["w5", "w6"], ["/new.png"], "vgg19")
    assert whole(found) == whole(open_library(library.folder)) == whole(open_library(other.folder)) == expected
    assert found.manifest.home == str(library.folder)
    assert len([name for name in files(library.folder) if name.startswith("works")]) == 1


@pytest.mark.usefixtures("other")
def test_it_is_copied_where_files_cannot_have_two_names(
    library: Library, other: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", unknown)
    assert whole(replace_by(library, other))[0] == ["w5", "w6"]


def test_interrupted_it_leaves_both_whole_and_can_be_done_again(
    library: Library, other: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "library", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        replace_by(library, other)
    monkeypatch.undo()
    assert whole(open_library(library.folder))[0] == ["w0", "w1", "w2"]
    assert whole(replace_by(library, open_library(other.folder)))[0] == ["w5", "w6"]


def test_what_was_killed_on_the_way_does_not_stand_in_its_way(library: Library, other: Library) -> None:
    name = other.manifest.shards[0].works
    (library.folder / name).hardlink_to(other.folder / name)
    assert whole(replace_by(library, other))[0] == ["w5", "w6"]


def test_a_change_meanwhile_is_not_lost(library: Library, other: Library) -> None:
    commit(library, adding(3))
    with pytest.raises(ChangedError, match="was changed meanwhile"):
        replace_by(library, other)
    assert ids(open_library(library.folder)) == ["w0", "w1", "w2", "w3"]

"""Upkeep: works taken out, what is missing, and libraries made anew without losing what they have."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gallery import COLUMNS, LIBRARY, fill, names, no_reading, opened, reading, row_of
from impasto.errors import Interrupted, LibraryError, PictureError
from impasto.library import changes, store, upkeep
from impasto.library.report import Report
from impasto.library.searching import search
from impasto.library.store import ChangedError, Library
from impasto.library.upkeep import check, facts, missing, named, rebuild, remove
from studio import WORKS, paint

EVERY = ["carp.png", "crane.png", "hare.png", "hill.png", "river.png"]
HARE = Path("works/ink/hare.png")


@pytest.fixture
def library(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Five works in shards of two, and a copy that is none."""
    monkeypatch.setattr(changes, "WORKS_OF_A_SHARD", 2)
    shutil.copy(HARE, "works/wash/copy.png")
    fill()
    return opened()


def held(library: Library) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = library.works(*COLUMNS).to_pylist()
    return sorted(found, key=lambda one: str(one["path"]))


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


# Works taken out


def test_works_that_are_taken_out_are_gone_and_their_pictures_are_not(library: Library) -> None:
    after = remove(search(library, tags=["ink"]))
    assert names(after) == names(opened()) == ["hill.png", "river.png"]
    assert all(Path(name).is_file() for name in WORKS)
    check(after)


def test_all_works_can_be_taken_out_and_come_again(library: Library) -> None:
    assert len(remove(search(library), for_good=False)) == 0
    assert fill().added == 5
    assert sorted(names(opened())) == EVERY


def test_what_is_taken_out_stays_out(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also its copy."""
    remove(search(library, text="hare"))
    assert fill() == Report(known=4, removed=1)
    no_reading(monkeypatch)
    assert fill() == Report(known=4, removed=1)
    assert "hare.png" not in names(opened())
    assert "copy.png" not in names(opened())


@pytest.mark.parametrize("change", [touch, lambda path: path.rename(path.with_stem("rabbit"))])
def test_what_is_taken_out_stays_out_wherever_it_lies(library: Library, change: Callable[[Path], Any]) -> None:
    remove(search(library, text="hare"))
    change(HARE)
    for _ in range(2):
        assert fill().removed == 1
    assert len(opened()) == 4


def test_what_is_taken_out_and_away_for_a_while_stays_out(library: Library) -> None:
    remove(search(library, text="hare"))
    data = HARE.read_bytes()
    Path("works/wash/copy.png").unlink()
    HARE.unlink()
    assert fill() == Report(known=4)
    HARE.write_bytes(data)
    assert fill() == Report(known=4, removed=1)


@pytest.mark.parametrize("path", [HARE, Path("works/wash/copy.png")])
def test_what_is_taken_out_comes_back_if_it_is_named(library: Library, path: Path) -> None:
    remove(search(library, text="hare"))
    assert fill(path) == Report(added=1)
    assert path.name in names(opened())
    assert fill().removed == 0
    assert len(opened()) == 5


def test_another_picture_in_the_place_of_what_is_taken_out_is_added(library: Library) -> None:
    remove(search(library, text="hare"))
    paint(HARE, 64, 48, 99)
    assert fill().added == 1


def test_folders_without_works_that_are_left_are_forgotten(library: Library) -> None:
    paint(Path("moon.png"), 64, 48, 9)
    fill("moon.png", "works/ink")
    remove(named(opened(), [Path("moon.png"), Path("works/ink")]))
    assert [Path(one.path).name for one in opened().sources] == ["works"]
    Path("moon.png").unlink()
    assert rebuild(LIBRARY).added == 2


def test_what_was_chosen_before_another_change_is_to_be_chosen_again(library: Library) -> None:
    selection = search(library, text="hare")
    remove(selection)
    with pytest.raises(ChangedError, match="was changed while it was read: try again"):
        remove(selection)


def test_works_without_pictures_are_found(library: Library) -> None:
    assert len(missing(library)) == 0
    HARE.unlink()
    assert [row["path"] for row in missing(library).rows("path")] == [str(HARE.resolve())]


def test_works_of_a_library_that_moved_with_its_pictures_are_not_missing(library: Library, gallery: Path) -> None:
    for name in ("works", LIBRARY):
        (gallery / "new").mkdir(exist_ok=True)
        (gallery / name).rename(gallery / "new" / name)
    moved = opened("new" / Path(LIBRARY))
    assert len(missing(moved)) == 0
    assert len(named(moved, [Path("new") / HARE])) == 1


def test_works_are_named_by_their_folders(library: Library) -> None:
    assert len(named(library, [Path("works")])) == 5
    assert [path.name for path in named(library, [Path("works/wash")]).paths] == ["hill.png", "river.png"]
    with pytest.raises(LibraryError, match=r"works/in: is no work of art\.library"):
        named(library, [Path("works/in")])


def test_works_are_named_by_their_pictures(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    found = named(library, [Path("works/wash/hill.png"), HARE, HARE])
    assert [path.name for path in found.paths] == ["hare.png", "hill.png"]
    monkeypatch.chdir("works")
    assert len(named(opened(f"../{LIBRARY}"), [Path("ink/hare.png")])) == 1


def test_a_picture_that_is_gone_can_be_named(library: Library) -> None:
    HARE.unlink()
    assert len(named(library, [HARE])) == 1


@pytest.mark.parametrize(("name", "near"), [("works/ink/hair.png", r" \(did you mean hare\.png\?\)"), ("tree.png", "")])
def test_a_picture_that_is_no_work_is_one_sentence_with_a_near_match(library: Library, name: str, near: str) -> None:
    with pytest.raises(LibraryError, match=rf"{name}: is no work of art\.library{near}$"):
        named(library, [HARE, Path(name)])


# What there is


def test_what_there_is_is_told(library: Library) -> None:
    (Path("works/ink") / "dodo.png").write_bytes(b"")
    fill()
    fill("works/wash", facts="sidecar")
    HARE.unlink()
    told = dict(facts(opened()))
    assert told.pop("works").startswith("5 in 3 shards, 0.0 MB")
    assert told.pop("encoder").endswith("brief.safetensors")
    assert told == {
        "tags": "3",
        "authors": "0",
        "without pictures": "1",
        "duplicates left out": "1",
        "not readable": "1",
        "taken out": "0",
        "added 1": f"{Path('works').resolve()}, tags from folders",
        "added 2": f"{Path('works/wash').resolve()}, tags from sidecar",
    }


def test_of_very_many_sources_some_are_told(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "MOST_SOURCES", 2)
    fill(*WORKS)
    told = dict(facts(opened()))
    assert (told["added 3"], "added 4" in told) == ("4 more", False)


def test_an_empty_library_can_be_told_of(library: Library) -> None:
    assert dict(facts(remove(search(library))))["works"] == "0 in 0 shards, 0.0 MB"


# Libraries made anew


def of_kind(kind: str) -> list[Path]:
    return sorted(Path(LIBRARY).glob(f"{kind}-*"))


@pytest.mark.parametrize("kind", ["works", "sketches", "skipped"])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_a_damaged_library_is_whole_again(library: Library, spoil: Callable[[Path], None], kind: str) -> None:
    before, sketches = held(library), torch.cat(library.sketches()).clone()
    spoil(of_kind(kind)[0])
    report = rebuild(LIBRARY)
    assert (report.added, len(report.duplicates), report.refused) == (5, 1, {})
    check(opened())
    assert held(opened()) == before
    torch.testing.assert_close(torch.cat(opened().sketches()), sketches, rtol=1e-2, atol=1e-2)


def test_nothing_is_left_beside_a_library_made_anew(library: Library) -> None:
    rebuild(LIBRARY)
    shards = opened().manifest.shards
    expected = {name for one in shards for name in (one.works, one.sketches)} | {opened().manifest.skipped}
    assert {one.name for one in Path(LIBRARY).iterdir()} == expected | {store.MANIFEST, store.LOCK}


def test_a_library_made_anew_knows_its_files(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    rebuild(LIBRARY)
    no_reading(monkeypatch)
    assert fill().known == 5


def test_a_library_can_be_made_anew_with_another_encoder(library: Library, lively_path: Path) -> None:
    before = held(library)
    rebuild(LIBRARY, encoder=str(lively_path))
    assert opened().manifest.encoder == str(lively_path)
    assert opened().manifest.layers.keys() == {f"relu{n}_1" for n in range(1, 6)}
    assert held(opened()) == before
    check(opened())


def test_each_source_keeps_its_facts(library: Library) -> None:
    Path("facts.csv").write_text("file,author\nhare,Koson\n")
    fill(HARE, facts="facts.csv")
    before = held(opened())
    rebuild(LIBRARY)
    assert held(opened()) == before
    assert row_of("hare.png")["author"] == "Koson"


def test_until_all_is_done_a_library_is_as_it_was_and_the_same_call_goes_on(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            assert opened() == library
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        rebuild(LIBRARY, observer=stop)
    assert opened() == library
    check(library)
    seen = reading(monkeypatch)
    assert rebuild(LIBRARY).added == 5
    assert seen == ["copy.png", "hill.png", "river.png"]
    check(opened())


def test_interrupted_at_its_very_end_it_goes_on_without_reading(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = changes._write_manifest

    def write(folder: Path, manifest: store.Manifest) -> None:
        if folder == Path(LIBRARY):
            raise KeyboardInterrupt
        original(folder, manifest)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(changes, "_write_manifest", write)
        with pytest.raises(KeyboardInterrupt):
            rebuild(LIBRARY)
    assert opened() == library
    check(library)
    no_reading(monkeypatch)
    assert rebuild(LIBRARY).added == 5
    check(opened())


def begun() -> None:
    """A rebuild that was stopped when almost done."""

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        rebuild(LIBRARY, observer=stop)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"{")])
@pytest.mark.parametrize("kind", ["library.json", "works-*", "sketches-*"])
def test_what_was_begun_and_is_damaged_is_begun_anew(
    library: Library, kind: str, spoil: Callable[[Path], None]
) -> None:
    begun()
    spoil(next((Path(LIBRARY) / upkeep.REBUILT).glob(kind)))
    assert rebuild(LIBRARY).added == 5
    check(opened())
    assert sorted(names(opened())) == EVERY


def test_what_was_begun_with_another_encoder_is_begun_anew(library: Library, lively_path: Path) -> None:
    begun()
    rebuild(LIBRARY, encoder=str(lively_path))
    assert opened().manifest.encoder == str(lively_path)
    check(opened())


def test_a_picture_that_is_gone_since_it_was_begun_is_left_out(library: Library) -> None:
    begun()
    Path("works/ink/carp.png").unlink()
    with pytest.raises(LibraryError, match=r"carp\.png: is not there any more"):
        rebuild(LIBRARY)
    report = rebuild(LIBRARY, missing=True)
    assert (report.added, report.gone) == (4, 1)
    assert "carp.png" not in names(opened())


def test_what_is_taken_out_since_it_was_begun_stays_out(library: Library) -> None:
    begun()
    remove(search(opened(), text="carp"))
    assert rebuild(LIBRARY) == Report(added=4, removed=1, duplicates=fill().duplicates)
    assert "carp.png" not in names(opened())


def test_what_comes_back_since_it_was_begun_is_in_it(library: Library) -> None:
    remove(search(opened(), text="carp"))
    with pytest.raises(Interrupted):
        rebuild(LIBRARY, observer=lambda done, total: signal_if(done == 4))
    fill("works/ink/carp.png")
    assert rebuild(LIBRARY).added == 5


def signal_if(wanted: bool) -> None:
    if wanted:
        raise KeyboardInterrupt


def test_works_that_are_added_meanwhile_are_in_it(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(Path("moon.png"), 64, 48, 9)

    def meanwhile(done: int, total: int) -> None:
        if done == 3 and not (Path(LIBRARY) / "done").exists():
            (Path(LIBRARY) / "done").touch()
            fill("moon.png")

    assert rebuild(LIBRARY, observer=meanwhile).added == 6
    assert "moon.png" in names(opened())
    check(opened())


def test_works_without_pictures_are_left_out(library: Library) -> None:
    HARE.unlink()
    Path("works/wash/copy.png").unlink()
    with pytest.raises(LibraryError, match=r"hare\.png: is not there any more: put it back, or leave out what is gone"):
        rebuild(LIBRARY)
    assert opened() == library
    report = rebuild(LIBRARY, missing=True)
    assert (report.added, report.gone) == (4, 1)
    assert sorted(names(opened())) == [name for name in EVERY if name != "hare.png"]


def test_a_work_that_moved_within_its_folder_is_not_left_out(library: Library) -> None:
    HARE.rename("works/ink/rabbit.png")
    report = rebuild(LIBRARY, missing=True)
    assert (report.added, report.gone) == (5, 0)


def test_what_cannot_be_found_any_more_is_told(library: Library) -> None:
    paint(Path("moon.png"), 64, 48, 9)
    fill("moon.png")
    Path("moon.png").unlink()
    with pytest.raises(LibraryError, match=r"moon\.png: is not there any more: put it back, .*; art\.library stays as"):
        rebuild(LIBRARY)
    report = rebuild(LIBRARY, missing=True)
    assert (report.added, report.refused, report.gone) == (5, {}, 1)
    assert [Path(one.path).name for one in opened().sources] == ["works"]


@pytest.mark.parametrize("go", [shutil.rmtree, lambda path: [one.unlink() for one in path.iterdir()]])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_folder_that_is_away_is_told_and_its_works_stay(
    library: Library, go: Callable[[Path], Any], damaged: bool
) -> None:
    """A disk that is not there leaves an empty folder."""
    shutil.copytree("works/wash", "other")
    for number, path in enumerate(sorted(Path("other").iterdir())):
        paint(path, 64, 48, 20 + number)
    fill("other")
    if damaged:
        of_kind("works")[0].unlink()
    before = opened()
    go(Path("other"))
    HARE.unlink()
    more = "( and 1 more: are|: is)" if damaged else " and 1 more: are"
    with pytest.raises(
        LibraryError, match=rf"other{more} not there any more: put .*, or leave out .* with --missing; a"
    ):
        rebuild(LIBRARY)
    assert opened() == before
    rebuild(LIBRARY, missing=True)
    assert sorted(names(opened())) == sorted({*EVERY, "copy.png"} - {"hare.png"})
    assert [Path(one.path).name for one in opened().sources] == ["works"]


def test_a_folder_that_may_not_be_looked_at_is_not_left_out(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(PictureError, match="works: may not be looked at"):
        rebuild(LIBRARY, missing=True)
    assert opened() == library


def test_a_library_of_which_nothing_is_left_stays_as_it_is(library: Library) -> None:
    shutil.rmtree("works")
    with pytest.raises(
        LibraryError, match=r"art\.library: nothing that was added to it can be read any more; it stays"
    ):
        rebuild(LIBRARY, missing=True)
    assert opened() == library


def test_a_table_that_is_gone_costs_no_facts(library: Library) -> None:
    Path("facts.csv").write_text("file,author\nhare,Koson\n")
    fill(HARE, facts="facts.csv")
    before = opened()
    Path("facts.csv").unlink()
    with pytest.raises(LibraryError, match=r"facts\.csv: no such file"):
        rebuild(LIBRARY)
    assert opened() == before
    assert row_of("hare.png")["author"] == "Koson"


def test_a_full_disk_costs_nothing(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    original, writes = changes.parquet.write_table, iter(range(9))
    monkeypatch.setattr("impasto.library.adding.WORKS_BETWEEN_COMMITS", 2)

    def write(*words: Any, **options: Any) -> None:
        if next(writes) >= 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*words, **options)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(changes.parquet, "write_table", write)
        with pytest.raises(LibraryError, match="the disk is full"):
            rebuild(LIBRARY)
    assert opened() == library
    check(library)
    assert rebuild(LIBRARY).added == 5


def test_a_library_that_moved_with_its_pictures_is_made_anew_from_where_they_are(
    library: Library, gallery: Path
) -> None:
    Path("facts.csv").write_text("file,author\nhare,Koson\n")
    fill(HARE, facts="facts.csv")
    (gallery / "new").mkdir()
    for name in ("works", LIBRARY, "facts.csv", "brief.safetensors"):
        (gallery / name).rename(gallery / "new" / name)
    report = rebuild(gallery / "new" / LIBRARY)
    assert (report.added, report.refused) == (5, {})
    moved = opened(gallery / "new" / LIBRARY)
    assert moved.works("path")["path"][0].as_py() == str(gallery / "new/works/ink/carp.png")
    assert row_of("hare.png", moved.folder)["author"] == "Koson"


def test_what_was_taken_out_stays_out_of_a_library_made_anew(library: Library) -> None:
    remove(search(library, text="hare"))
    for _ in range(2):
        assert rebuild(LIBRARY) == Report(added=4, removed=1)
    assert fill() == Report(known=4, removed=1)


def test_what_was_missing_and_taken_out_is_in_it_again_when_it_is_back(library: Library) -> None:
    data = HARE.read_bytes()
    HARE.unlink()
    remove(missing(library), for_good=False)
    HARE.write_bytes(data)
    assert rebuild(LIBRARY).added == 5


def test_tables_that_followed_each_other_both_keep_their_say(library: Library) -> None:
    Path("a.csv").write_text("file,author\nhare,Koson\ncarp,Koson\n")
    Path("b.csv").write_text("file,author\ncarp,Hokusai\n")
    for table in ("a.csv", "b.csv", "a.csv", "b.csv"):
        fill(facts=table)
    before = held(opened())
    assert [row_of(name)["author"] for name in ("hare.png", "carp.png")] == ["Koson", "Hokusai"]
    assert [Path(one.facts).name for one in opened().sources] == ["a.csv", "b.csv"]
    begun()
    for _ in range(2):
        rebuild(LIBRARY)
        assert held(opened()) == before
        assert [Path(one.facts).name for one in opened().sources] == ["a.csv", "b.csv"]
    for seed, name in enumerate(("carp.png", "hare.png")):
        paint(Path("works/ink") / name, 64, 48, 30 + seed)
    remove(search(opened(), text="koson"))
    remove(search(opened(), text="hokusai"))
    assert fill().added == 2
    assert [row_of(name)["author"] for name in ("hare.png", "carp.png")] == ["Koson", "Hokusai"]
    fill(facts="folders")
    assert [one.facts for one in opened().sources] == ["folders"]


def test_a_library_whose_manifest_is_gone_cannot_be_made_anew(library: Library) -> None:
    (Path(LIBRARY) / store.MANIFEST).unlink()
    with pytest.raises(LibraryError, match=r"library\.json: is missing, and works are there; put it back"):
        rebuild(LIBRARY)
    with pytest.raises(LibraryError, match=r"library\.json: is missing, and works are there; put it back"):
        fill()
    assert len(of_kind("works")) == 3

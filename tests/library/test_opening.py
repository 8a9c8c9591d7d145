"""Libraries where they lie: in new places, after a move, and with every damage named."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import save_file
from torch import Tensor

from impasto.errors import LibraryError
from impasto.library import changes, store
from impasto.library.changes import Change, commit, create_library
from impasto.library.store import Library, Source, is_library, open_library
from impasto.library.upkeep import check
from shelf import MANIFEST, adding, row, sketch, skipped

# Places for libraries


def test_a_library_is_made_in_a_new_folder_or_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "deep/new"):
        assert len(create_library(tmp_path / place, MANIFEST)) == 0


@pytest.mark.parametrize("left", [store.LOCK, ".impasto-12.json"])
def test_a_library_is_made_where_a_process_was_killed_that_made_one(tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_bytes(b"")
    assert len(create_library(tmp_path, MANIFEST)) == 0


@pytest.mark.parametrize(
    ("there", "place", "words"),
    [
        ("file", "file", r"file: is a file; a library is a folder: choose another name"),
        ("file", "file/art", r"file/art: the folder .*file does not exist"),
        ("art/hare.png", "art", r"art: is a folder with other things in it; name a new one"),
        ("art/works-1.parquet", "art", r"art/library\.json: is missing, and works are there; put it back"),
    ],
)
def test_a_place_where_no_library_can_be(tmp_path: Path, there: str, place: str, words: str) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_bytes(b"")
    with pytest.raises(LibraryError, match=words):
        create_library(tmp_path / place, MANIFEST)
    assert (tmp_path / there).exists()
    assert not is_library(tmp_path / place)


def test_a_library_that_another_process_makes_at_the_same_time_is_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = changes._alone

    @contextmanager
    def late(folder: Path) -> Iterator[None]:
        with original(folder):
            changes._write_manifest(folder, MANIFEST.model_copy(update={"encoder": "vgg19"}))
            yield

    monkeypatch.setattr(changes, "_alone", late)
    assert create_library(tmp_path / "a", MANIFEST).manifest.encoder == "vgg19"


def test_a_place_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    place = odd_folder(tmp_path)
    with pytest.raises(LibraryError, match="the name is not UTF-8, and a library holds no others: rename it"):
        create_library(place / "art.library", MANIFEST)


def odd_folder(folder: Path) -> Path:
    """One whose name is Latin-1."""
    place = folder / os.fsdecode(b"caf\xe9")
    try:
        place.mkdir()
    except OSError:
        pytest.skip("no such names here")
    return place


# Damage


def shard_file(library: Library, kind: str) -> Path:
    (path,) = library.folder.glob(f"{kind}-*")
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_text(path: Path) -> None:
    path.write_text("Once upon a time")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("kind", ["works", "sketches", "skipped"])
@pytest.mark.parametrize("spoil", [truncate, empty, replace_by_text, replace_by_folder])
def test_a_damaged_file_is_named_with_what_mends_it(library: Library, spoil: Callable[[Path], None], kind: str) -> None:
    path = shard_file(library, kind)
    spoil(path)
    with pytest.raises(LibraryError, match=rf"^{path}: is damaged; impasto library rebuild {library.folder} makes it"):
        check(open_library(library.folder))


@pytest.mark.parametrize("kind", ["works", "sketches", "skipped"])
def test_a_missing_file_is_named(library: Library, kind: str) -> None:
    shard_file(library, kind).unlink()
    with pytest.raises(LibraryError, match=rf"/{kind}-\w+\.\w+: is missing; impasto library rebuild"):
        check(open_library(library.folder))


def other_columns(path: Path) -> None:
    parquet.write_table(parquet.read_table(path).drop_columns(["path"]), path)


def other_types(path: Path) -> None:
    table = parquet.read_table(path)
    parquet.write_table(table.set_column(0, table.column_names[0], pa.array([[1]] * len(table))), path)


def fewer_rows(path: Path) -> None:
    parquet.write_table(parquet.read_table(path).slice(1), path)


@pytest.mark.parametrize("spoil", [other_columns, other_types, fewer_rows])
def test_works_of_another_shape_are_damage(library: Library, spoil: Callable[[Path], None]) -> None:
    spoil(shard_file(library, "works"))
    with pytest.raises(LibraryError, match=r"works-\w+\.parquet: is damaged"):
        library.works(*store.SCHEMA.names)


def test_a_flipped_bit_among_the_works_is_damage(library: Library) -> None:
    path = shard_file(library, "works")
    data = bytearray(path.read_bytes())
    data[data.index(b"/pictures/w0.png")] ^= 1
    path.write_bytes(data)
    with pytest.raises(LibraryError, match=r"works-\w+\.parquet: is damaged"):
        library.works(*store.SCHEMA.names)


@pytest.mark.parametrize(
    "tensors",
    [
        {"sketches": torch.zeros(3, 4, dtype=torch.float16)},
        {"sketches": torch.zeros(2, 5, dtype=torch.float16)},
        {"sketches": torch.zeros(3, 5)},
        {"others": torch.zeros(3, 5, dtype=torch.float16)},
        {"sketches": torch.full((3, 5), torch.nan, dtype=torch.float16)},
    ],
)
def test_sketches_of_another_shape_are_damage(library: Library, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, shard_file(library, "sketches"))
    with pytest.raises(LibraryError, match=r"sketches-\w+\.safetensors: is damaged"):
        check(library)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "\xff", '{"format": 1}', '{"format": "x"}', None],
)
def test_a_damaged_manifest_is_one_sentence(library: Library, text: str | None) -> None:
    path = library.folder / store.MANIFEST
    found = json.loads(path.read_text())
    text = json.dumps(found | {"units": {"fine": 1.0}}) if text is None else text
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(LibraryError, match=r"library\.json: is damaged; move .*art\.library away and add its pictures"):
        open_library(library.folder)


def test_a_library_of_a_later_format_is_left_to_a_later_impasto(library: Library) -> None:
    path = library.folder / store.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": store.FORMAT + 1, "colour": "blue"}))
    with pytest.raises(LibraryError, match=r"art\.library: was written by a later impasto: bring this one up to date"):
        open_library(library.folder)


@pytest.mark.parametrize("name", ["art.librari", "nothing/at/all"])
def test_no_library_is_one_sentence_with_a_near_match(library: Library, name: str) -> None:
    near = r" \(did you mean art\.library\?\)" if name == "art.librari" else ""
    with pytest.raises(LibraryError, match=rf"{name}: is no style library{near}; impasto library add"):
        open_library(library.folder.parent / name)


def test_a_file_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(LibraryError, match=r"a\.txt: is a file, and a style library is a folder$"):
        open_library(tmp_path / "a.txt")


@pytest.mark.parametrize("kind", ["works", "sketches"])
def test_a_file_that_may_not_be_read_is_no_damage(library: Library, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(store, "_read_table" if kind == "works" else "_mapped", refused)
    with pytest.raises(LibraryError, match=rf"{kind}-\w+\.\w+: may not be read; change its permissions"):
        library.works("id") if kind == "works" else library.sketches()


# Libraries that move


@pytest.fixture
def moved(tmp_path: Path) -> Library:
    """A library beside its pictures, after both have moved; one picture of its three stayed where it was."""
    for name in ("old/pictures/near.png", "old/encoder.safetensors", "old/tags.csv", "elsewhere/far.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"picture")
    old = tmp_path / "old"
    manifest = MANIFEST.model_copy(update={"encoder": str(old / "encoder.safetensors")})
    paths = {"near": old / "pictures/near.png", "far": tmp_path / "elsewhere/far.png", "gone": old / "gone.png"}
    rows = [row(name, path=str(path)) for name, path in paths.items()]
    sources = [Source(path=str(old / "pictures"), facts=str(old / "tags.csv")), Source(path="/x", facts="folders")]
    odd = str(old / "pictures/near.png")
    commit(
        create_library(old / "art.library", manifest),
        Change(rows, [sketch(n) for n in range(3)], skipped={odd: skipped(odd)}, sources=sources),
    )
    (tmp_path / "old").rename(tmp_path / "new")
    return open_library(tmp_path / "new/art.library")


def test_a_library_that_moved_finds_its_pictures(moved: Library, tmp_path: Path) -> None:
    assert moved.works("id", "path").to_pylist() == [
        {"id": "near", "path": str(tmp_path / "new/pictures/near.png")},
        {"id": "far", "path": str(tmp_path / "elsewhere/far.png")},
        {"id": "gone", "path": str(tmp_path / "old/gone.png")},
    ]


def test_a_picture_that_is_still_where_it_was_is_that_one(moved: Library, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "new/pictures", tmp_path / "old/pictures")
    assert moved.works("path")["path"][0].as_py() == str(tmp_path / "old/pictures/near.png")


def test_a_library_that_moved_and_changed_finds_them_after_the_next_move(moved: Library, tmp_path: Path) -> None:
    commit(moved, adding(7))
    (tmp_path / "new").rename(tmp_path / "newer")
    again = open_library(tmp_path / "newer/art.library")
    assert again.works("path")["path"][0].as_py() == str(tmp_path / "newer/pictures/near.png")


def test_all_that_a_library_names_moves_with_it(moved: Library, tmp_path: Path) -> None:
    after = commit(moved, Change())
    new = tmp_path / "new"
    assert after.manifest.home == str(new / "art.library")
    assert after.manifest.encoder == str(new / "encoder.safetensors")
    assert after.manifest.sources[0] == Source(path=str(new / "pictures"), facts=str(new / "tags.csv"))
    assert after.manifest.sources[1] == Source(path="/x", facts="folders")
    assert after.skipped()["path"].to_pylist() == [str(new / "pictures/near.png")]


def test_a_picture_on_another_drive_is_where_it_was(moved: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(*_: Any) -> str:
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    monkeypatch.setattr(store.os.path, "relpath", apart)
    assert moved.now_at("/old/a.png") == "/old/a.png"


def test_a_picture_that_is_nowhere_is_one_sentence(moved: Library, tmp_path: Path) -> None:
    assert moved.find(str(tmp_path / "old/pictures/near.png")) == tmp_path / "new/pictures/near.png"
    with pytest.raises(LibraryError, match=r"gone\.png: no such file any more; put it back, or impasto library remove"):
        moved.find(str(tmp_path / "old/gone.png"))


def test_a_picture_that_may_not_be_looked_at_is_not_gone(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "stat", refused)
    monkeypatch.setattr(os.path, "exists", refused)
    assert store.is_there("/pictures/w0.png")

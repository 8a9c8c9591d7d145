"""What cannot be added: it is named in one sentence, and the rest is added all the same."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gallery import EVERY, HARE, LIBRARY, fill, names, no_reading, opened, reading, row_of, touch, truncated, whole
from impasto.errors import LibraryError, PictureError, UsageError, WeightsError
from impasto.library import adding, changes, listing
from studio import paint

pytestmark = pytest.mark.usefixtures("gallery")


# Files that cannot be read


def not_a_picture(path: Path) -> None:
    path.write_text("Once upon a time there was a hare.")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def invisible(path: Path) -> None:
    Image.new("RGBA", (8, 8)).save(path)


def a_thread(path: Path) -> None:
    Image.new("RGB", (20_000, 1), "red").save(path)


SPOIL = [not_a_picture, empty, truncated, invisible, a_thread]


@pytest.mark.parametrize("spoil", SPOIL)
def test_what_cannot_be_read_is_named_and_the_rest_added(spoil: Callable[[Path], None]) -> None:
    spoil(Path("works/ink/dodo.png"))
    report = fill()
    assert report.added == 5
    (reason,) = report.refused.values()
    assert "works/ink/dodo.png: " in reason
    assert "\n" not in reason


@pytest.mark.parametrize("spoil", SPOIL)
def test_what_could_not_be_read_is_only_looked_at(
    spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(Path("works/ink/dodo.png"))
    refused = fill().refused
    no_reading(monkeypatch)
    assert fill() == adding.Report(known=5, refused=refused)


def test_what_is_mended_is_added() -> None:
    not_a_picture(Path("works/ink/dodo.png"))
    fill()
    paint(Path("works/ink/dodo.png"), 64, 48, 9)
    assert fill() == adding.Report(added=1, known=5)
    assert fill() == adding.Report(known=6)


def test_what_could_not_be_read_and_is_gone_is_told_no_more() -> None:
    not_a_picture(Path("works/ink/dodo.png"))
    not_a_picture(Path("dodo.png"))
    fill("works", "dodo.png")
    Path("works/ink/dodo.png").unlink()
    fill("works")
    assert opened().skipped()["path"].to_pylist() == [whole("dodo.png")]


def test_a_work_whose_picture_is_spoilt_is_none_any_more() -> None:
    fill()
    truncated(HARE)
    report = fill()
    assert (report.known, [*report.refused]) == (4, [whole(HARE)])
    assert "hare.png" not in names(opened())


def test_a_picture_of_more_pixels_than_allowed_is_added_when_more_are(monkeypatch: pytest.MonkeyPatch) -> None:
    (reason,) = set(fill(HARE, max_pixels=3000).refused.values())
    assert reason.startswith("works/ink/hare.png: 64×48 is more than the limit of 3000 pixels")
    seen = reading(monkeypatch)
    assert fill(HARE, max_pixels=3000).refused
    assert not seen
    assert fill(HARE).added == 1


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
        OSError(errno.EIO, os.strerror(errno.EIO)),
        ImportError("pillow_heif"),
    ],
)
def test_what_the_system_is_to_blame_for_is_tried_again(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(path: str) -> None:
        if path.endswith("hare.png"):
            raise PictureError("works/ink/hare.png: may not be read") from error

    with monkeypatch.context() as meanwhile:
        reading(meanwhile, refuse)
        assert fill() == adding.Report(added=4, refused={whole(HARE): "works/ink/hare.png: may not be read"})
    assert fill() == adding.Report(added=1, known=4)


def test_a_known_work_stays_while_its_picture_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    touch(HARE)

    def refuse(path: str) -> None:
        raise PictureError("hare.png: may not be read") from PermissionError(errno.EACCES, "no")

    reading(monkeypatch, refuse)
    assert fill().refused
    assert names(opened()) == EVERY


def test_a_picture_that_does_not_fit_into_memory_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        if path.endswith("hare.png"):
            raise MemoryError

    reading(monkeypatch, refuse)
    report = fill()
    assert (report.added, report.refused) == (
        4,
        {whole(HARE): "works/ink/hare.png: does not fit into memory; make it smaller first"},
    )


def test_a_file_that_vanishes_before_it_is_read_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = reading(monkeypatch, lambda path: HARE.unlink(missing_ok=True))
    report = fill()
    assert len(seen) == 5
    assert (report.added, [*report.refused]) == (4, [whole(HARE)])
    assert report.refused[whole(HARE)].startswith("works/ink/hare.png: no such file")
    assert opened().skipped().num_rows == 0


def test_a_file_that_vanishes_before_it_is_looked_at_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("works/wash")
    original = listing.pictures_in

    def listed(folder: Path) -> list[Path]:
        found = original(folder)
        HARE.unlink()
        return found

    monkeypatch.setattr(listing, "pictures_in", listed)
    report = fill()
    assert (report.added, report.known, [*report.refused]) == (2, 2, [whole(HARE)])


def test_a_name_that_is_no_text_is_refused_and_the_rest_added(monkeypatch: pytest.MonkeyPatch) -> None:
    name = os.fsdecode(b"li\xe8vre.png")
    try:
        shutil.copy("works/wash/hill.png", f"works/ink/{name}")
    except OSError:
        pytest.skip("no such names here")
    report = fill()
    assert (report.added, [*report.refused.values()]) == (
        5,
        [f"works/ink/{name}: the name is not UTF-8, and a library holds no others: rename it"],
    )
    no_reading(monkeypatch)
    assert fill().known == 5


@pytest.mark.parametrize("place", ["folder", "library", "table"])
def test_a_place_whose_name_is_no_text_is_refused(place: str) -> None:
    odd = Path(os.fsdecode(b"\xe9t\xe9.csv"))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("no such names here")
    shutil.copy(HARE, odd)
    given: dict[str, dict[str, Any]] = {"folder": {}, "library": {"library": odd / "art"}, "table": {"facts": str(odd)}}
    with pytest.raises(LibraryError, match="the name is not UTF-8"):
        fill(odd if place == "folder" else HARE, **given[place])


# Sources and facts that cannot be had


def test_a_missing_source_is_one_sentence_with_a_near_match() -> None:
    with pytest.raises(PictureError, match=r"works/ink/hair\.png: no such file \(did you mean hare\.png\?\)"):
        fill("works/ink/hair.png")
    assert not Path(LIBRARY).exists()


def test_a_folder_without_pictures_is_one_sentence() -> None:
    Path("void").mkdir()
    with pytest.raises(PictureError, match="void: there are no pictures in this folder"):
        fill("void")


def test_a_source_that_leads_to_itself_is_one_sentence() -> None:
    Path("loop").symlink_to("loop")
    with pytest.raises(PictureError, match="loop: "):
        fill("loop")


def test_a_folder_that_may_not_be_looked_at_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(PictureError, match=r"works: may not be looked at .*; change its permissions"):
        fill()


@pytest.mark.parametrize("option", ["processes", "max_pixels"])
def test_impossible_numbers_are_one_sentence(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} 0: must be a whole number of at least 1"):
        fill(**{option: 0})


def test_a_bad_sidecar_keeps_out_one_work_until_it_is_mended() -> None:
    HARE.with_suffix(".json").write_text("{")
    report = fill(facts="sidecar")
    assert (report.added, [*report.refused]) == (4, [whole(HARE)])
    assert report.refused[whole(HARE)].startswith("works/ink/hare.json: is no JSON object")
    assert report.refused[whole(HARE)].endswith(": mend it; hare.png is left out until then")
    HARE.with_suffix(".json").write_text('{"tags": "moon"}')
    assert fill(facts="sidecar") == adding.Report(added=1, known=4)


def test_a_sidecar_that_turns_bad_leaves_the_work_as_it_was() -> None:
    HARE.with_suffix(".json").write_text('{"tags": "moon"}')
    fill(facts="sidecar")
    HARE.with_suffix(".json").write_text("{")
    for _ in range(2):
        report = fill(facts="sidecar")
        assert (report.refused, [*report.stale]) == ({}, [whole(HARE)])
        assert report.stale[whole(HARE)].startswith("works/ink/hare.json: is no JSON object")
        assert report.stale[whole(HARE)].endswith(": mend it; hare.png keeps its facts until then")
        assert row_of("hare.png")["tags"] == ["moon"]
        touch(HARE)


def test_a_table_about_none_of_the_pictures_is_refused() -> None:
    Path("other.csv").write_text("file,tags\nelephant.png,huge\n")
    with pytest.raises(LibraryError, match=r"other\.csv: has no row about any of these pictures"):
        fill(facts="other.csv")
    assert not Path(LIBRARY).exists()


def test_pictures_that_are_not_in_the_table_are_counted() -> None:
    Path("some.csv").write_text("file,tags\nhare.png,moon\n")
    assert fill(facts="some.csv") == adding.Report(added=5, unlisted=4)
    assert fill(facts="some.csv") == adding.Report(known=5, unlisted=4)


def test_a_table_is_read_once_for_many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("some.csv").write_text("file,tags\nhare.png,moon\n")
    times: list[Path] = []
    original = listing.facts_from

    def counted(place: str, folder: Path) -> Any:
        times.extend([folder] * (place == "some.csv"))
        return original(place, folder)

    monkeypatch.setattr(listing, "facts_from", counted)
    fill(*sorted(Path("works/ink").iterdir()), facts="some.csv")
    assert len(times) == 1


# Encoders


def test_works_of_another_encoder_are_refused(lively_path: Path) -> None:
    fill()
    before = opened()
    with pytest.raises(LibraryError, match=r"art\.library: is made with .*brief\.safetensors, and encoders do not mix"):
        fill(encoder=str(lively_path))
    assert opened() == before


@pytest.mark.parametrize("encoder", [None, "./brief.safetensors", "works/../brief.safetensors"])
def test_the_same_encoder_may_be_named_in_other_words(encoder: str | None) -> None:
    fill("works/ink")
    assert fill(encoder=encoder).added == 2


def test_an_encoder_is_found_from_any_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("works/ink")
    monkeypatch.chdir("works")
    assert fill("wash", library=f"../{LIBRARY}", encoder=None).added == 2


def test_an_encoder_that_has_changed_is_refused(lively_path: Path) -> None:
    fill()
    Path("brief.safetensors").unlink()
    shutil.copy(lively_path, "brief.safetensors")
    with pytest.raises(LibraryError, match=r"the encoder .* has changed since it was made: impasto library rebuild"):
        fill(encoder=None)


def test_an_encoder_that_is_gone_is_refused_with_what_helps() -> None:
    fill()
    Path("brief.safetensors").unlink()
    with pytest.raises(LibraryError, match=r"brief\.safetensors: no such file any more.*rebuild art\.library --enc"):
        fill(encoder=None)


@pytest.mark.parametrize(("name", "error"), [("brie.safetensors", WeightsError), ("light", UsageError)])
def test_an_encoder_that_is_not_there_makes_no_library(name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        fill(encoder=name)
    assert not Path(LIBRARY).exists()


# Damage


@pytest.mark.parametrize("kind", ["works", "sketches"])
@pytest.mark.parametrize("place", [0, -1])
def test_damage_is_found_before_anything_is_read(monkeypatch: pytest.MonkeyPatch, kind: str, place: int) -> None:
    monkeypatch.setattr(changes, "WORKS_OF_A_SHARD", 2)
    fill("works/ink")
    path = Path(LIBRARY) / getattr(opened().manifest.shards[place], kind)
    path.write_bytes(path.read_bytes()[:-100])
    no_reading(monkeypatch)
    with pytest.raises(LibraryError, match=rf"{kind}-.*: is damaged; impasto library rebuild"):
        fill()


def test_a_damaged_thumbnail_is_found_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("works/ink")
    (path,) = Path(LIBRARY).glob("works-*")
    data = bytearray(path.read_bytes())
    data[data.index(b"\xff\xd8\xff") + 50] ^= 255
    path.write_bytes(data)
    no_reading(monkeypatch)
    with pytest.raises(LibraryError, match="is damaged"):
        fill()


def test_files_are_called_as_they_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are not read again, from another folder."""
    empty(HARE.with_stem("dodo"))
    assert [*fill().refused.values()] == ["works/ink/dodo.png: the file is empty; copy or download it again"]
    assert opened().skipped()["reason"].to_pylist() == ["the file is empty; copy or download it again"]
    monkeypatch.chdir("works")
    no_reading(monkeypatch)
    report = fill("../works/ink", library=f"../{LIBRARY}", encoder=None)
    assert [*report.refused.values()] == ["../works/ink/dodo.png: the file is empty; copy or download it again"]

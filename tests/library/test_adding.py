"""Adding works: what is new is read once, the rest only looked at; nothing is lost, whatever comes between."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
import torch
from PIL import Image

from gallery import LIBRARY, fill, names, no_reading, opened, reading, row_of
from impasto.errors import Interrupted, LibraryError, PictureError, UsageError, WeightsError
from impasto.library import adding, changes, encoder, listing, store
from impasto.library.searching import search
from impasto.library.store import ChangedError, Library
from impasto.library.upkeep import check, rebuild, remove
from studio import paint

pytestmark = pytest.mark.usefixtures("gallery")
EVERY = ["carp.png", "crane.png", "hare.png", "hill.png", "river.png"]
HARE = Path("works/ink/hare.png")


def sketches() -> torch.Tensor:
    return torch.cat(opened().sketches())


def whole(path: str | Path) -> str:
    return str(Path(path).resolve())


def touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


# What is written


def test_all_pictures_in_a_folder_become_works() -> None:
    assert fill() == adding.Report(added=5)
    assert names(opened()) == EVERY
    hare = row_of("hare.png")
    assert (hare["path"], hare["title"], hare["tags"]) == (whole(HARE), "hare", ["works", "ink"])
    assert (hare["width"], hare["height"], hare["bytes"]) == (64, 48, HARE.stat().st_size)


def test_single_pictures_can_be_added() -> None:
    assert fill(HARE, "works/wash").added == 3
    assert row_of("hare.png")["tags"] == ["ink"]


def test_a_work_has_a_thumbnail() -> None:
    paint(Path("large.png"), 512, 256)
    fill("large.png")
    (row,) = opened().works("thumbnail").to_pylist()
    with Image.open(io.BytesIO(row["thumbnail"])) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (128, 64))


def test_a_thumbnail_shows_what_is_transparent_on_white() -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, :32, 3] = 255
    Image.fromarray(pixels).save("half.png")
    fill("half.png")
    (row,) = opened().works("thumbnail").to_pylist()
    with Image.open(io.BytesIO(row["thumbnail"])) as thumbnail:
        assert (thumbnail.getpixel((8, 8)), thumbnail.getpixel((56, 8))) == ((0, 0, 0), (255, 255, 255))


def test_what_was_added_is_remembered() -> None:
    fill("works/ink", HARE)
    fill("works/wash", facts="sidecar")
    assert [(one.path, one.facts) for one in opened().manifest.sources] == [
        (whole("works/ink"), "folders"),
        (whole(HARE), "folders"),
        (whole("works/wash"), "sidecar"),
    ]


def cmyk(path: Path) -> None:
    with Image.open(HARE) as picture:
        picture.convert("CMYK").save(path.with_suffix(".tif"))


def deep(path: Path) -> None:
    with Image.open(HARE) as picture:
        tifffile.imwrite(path.with_suffix(".tif"), np.asarray(picture).astype(np.uint16) * 257, photometric="rgb")


def animated(path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    frames[0].save(path.with_suffix(".gif"), save_all=True, append_images=frames[1:])


def transparent(path: Path) -> None:
    with Image.open(HARE) as picture:
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        picture.save(path)


def grey(path: Path) -> None:
    with Image.open(HARE) as picture:
        picture.convert("L").save(path)


def single_pixel(path: Path) -> None:
    Image.new("RGB", (1, 1), "red").save(path)


def slender(path: Path) -> None:
    paint(path, 100, 1)


def flat(path: Path) -> None:
    Image.new("RGB", (64, 64)).save(path)


@pytest.mark.parametrize("make", [cmyk, deep, animated, transparent, grey, single_pixel, slender, flat])
def test_every_kind_of_picture_can_be_a_work(make: Callable[[Path], None]) -> None:
    Path("odd").mkdir()
    make(Path("odd/picture.png"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fill("odd").added == 1
    found = sketches()
    assert found.isfinite().all()
    assert found.any()


# What is known


def test_a_second_run_only_looks_at_files(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    before = {one.name: one.stat().st_mtime_ns for one in Path(LIBRARY).iterdir()}
    no_reading(monkeypatch)
    assert fill() == adding.Report(known=5)
    assert {one.name: one.stat().st_mtime_ns for one in Path(LIBRARY).iterdir()} == before


def test_only_what_is_new_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("works/ink")
    paint(Path("works/ink/moon.png"), 64, 48, 9)
    seen = reading(monkeypatch)
    assert fill("works/ink") == adding.Report(added=1, known=3)
    assert seen == ["moon.png"]


def test_a_touched_file_is_read_once_more_and_stays_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    touch(HARE)
    assert fill() == adding.Report(known=5)
    no_reading(monkeypatch)
    assert fill() == adding.Report(known=5)
    assert names(opened()) == EVERY


def test_a_changed_file_is_another_work() -> None:
    fill()
    before = row_of("hare.png")["id"]
    paint(HARE, 64, 48, 99)
    assert fill() == adding.Report(added=1, known=4)
    assert sorted(names(opened())) == EVERY
    assert row_of("hare.png")["id"] != before


@pytest.mark.parametrize("place", ["works/wash/hare.png", "works/ink/rabbit.png"])
def test_a_moved_file_is_the_same_work_in_another_place(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    fill()
    before, numbers = row_of("hare.png")["id"], sketches()
    HARE.rename(place)
    assert fill() == adding.Report(known=5, changed=1)
    row = row_of(Path(place).name)
    assert (row["id"], row["path"], row["tags"]) == (before, whole(place), ["works", Path(place).parent.name])
    assert torch.equal(sketches(), numbers)
    no_reading(monkeypatch)
    assert fill() == adding.Report(known=5)


@pytest.mark.parametrize("several", [("carp", "crane"), ("carp", "crane", "hare"), ("hare", "crane", "carp")])
def test_files_that_change_their_names_among_each_other_all_stay(several: tuple[str, ...]) -> None:
    fill()
    paths = [HARE.with_stem(one) for one in several]
    contents = [one.read_bytes() for one in paths]
    before = [row_of(one.name)["id"] for one in paths]
    for path, data in zip(paths, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(data)
        touch(path)
    assert not fill().duplicates
    assert [row_of(one.name)["id"] for one in paths] == [*before[1:], before[0]]
    assert sorted(names(opened())) == EVERY
    assert fill() == adding.Report(known=5)


def test_a_picture_that_is_gone_stays_a_work_until_it_is_taken_out() -> None:
    fill()
    HARE.unlink()
    assert fill() == adding.Report(known=4)
    assert names(opened()) == EVERY


def test_new_facts_need_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    HARE.with_suffix(".json").write_text('{"title": "Hare under the moon", "tags": ["moon"], "artist": "Koson"}')
    no_reading(monkeypatch)
    assert fill(facts="sidecar") == adding.Report(known=5, changed=1)
    row = row_of("hare.png")
    assert (row["title"], row["author"], row["tags"]) == ("Hare under the moon", "Koson", ["moon"])
    assert fill(facts="sidecar") == adding.Report(known=5)


@pytest.mark.parametrize("place", ["old", "old/deep"])
def test_a_library_that_moved_with_its_pictures_knows_them(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    Path(place).mkdir(parents=True)
    shutil.move("works", f"{place}/works")
    fill("old", library=f"{place}/art.library")
    Path("old").rename("new")
    library = f"{place.replace('old', 'new')}/art.library"
    no_reading(monkeypatch)
    assert fill(f"{place.replace('old', 'new')}/works", library=library).known == 5
    check(opened(library))
    assert all(Path(path).is_file() for path in opened(library).works("path")["path"].to_pylist())
    assert fill(f"{place.replace('old', 'new')}/works", library=library) == adding.Report(known=5)


def test_the_later_of_two_sources_has_the_last_word_on_facts() -> None:
    fill("works/ink", "works")
    assert row_of("hare.png")["tags"] == ["works", "ink"]
    fill("works/ink")
    assert row_of("hare.png")["tags"] == ["ink"]


def test_a_link_is_what_it_leads_to() -> None:
    Path("works/ink/zodiac.png").symlink_to(whole(HARE))
    Path("works/ink/again").symlink_to(whole("works"), target_is_directory=True)
    Path("works/ink/broken.png").symlink_to("nowhere.png")
    Path("works/ink/loop.png").symlink_to("loop.png")
    for report in (fill(), fill()):
        assert (report.added + report.known, report.changed) == (5, 0)
    assert sorted(names(opened())) == EVERY


def test_a_library_may_lie_within_the_folder_that_is_added() -> None:
    for expected in (adding.Report(added=5), adding.Report(known=5)):
        assert fill(library="works/art.library") == expected


# Duplicates


@pytest.fixture
def copy() -> Path:
    """A copy of the hare, which comes after it."""
    path = Path("works/wash/copy.png")
    shutil.copy(HARE, path)
    return path


def test_a_duplicate_is_left_out_and_named(copy: Path) -> None:
    assert fill() == adding.Report(added=5, duplicates={whole(copy): f"the same picture as {whole(HARE)}"})
    assert names(opened()) == EVERY


def test_a_duplicate_in_another_folder_is_one(tmp_path: Path) -> None:
    fill("works/ink")
    shutil.copytree("works/ink", "elsewhere")
    report = fill("elsewhere")
    assert (report.added, len(report.duplicates)) == (0, 3)


def test_known_duplicates_are_only_looked_at(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    no_reading(monkeypatch)
    assert fill() == adding.Report(known=5, duplicates={whole(copy): f"the same picture as {whole(HARE)}"})


def test_a_copy_takes_the_place_of_a_work_whose_picture_is_gone(copy: Path) -> None:
    fill()
    before = row_of("hare.png")["id"]
    HARE.unlink()
    assert fill() == adding.Report(known=5, changed=1)
    assert row_of("copy.png")["id"] == before
    assert fill() == adding.Report(known=5)


@pytest.mark.parametrize("name", ["works/wash/copy.png", "works/ink/a-copy.png"])
def test_a_copy_takes_the_place_of_a_work_that_has_become_another(name: str) -> None:
    fill()
    shutil.copy(HARE, name)
    fill()
    before = row_of("hare.png")["id"]
    paint(HARE, 64, 48, 99)
    fill()
    assert row_of(Path(name).name)["id"] == before
    assert row_of("hare.png")["id"] != before
    assert fill() == adding.Report(known=6)


def test_a_copy_takes_the_place_of_a_work_that_was_missing_and_taken_out(copy: Path) -> None:
    fill()
    remove(search(opened(), text="hare"), for_good=False)
    assert fill(copy.parent).added == 1
    assert "copy.png" in names(opened())


def test_the_same_pixels_in_another_file_are_a_work_of_their_own() -> None:
    with Image.open(HARE) as picture:
        picture.save("works/ink/twin.bmp")
    assert fill() == adding.Report(added=6)


# Files that cannot be read


def not_a_picture(path: Path) -> None:
    path.write_text("Once upon a time there was a hare.")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(HARE.read_bytes()[:200])


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
        not_a_picture(Path(name))

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


def test_what_a_table_has_said_stays_until_another_source_is_named() -> None:
    Path("tags.csv").write_text("path,author,tags\nhare.png,Dürer,animal\n")
    fill("works", facts="tags.csv")
    fill("works")
    assert (row_of("hare.png")["author"], row_of("hare.png")["tags"]) == ("Dürer", ["animal"])
    HARE.rename("works/other.png")
    fill("works")
    assert row_of("other.png")["author"] == "Dürer"
    fill("works", facts="folders")
    assert (row_of("other.png")["author"], row_of("other.png")["tags"]) == ("", ["works"])


# What is said of some pictures, and not of others


SOME = "path,author,tags\nhare.png,Dürer,animal\nelephant.png,Dürer,huge\n"


@pytest.mark.parametrize("name", ["some.csv", "some.jsonl", "sidecar"])
def test_what_says_nothing_of_a_work_leaves_its_facts(name: str) -> None:
    Path("all.csv").write_text("path,author,tags\nhare,A,a\ncrane,B,b\n")
    fill(facts="all.csv")
    Path("some.csv").write_text(SOME)
    Path("some.jsonl").write_text('{"path": "hare.png", "author": "Dürer", "tags": "animal"}')
    HARE.with_suffix(".json").write_text('{"author": "Dürer", "tags": "animal"}')
    paint(Path("works/ink/moon.png"), 64, 48, 9)
    report = fill(facts=name)
    assert (report.added, report.known, report.changed) == (1, 5, 1)
    assert [row_of(f"{one}.png")["author"] for one in ("hare", "crane", "carp")] == ["Dürer", "B", ""]
    assert row_of("crane.png")["tags"] == ["b"]
    assert row_of("moon.png")["tags"] == row_of("carp.png")["tags"] == ["works", "ink"]
    assert fill(facts=name).changed == 0


def test_a_row_without_words_is_one_all_the_same() -> None:
    Path("some.csv").write_text("path,tags\nhare,moon\n")
    fill(facts="some.csv")
    Path("some.csv").write_text("path,tags\nhare,\n")
    assert fill(facts="some.csv").changed == 1
    assert row_of("hare.png")["tags"] == []


def test_the_same_facts_from_another_place_are_not_new() -> None:
    fill()
    Path("same.csv").write_text('path,title,tags\nhare,hare,"works,ink"\n')
    assert fill(facts="same.csv").changed == 0
    HARE.rename("works/ink/rabbit.png")
    Path("same.csv").write_text('path,title,tags\nrabbit,hare,"works,ink"\n')
    assert (fill(facts="same.csv").changed, row_of("rabbit.png")["title"]) == (0, "hare")


def test_rows_about_no_picture_are_counted() -> None:
    Path("some.csv").write_text(f"{SOME}carp,,\nworks/wash/hill.png,,\n")
    assert fill("works/ink", "works/wash/hill.png", facts="some.csv").unused == {"some.csv": 1}
    assert fill("works/ink", facts="some.csv").unused == {"some.csv": 2}
    assert fill("works/ink").unused == {}


@pytest.mark.parametrize("source", ["works", "works/ink", "works/ink/moon.png"])
@pytest.mark.parametrize("facts", ["some.csv", "sidecar"])
def test_new_works_have_their_facts_from_what_their_folder_was_added_with(facts: str, source: str) -> None:
    Path("some.csv").write_text(f"{SOME}moon.png,Koson,night\n")
    Path("works/ink/moon.json").write_text('{"author": "Koson", "tags": "night"}')
    fill(facts=facts)
    before = row_of("hare.png")
    for number, name in enumerate(("moon", "sun")):
        paint(Path(f"works/ink/{name}.png"), 64, 48, 9 + number)
    assert fill(source).added == (1 if source.endswith("moon.png") else 2)
    assert (row_of("moon.png")["author"], row_of("moon.png")["tags"]) == ("Koson", ["night"])
    assert row_of("hare.png") == before or (facts, source) == ("sidecar", "works/ink")
    if not source.endswith("moon.png"):
        assert row_of("sun.png")["tags"] == {"works": ["works", "ink"], "works/ink": ["ink"]}[source]
    told = held_facts()
    assert fill(source).changed == 0
    rebuild(LIBRARY)
    assert held_facts() | told == held_facts()


def held_facts() -> dict[str, Any]:
    return {row["path"]: (row["author"], row["tags"]) for row in opened().works("path", "author", "tags").to_pylist()}


def test_a_table_of_a_folder_that_is_gone_is_one_sentence_with_what_helps() -> None:
    Path("some.csv").write_text(SOME)
    fill(facts="some.csv")
    Path("some.csv").unlink()
    with pytest.raises(
        LibraryError, match=r"some\.csv: no such file, or choose with --tags-from what says the facts of"
    ):
        fill()
    assert fill(facts="folders").changed == 1
    assert fill().known == 5


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

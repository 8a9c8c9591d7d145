"""Adding works: what is new is read once, the rest only looked at, and everybody has their facts."""

from __future__ import annotations

import io
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from gallery import EVERY, HARE, LIBRARY, fill, names, no_reading, opened, reading, row_of, touch, whole
from impasto.errors import LibraryError
from impasto.library import adding
from impasto.library.searching import search
from impasto.library.upkeep import check, rebuild, remove
from studio import paint

pytestmark = pytest.mark.usefixtures("gallery")


def sketches() -> torch.Tensor:
    return torch.cat(opened().sketches())


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


# What is said of some pictures, and not of others


SOME = "path,author,tags\nhare.png,Dürer,animal\nelephant.png,Dürer,huge\n"


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

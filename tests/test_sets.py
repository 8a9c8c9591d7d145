"""Folders and libraries in place of single works: which pictures they stand for, and how much each counts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gallery import LIBRARY, fill, opened
from impasto.errors import LibraryError, PictureError, UsageError
from impasto.jobs import Job
from impasto.library.searching import Selection, search
from impasto.library.upkeep import missing, remove
from impasto.records import read_record
from impasto.sets import Wanted, blend_job
from studio import FAST, WORKS, Command, paint

FACTS = 'file,author,tags\ncarp,Koson,ink\ncrane,Koson,ink\nhare,Sesshū,"ink,night"\nhill,,wash\nriver,Homer,wash\n'


@pytest.fixture
def library(gallery: Path) -> Path:
    """One of all works, and a photograph."""
    (gallery / "facts.csv").write_text(FACTS, encoding="utf-8")
    fill(facts="facts.csv")
    paint(gallery / "photo.png", 64, 48, 20)
    return gallery / LIBRARY


@pytest.fixture
def photo(gallery: Path) -> Path:
    return paint(gallery / "photo.png", 64, 48, 20)


def job(*works: Any, wanted: dict[str, Any] | None = None, content: Any = "photo.png", **settings: Any) -> Job:
    return blend_job(content, works, settings, Wanted.of(**wanted or {}))


def stems(one: Job) -> list[str]:
    """Of the styles, in order."""
    return [Path(str(source)).stem for role, source in one.inputs.items() if role.startswith("style")]


# Pictures and folders


def test_a_picture_stands_for_itself(photo: Path) -> None:
    one = job("works/ink/hare.png", Image.new("RGB", (64, 48), "red"))
    assert [*one.inputs] == ["content", "style", "style2"]
    assert (one.inputs["style"], one.remarks) == ("works/ink/hare.png", ())


@pytest.mark.usefixtures("photo")
def test_a_folder_stands_for_the_pictures_in_it_and_below_it() -> None:
    assert stems(job("works")) == ["carp", "crane", "hare", "hill", "river"]
    assert stems(job("works/wash", "works/ink/hare.png")) == ["hill", "river", "hare"]


@pytest.mark.usefixtures("photo")
def test_a_folder_of_very_many_pictures_is_one_for_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.sets.MOST_IN_FOLDERS", 4)
    with pytest.raises(UsageError) as raised:
        job("works")
    assert str(raised.value) == (
        "works: holds 5 pictures, and more than 4 need a library: type `impasto library add works.library works`, and "
        "then `impasto blend photo.png works.library`"
    )


@pytest.mark.usefixtures("photo")
def test_all_folders_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.sets.MOST_IN_FOLDERS", 4)
    Path("works/ink").rename("works/ink and brush")
    with pytest.raises(UsageError, match="ink and brush, works/wash: together hold 5 pictures, and more") as raised:
        job("works/ink and brush", "works/wash")
    assert "add 'ink and brush.library' 'works/ink and brush' works/wash`" in str(raised.value)
    assert len(stems(job("works/wash", "works/ink and brush/carp.png", "works/ink and brush/hare.png"))) == 4


def twice() -> Path:
    """A copy of the hare."""
    return Path(shutil.copy("works/ink/hare.png", "works/wash/copy.png"))


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize(
    ("works", "words"),
    [
        (
            ("works/ink/hare.png", "works/ink/carp.png", "works/ink/hare.png"),
            "hare.png: is given twice and counts once",
        ),
        (("works/ink/hare.png", "works"), "hare.png: is given 3 times and counts once"),
        (("works/wash/copy.png", "works/ink"), "copy.png: is given twice and counts once"),
    ],
)
def test_the_same_picture_twice_counts_once(works: tuple[str, ...], words: str) -> None:
    twice()
    with pytest.warns(UserWarning, match=f"^{words}$") as warned:
        one = job(*works)
    assert len(warned) == 1
    assert len({*stems(one)} & {"hare", "copy"}) == 1
    assert len(stems(one)) == len({*stems(one)})


@pytest.mark.usefixtures("photo")
def test_a_picture_in_memory_may_be_given_twice_too() -> None:
    red, blue = (Image.new("RGB", (64, 48), colour) for colour in ("red", "blue"))
    with pytest.warns(UserWarning, match="^a picture: is given twice and counts once$"):
        assert len(stems(job(red, blue, red))) == 2


@pytest.mark.usefixtures("photo")
def test_the_same_picture_twice_with_weights_of_its_own_counts_twice() -> None:
    assert stems(job("works/ink/hare.png", str(twice()), style_weights=[1, 2])) == ["hare", "copy"]


@pytest.mark.usefixtures("photo")
def test_files_that_are_not_there_are_not_the_same() -> None:
    assert stems(job("a.png", "b.png")) == ["a", "b"]


@pytest.mark.usefixtures("photo")
def test_a_folder_without_pictures_is_one_sentence() -> None:
    Path("void").mkdir()
    with pytest.raises(PictureError, match="void: there are no pictures in this folder"):
        job("void")


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize("wanted", [{"tag": "ink"}, {"author": "a"}, {"text": "a"}, {"prefer": "ink:2"}])
def test_wishes_without_a_library_are_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="tag, author, text and prefer: choose among the works of a library, and none"):
        job("works", wanted=wanted)


@pytest.mark.usefixtures("photo")
def test_no_works_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match="blend takes"):
        job()


# Libraries


@pytest.mark.usefixtures("library")
def test_a_library_stands_for_works_that_help() -> None:
    one = job(LIBRARY)
    assert sorted(stems(one)) == ["carp", "crane", "hare", "hill", "river"]
    assert one.remarks == ("5 works in art.library are read",)


@pytest.mark.usefixtures("library")
def test_of_many_works_those_that_are_nearest_come_into_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.library.choosing.ENOUGH", 1)
    one = job(LIBRARY, content="works/ink/hare.png", joint=True)
    assert stems(one) == ["hare"]
    assert one.remarks == ("1 of 5 works in art.library, the nearest, is read",)


@pytest.mark.usefixtures("library")
def test_as_many_come_into_question_as_may_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.library.choosing.ENOUGH", 1)
    one = job(LIBRARY, joint=True, max_works=3)
    assert len(stems(one)) == 3
    assert one.remarks == ("3 of 5 works in art.library, the nearest, are read",)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("wanted", "works"),
    [
        ({"tag": "ink"}, ["carp", "crane", "hare"]),
        ({"tag": "ink,night"}, ["hare"]),
        ({"author": "koson"}, ["carp", "crane"]),
        ({"text": "wash"}, ["hill", "river"]),
    ],
)
def test_only_works_that_are_wanted_take_part(wanted: dict[str, Any], works: list[str]) -> None:
    one, are = job(LIBRARY, wanted=wanted), "is" if len(works) == 1 else "are"
    assert sorted(stems(one)) == works
    assert one.remarks == (f"{len(works)} work{'s' * (len(works) > 1)} in art.library {are} read",)


@pytest.mark.usefixtures("library")
def test_preferred_works_count_so_many_times() -> None:
    one = job(LIBRARY, wanted={"prefer": "ink:3"})
    weights = dict(zip(stems(one), one.settings.style_weights, strict=True))  # type: ignore[attr-defined]
    assert weights["carp"] == pytest.approx(3 * weights["hill"])
    assert sum(weights.values()) == pytest.approx(5)


@pytest.mark.usefixtures("library")
def test_works_of_a_library_count_as_much_as_single_ones_beside_it() -> None:
    paint(Path("moon.png"), 64, 48, 9)
    one = job("moon.png", LIBRARY, wanted={"prefer": "ink:3"})
    assert stems(one)[0] == "moon"
    assert one.settings.style_weights[0] == 1  # type: ignore[attr-defined]
    assert sum(one.settings.style_weights) == pytest.approx(1 + 5)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("library")
def test_where_the_mean_of_all_counts_some_stand_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.library.choosing.ENOUGH", 1)
    one = job(LIBRARY, content="works/ink/hare.png", joint=True, character=0.5)
    assert len(stems(one)) == 5
    assert sum(one.settings.style_weights) == pytest.approx(5)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("wanted", [{}, {"prefer": "ink:3"}])
def test_weights_by_number_are_not_for_libraries(wanted: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="style_weights: one number for each work; of libraries, prefer tags instead"):
        job(LIBRARY, wanted=wanted, style_weights=[1, 2])


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"tag": "inc"}, r"tag inc: no work has it \(did you mean ink\?\)"),
        ({"author": "Monet"}, "author Monet: no work is by them"),
        ({"author": ""}, "author: is empty"),
        ({"prefer": "inc:2"}, r"tag inc: no work has it \(did you mean ink\?\)"),
        ({"prefer": "ink:0,wash:0"}, "prefer: 0 for all of the works"),
    ],
)
def test_impossible_wishes_are_one_sentence(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        job(LIBRARY, wanted=wanted)


@pytest.mark.parametrize("word", ["tag", "prefer"])
def test_words_that_are_none_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match=f"{word}: "):
        Wanted.of(**{word: "ink,,"})


# Parts of libraries


@pytest.mark.usefixtures("library")
def test_a_part_of_a_library_stands_for_its_works() -> None:
    assert sorted(stems(job(search(opened(), tags=["wash"])))) == ["hill", "river"]


@pytest.mark.usefixtures("library")
def test_of_a_part_those_take_part_that_are_wanted() -> None:
    part = search(opened(), tags=["ink"])
    assert sorted(stems(job(part, wanted={"author": "koson"}))) == ["carp", "crane"]
    with pytest.raises(UsageError, match="none of the works that were chosen is all that was asked for"):
        job(part, wanted={"author": "homer"})


@pytest.mark.usefixtures("library")
def test_several_libraries_and_parts_of_them_take_part_together() -> None:
    fill("works/wash", library="other.library")
    one = job(search(opened(), tags=["night"]), "other.library", "works/ink/carp.png")
    assert stems(one)[0] == "hare"
    assert sorted(stems(one)[1:3]) == ["hill", "river"]
    assert stems(one)[3] == "carp"
    assert len(one.remarks) == 2


@pytest.mark.usefixtures("library")
def test_a_part_without_works_is_one_sentence() -> None:
    assert isinstance(missing(opened()), Selection)
    with pytest.raises(UsageError, match=r"art\.library: none of "):
        job(missing(opened()))


# Libraries that are not as they should be


@pytest.mark.usefixtures("library")
def test_an_empty_library_is_one_sentence() -> None:
    remove(search(opened()))
    with pytest.raises(LibraryError, match=r"art\.library: is empty; impasto library add art\.library PICTURES"):
        job(LIBRARY)


@pytest.mark.parametrize("kind", ["works", "sketches"])
def test_a_damaged_library_is_one_sentence(library: Path, kind: str) -> None:
    (path,) = library.glob(f"{kind}-*")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(LibraryError, match=rf"{kind}-\w+\.\w+: is damaged; impasto library rebuild art\.library"):
        job(LIBRARY)


def test_a_library_with_a_damaged_manifest_is_no_folder_of_pictures(library: Path) -> None:
    (library / "library.json").write_text("{")
    with pytest.raises(LibraryError, match=r"library\.json: is damaged"):
        job(LIBRARY)


@pytest.mark.usefixtures("library")
def test_a_work_whose_picture_is_gone_is_one_sentence() -> None:
    Path("works/ink/hare.png").unlink()
    with pytest.raises(LibraryError, match=r"hare\.png: no such file any more; put it back, or impasto library remove"):
        job(LIBRARY)
    assert len(stems(job(LIBRARY, wanted={"tag": "wash"}))) == 2


@pytest.mark.usefixtures("library")
def test_a_library_of_another_encoder_than_it_says_is_one_sentence(lively_path: Path) -> None:
    Path("brief.safetensors").unlink()
    shutil.copy(lively_path, "brief.safetensors")
    with pytest.raises(LibraryError, match="has changed since it was made: impasto library rebuild"):
        job(LIBRARY)


@pytest.mark.usefixtures("library")
def test_a_content_that_cannot_be_read_is_one_sentence() -> None:
    with pytest.raises(PictureError, match=r"phot\.png: no such file \(did you mean photo\.png\?\)"):
        job(LIBRARY, content="phot.png")


# On the command line


@pytest.mark.usefixtures("library")
def test_a_library_is_blended_on_the_command_line(impasto: Command, tiny_encoder: Path) -> None:
    shutil.copy(tiny_encoder, "tiny.safetensors")
    shown = impasto("blend", "photo.png", "--style-set", LIBRARY, "--tag", "ink", "--prefer", "night:3", *FAST)
    assert (shown.code, shown.out) == (0, "photo-art.png\n")
    assert "3 works in art.library are read" in shown.err
    record = read_record(Path("photo-art.png"))
    assert {Path(one.path or "").name for one in record.inputs} == {"photo.png", "carp.png", "crane.png", "hare.png"}
    assert np.isclose(sum(record.settings["style_weights"]), 3)
    assert impasto("rerun", "photo-art.png", "-o", "again.png", "--device", "cpu").code == 0


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("art.librari",), 1, "art.librari: no such file (did you mean art.library?)"),
        ((LIBRARY, "--tag", "inc"), 2, "tag inc: no work has it (did you mean ink?)"),
        ((LIBRARY, "--tag", ""), 2, "--tag: '' is not allowed"),
        ((WORKS[0], "--tag", "ink"), 2, "tag, author, text and prefer: choose among the works of a library"),
    ],
)
def test_what_cannot_be_blended_is_one_sentence(impasto: Command, words: tuple[str, ...], code: int, said: str) -> None:
    fill("works/ink")
    shown = impasto("blend", "photo.png", *words)
    assert (shown.code, shown.out, shown.err.count("\n")) == (code, "", 1)
    assert shown.err.startswith(said)

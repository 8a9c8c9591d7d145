"""Searches: by what is known and by the look; and which works can stand for all of a library."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gallery import LIBRARY, fill, opened
from impasto.errors import LibraryError, PictureError, UsageError
from impasto.library import changes, store
from impasto.library.choosing import Choice, choose
from impasto.library.searching import Selection, counts, search, sketch_like
from impasto.library.store import Library
from impasto.library.upkeep import remove
from impasto.pictures.files import read_picture
from impasto.pictures.picture import Picture
from studio import WORKS

TABLE = """file,title,author,tags
carp,Carp rising,Ohara Koson,"ink, animals, Water"
crane,Cranes,Ohara Koson,"ink, animals"
hare,Hare under the moon,Sesshū Tōyō,"ink, animals, night"
hill,Hill,,wash
river,Water at night,Winslow Homer,
"""

Search = Callable[..., list[str]]


@pytest.fixture
def library(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Five works in shards of two."""
    monkeypatch.setattr(changes, "WORKS_OF_A_SHARD", 2)
    (gallery / "facts.csv").write_text(TABLE, encoding="utf-8")
    fill(facts="facts.csv")
    return opened()


@pytest.fixture
def find(library: Library) -> Search:
    """Stems of the works that a search finds, in order."""

    def found(**wanted: Any) -> list[str]:
        return stems(search(library, **wanted))

    return found


@pytest.fixture
def empty(library: Library) -> Library:
    return remove(search(library))


def stems(selection: Selection) -> list[str]:
    return [path.stem for path in selection.paths]


# By what is known


def test_without_wishes_all_works_are_found(find: Search) -> None:
    assert find() == ["carp", "crane", "hare", "hill", "river"]


@pytest.mark.parametrize(
    ("tags", "works"),
    [
        (["ink"], ["carp", "crane", "hare"]),
        (["INK "], ["carp", "crane", "hare"]),
        (["water"], ["carp"]),
        (["ink", "night"], ["hare"]),
        (["ink, night"], ["hare"]),
        ("ink", ["carp", "crane", "hare"]),
    ],
)
def test_works_with_all_of_the_tags_are_found(find: Search, tags: Any, works: list[str]) -> None:
    assert find(tags=tags) == works


def test_a_tag_is_a_whole_word(find: Search) -> None:
    with pytest.raises(UsageError):
        find(tags=["in"])


@pytest.mark.parametrize(
    ("author", "works"), [("koson", ["carp", "crane"]), ("Sesshū", ["hare"]), ("SESSHŪ T", ["hare"])]
)
def test_of_an_author_a_part_will_do(find: Search, author: str, works: list[str]) -> None:
    assert find(author=author) == works


@pytest.mark.parametrize(
    ("text", "works"),
    [
        ("moon", ["hare"]),  # of a title
        ("homer", ["river"]),  # of an author
        ("wash", ["hill", "river"]),  # of a tag, of a path
        ("WATER", ["carp", "river"]),  # of a tag, of a title
        ("night", ["hare", "river"]),
    ],
)
def test_text_is_found_wherever_it_stands(find: Search, text: str, works: list[str]) -> None:
    assert find(text=text) == works


def test_all_wishes_have_to_be_met(find: Search) -> None:
    assert find(tags=["ink"], author="koson", text="cranes") == ["crane"]
    with pytest.raises(UsageError, match=r"art\.library: no work is all that was asked for: ask for less"):
        find(tags=["night"], author="koson")


def test_no_more_works_than_wanted_are_found(find: Search) -> None:
    assert find(tags=["ink"], limit=2) == ["carp", "crane"]
    with pytest.raises(UsageError, match="limit 0: must be at least 1"):
        find(limit=0)


def test_what_is_known_of_the_works_is_told(library: Library) -> None:
    found = search(library, author="Tōyō")
    assert found.rows("title", "author") == [{"title": "Hare under the moon", "author": "Sesshū Tōyō"}]
    assert set(found.rows()[0]) == {*store.SCHEMA.names} - {"thumbnail"}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"tags": ["animal"]}, r"tag animal: no work has it \(did you mean animals\?\); the most common are ink, anim"),
        ({"tags": ["ink", "oil"]}, r"tag oil: no work has it; the most common are"),
        ({"author": "Ohara Kosen"}, r"author Ohara Kosen: no work is by them \(did you mean Ohara Koson\?\)"),
        ({"author": "Kosan"}, r"author Kosan: no work is by them \(did you mean Koson\?\); the most common are "),
        ({"author": "Monet"}, r"author Monet: no work is by them; the most common are Ohara Koson, "),
        ({"text": "zebra"}, r"text zebra: no work has it; it is looked for in titles, authors, tags and paths$"),
        ({"tags": ["night", "wash"]}, r"^no work has all of the tags night and wash; leave one out$"),
        ({"tags": ["ink", "night", "wash"]}, r"^no work has all of the tags ink, night and wash; leave one out$"),
        ({"tags": ["in\udce9k"]}, "no work has it"),
        ({"author": "\udce9"}, "no work is by them"),
    ],
)
def test_what_no_work_has_is_one_sentence_with_a_near_match(find: Search, wanted: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find(**wanted)


@pytest.mark.parametrize("wanted", [{"tags": [""]}, {"tags": [" , "]}, {"author": ""}, {"text": "  "}])
def test_an_empty_wish_is_none_that_all_works_meet(find: Search, wanted: Any) -> None:
    with pytest.raises(UsageError, match=rf"{next(iter(wanted)).removesuffix('s')}: is empty; say which one"):
        find(**wanted)


@pytest.mark.parametrize("wanted", [{}, {"tags": ["ink"]}, {"text": "a"}])
def test_an_empty_library_is_one_sentence(empty: Library, wanted: Any) -> None:
    with pytest.raises(LibraryError, match=r"art\.library: is empty; impasto library add art\.library PICTURES adds"):
        search(empty, **wanted)


def test_a_library_in_which_no_work_has_a_tag_says_so(gallery: Path) -> None:
    Path("facts.csv").write_text("file\ncarp\ncrane\nhare\n")
    fill("works/ink", facts="facts.csv")
    with pytest.raises(UsageError, match="author Koson: no work is by them; none has any"):
        search(opened(), author="Koson")
    with pytest.raises(UsageError, match="tag ink: no work has it; none has any"):
        search(opened(), tags=["ink"])


def test_tags_and_authors_are_counted_most_first(library: Library) -> None:
    assert [(one["kind"], one["name"], one["works"]) for one in counts(library)] == [
        ("tag", "animals", 3),
        ("tag", "ink", 3),
        ("tag", "night", 1),
        ("tag", "wash", 1),
        ("tag", "water", 1),
        ("author", "Ohara Koson", 2),
        ("author", "Sesshū Tōyō", 1),
        ("author", "Winslow Homer", 1),
    ]


def test_an_empty_library_has_no_tags(empty: Library) -> None:
    assert counts(empty) == []


def test_works_of_a_library_that_moved_are_found_where_they_are(library: Library, gallery: Path) -> None:
    (gallery / "new").mkdir()
    for name in ("works", LIBRARY, "brief.safetensors"):
        (gallery / name).rename(gallery / "new" / name)
    moved = opened(gallery / "new" / LIBRARY)
    assert search(moved, tags=["night"]).paths == [gallery / "new/works/ink/hare.png"]
    assert search(moved, like=read_picture("new/works/ink/hare.png")).paths[0].stem == "hare"


def test_a_picture_that_is_gone_is_one_sentence(library: Library) -> None:
    Path("works/ink/hare.png").unlink()
    with pytest.raises(LibraryError, match=r"hare\.png: no such file any more; put it back, or impasto library remove"):
        _ = search(library, tags=["night"]).paths


# By the look


@pytest.mark.parametrize("name", WORKS)
def test_a_work_is_most_like_itself(find: Search, name: str) -> None:
    assert find(like=read_picture(name))[0] == Path(name).stem


def test_a_work_is_like_itself_at_another_size(find: Search) -> None:
    with Image.open("works/wash/hill.png") as picture:
        assert find(like=read_picture(picture.resize((192, 144), Image.Resampling.BICUBIC)), limit=1) == ["hill"]


def test_likeness_is_the_order_of_the_distances(library: Library) -> None:
    like = read_picture("works/ink/hare.png")
    found = search(library, like=like)
    target = torch.cat([*sketch_like(library, like).values()])
    distances = (torch.cat(library.sketches()).float() - target).norm(dim=1)[torch.from_numpy(found.places)]
    assert distances.tolist() == sorted(distances.tolist())
    assert float(distances[0]) < 0.01 * float(distances[1])


def test_likeness_orders_what_else_is_wanted(find: Search) -> None:
    like = read_picture("works/wash/hill.png")
    everything = [one for one in find(like=like) if one in ("carp", "crane", "hare")]
    assert find(tags=["ink"], like=like) == everything


def test_a_picture_that_cannot_be_compared_is_one_sentence(find: Search) -> None:
    with pytest.raises(PictureError, match="thread: 20000×1 is too narrow"):
        find(like=Picture(torch.zeros(1, 3, 1, 20_000), name="thread"))


def test_a_library_whose_encoder_has_changed_compares_nothing(find: Search, lively_path: Path) -> None:
    Path("brief.safetensors").unlink()
    shutil.copy(lively_path, "brief.safetensors")
    with pytest.raises(LibraryError, match="has changed since it was made: impasto library rebuild"):
        find(like=read_picture("works/ink/hare.png"))
    assert find(tags=["night"]) == ["hare"]


# Works that stand for all


def chosen(library: Library, content: Picture, *names: str, **options: Any) -> tuple[list[str], Choice]:
    selection = search(library)
    if names:
        places = [place for place, path in enumerate(selection.paths) if path.stem in names]
        selection = Selection(library, np.array(places))
    found = choose(selection, content, **{"shrinkage": 0.0, "preferred": {}, "count": 2, "joint": True, **options})
    assert found.mean.sum() == pytest.approx(1)
    assert len(found.mean) == len(found.places)
    return stems(Selection(library, found.places)), found


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("name", WORKS)
def test_a_work_that_is_the_content_is_chosen(library: Library, name: str, joint: bool) -> None:
    found, _ = chosen(library, read_picture(name), joint=joint, count=1)
    assert found == [Path(name).stem]


def test_every_layer_chooses_works_of_its_own(library: Library) -> None:
    halves = [read_picture(name).pixels for name in ("works/ink/carp.png", "works/wash/hill.png")]
    content = Picture(torch.cat(halves, -1) * 0.8)
    target = sketch_like(library, content)
    parts = torch.cat(library.sketches()).float().split([*library.manifest.layers.values()], 1)
    nearest = {int((part - own).norm(dim=1).argmin()) for part, own in zip(parts, target.values(), strict=True)}
    _, choice = chosen(library, content, joint=False, count=6)
    assert nearest <= set(choice.places.tolist())
    assert len(choice.places) <= 4


def test_works_that_the_content_is_joined_from_are_chosen(library: Library) -> None:
    one, other = (read_picture(name).pixels for name in ("works/ink/carp.png", "works/wash/hill.png"))
    found, _ = chosen(library, Picture(torch.cat((one[..., :32], other[..., 32:]), -1)))
    assert set(found) == {"carp", "hill"}


@pytest.mark.parametrize("count", [1, 3, 99])
def test_so_many_are_chosen_as_long_as_there_are_more(library: Library, count: int) -> None:
    found, _ = chosen(library, read_picture(WORKS[0]), count=count)
    assert len(found) == min(count, 5)


def test_only_the_works_of_a_selection_are_chosen(library: Library) -> None:
    found, _ = chosen(library, read_picture("works/ink/carp.png"), "hare", "river", count=9)
    assert set(found) == {"hare", "river"}


def test_every_work_counts_alike_unless_some_are_preferred(library: Library) -> None:
    content = read_picture(WORKS[0])
    _, even = chosen(library, content, count=5)
    assert even.mean == pytest.approx(1 / 5)
    names, some = chosen(library, content, count=5, preferred={"Ink": 4, "night": 2})
    expected = {"carp": 4, "crane": 4, "hare": 8, "hill": 1, "river": 1}
    assert some.mean == pytest.approx(np.array([expected[name] for name in names]) / 18)


def test_works_that_are_preferred_are_chosen_before_others(library: Library) -> None:
    content = read_picture("works/ink/carp.png")
    found, _ = chosen(library, content, count=1, shrinkage=0.0, preferred={"wash": 1000})
    assert found == ["carp"]


def test_works_that_count_nothing_are_not_chosen(library: Library) -> None:
    found, _ = chosen(library, read_picture("works/ink/carp.png"), count=9, preferred={"animals": 0})
    assert set(found) == {"hill", "river"}


@pytest.mark.parametrize(
    ("preferred", "words"),
    [
        ({"wosh": 2.0}, r"tag wosh: no work has it \(did you mean wash\?\)"),
        ({" ": 2.0}, "prefer: is empty"),
        ({"ink": 0.0, "wash": 0.0}, "prefer: 0 for all of the works: prefer some to others"),
    ],
)
def test_impossible_preferences_are_one_sentence(library: Library, preferred: Any, words: str) -> None:
    names = ("carp", "hare", "hill") if 0.0 in preferred.values() else ()
    with pytest.raises(UsageError, match=words):
        chosen(library, read_picture(WORKS[0]), *names, preferred=preferred)


def test_where_the_mean_counts_some_works_stand_for_all(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.library.choosing.DRAWN", 4)
    found, choice = chosen(library, read_picture("works/ink/crane.png"), count=1, drawn=True)
    assert "crane" in found
    standing = choice.mean > 0
    assert standing.sum() == 4
    assert choice.mean[standing] == pytest.approx(1 / 4)


def test_what_is_preferred_stands_for_more(library: Library) -> None:
    found, choice = chosen(library, read_picture(WORKS[0]), count=1, drawn=True, preferred={"night": 6})
    assert choice.mean[found.index("hare")] == pytest.approx(0.6, abs=0.05)


def test_works_that_look_the_same_do_no_harm(gallery: Path) -> None:
    for number in range(6):
        with Image.open("works/ink/hare.png") as picture:
            picture.save(f"works/ink/hare{number}.tif", tiffinfo={270: f"number {number}"})
    assert fill().added == 11
    found, _ = chosen(opened(), read_picture("works/ink/hare.png"), count=3)
    assert len(found) == 3
    assert any(name.startswith("hare") for name in found)


def test_a_library_of_one_work_has_one_choice(gallery: Path) -> None:
    fill("works/ink/hare.png")
    found, choice = chosen(opened(), read_picture("works/wash/hill.png"))
    assert (found, choice.mean.tolist()) == (["hare"], [1.0])


def test_of_no_works_none_can_be_chosen(library: Library) -> None:
    with pytest.raises(UsageError, match="none of its works is chosen"):
        choose(Selection(library, np.array([], np.intp)), read_picture(WORKS[0]), shrinkage=0.0, preferred={})


def test_sketches_of_a_library_are_those_of_its_pictures(library: Library) -> None:
    """To half precision, whichever way they came about."""
    for place, path in enumerate(search(library).paths):
        target = torch.cat([*sketch_like(library, read_picture(path)).values()])
        torch.testing.assert_close(torch.cat(library.sketches())[place].float(), target, rtol=2e-3, atol=2e-3)

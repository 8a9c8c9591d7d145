"""`impasto library …`: what is said, where, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from gallery import LIBRARY, fill, names, opened, row_of
from studio import Command, Shown, paint

pytestmark = pytest.mark.usefixtures("gallery")
HARE = Path("works/ink/hare.png")
NEW = ("--encoder", "brief.safetensors", "--processes", "1")


@pytest.fixture
def filled(gallery: Path) -> Path:
    """A library of all works."""
    (gallery / "facts.csv").write_text('file,title,author,tags\nhare,Hare,Ohara Koson,"ink,night"\ncarp,Carp,,ink\n')
    with (gallery / "facts.csv").open("a") as file:
        file.writelines(f"{name},,,\n" for name in ("crane", "hill", "river"))
    fill(facts="facts.csv")
    return gallery / LIBRARY


def sentence(shown: Shown) -> str:
    """All that a failing command said."""
    assert shown.code in (1, 2)
    assert shown.out == ""
    assert "defect" not in shown.err
    assert "Traceback" not in shown.err
    assert shown.err.count("\n") == 1
    return shown.err.rstrip("\n")


def events(shown: Shown) -> list[dict[str, object]]:
    return [json.loads(line) for line in shown.out.splitlines()]


# add


def test_add_says_what_has_become_of_the_files(impasto: Command) -> None:
    shutil.copy(HARE, "works/wash/copy.png")
    shown = impasto("library", "add", LIBRARY, "works", *NEW)
    assert (shown.code, shown.out) == (0, "")
    assert shown.last_line == "5 new works in art.library, 1 duplicate left out"
    shown = impasto("library", "add", LIBRARY, "works", "--tags-from", "sidecar", "--processes", "1")
    assert shown.last_line == "0 new works in art.library, 5 known already, 1 duplicate left out"


def test_add_tells_how_far_it_is(impasto: Command) -> None:
    assert "art.library 5 of 5" in impasto("library", "add", LIBRARY, "works", *NEW).err


def test_add_says_what_is_not_in_the_table(impasto: Command) -> None:
    Path("facts.csv").write_text("file,tags\nhare,ink\n")
    shown = impasto("library", "add", LIBRARY, "works", "--tags-from", "facts.csv", *NEW)
    assert (shown.code, shown.last_line) == (0, "5 new works in art.library, 4 not in the table of facts")


@pytest.mark.parametrize("words", [(), ("--quiet",)])
def test_each_file_that_cannot_be_read_is_one_sentence(impasto: Command, words: tuple[str, ...]) -> None:
    for name in ("dodo", "moa"):
        (HARE.parent / f"{name}.png").write_bytes(b"")
    shown = impasto("library", "add", LIBRARY, "works", *NEW, *words)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.splitlines()[-3:] == [
        "works/ink/dodo.png: the file is empty; copy or download it again",
        "works/ink/moa.png: the file is empty; copy or download it again",
        "2 pictures left out, as said above: mend or remove what is named there, and give the same command again",
    ]
    assert len(opened()) == 5


def test_of_very_many_files_some_are_told(impasto: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.library_commands.MOST_LISTED", 1)
    for name in ("dodo", "moa"):
        (HARE.parent / f"{name}.png").write_bytes(b"")
    shown = impasto("library", "add", LIBRARY, "works", *NEW)
    assert "dodo.png" in shown.err
    assert "moa.png" not in shown.err
    assert "2 pictures left out, as said above (1 more): mend" in shown.last_line


def test_add_tells_other_programs_all_that_it_tells(impasto: Command) -> None:
    (HARE.parent / "dodo.png").write_bytes(b"")
    shown = impasto("library", "add", LIBRARY, "works", *NEW, "--json")
    assert (shown.code, shown.err) == (1, "")
    assert [one["event"] for one in events(shown)] == [*["progress"] * 6, "note", "error", "error"]


def test_ctrl_c_is_130_and_says_what_stays(impasto: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("impasto.console.LineConsole.progress", stop)
    shown = impasto("library", "add", LIBRARY, "works", *NEW)
    assert shown.code == 130
    assert shown.err == "stopped; art.library keeps 1 new work, and the same command goes on\n"
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add",), 2, "library add takes one library, none was given"),
        (("add", "new"), 2, "library add takes a library and pictures or folders, none was given"),
        (("add", "new", "worx"), 1, "worx: no such file (did you mean works?)"),
        (("add", "new", "works", "--processes", "0"), 2, "processes 0: must be a whole number of 1 to"),
        (("add", "new", "works", "--max-pixels", "0"), 2, "max_pixels 0: must be a whole number of at least 1"),
        (("add", "new", "works", "--encoder", "light"), 2, "light: no such encoder (did you mean lite?)"),
        (("add", "new", "works", "--tags-from", "folder"), 2, "tags from folder: unknown (did you mean folders?)"),
        (("add", "new", "works", "--tags-from", "facts.csv"), 1, "facts.csv: no such file"),
        (("add", "works", "works", "--encoder", "brief.safetensors"), 1, "works: is a folder with other things in it"),
        (("add", "brief.safetensors", "works"), 1, "brief.safetensors: is a file; a library is a folder"),
        (("search", "new"), 1, "new: is no style library; impasto library add new PICTURES makes one"),
        (("list", "new"), 1, "new: is no style library"),
        (("info", "new"), 1, "new: is no style library"),
        (("remove", "new", "--missing"), 1, "new: is no style library"),
        (("rebuild", "new"), 1, "new: is no style library"),
        (("serach", "new"), 2, "serach: no such command (did you mean search?)"),
    ],
)
def test_what_cannot_be_is_one_sentence(impasto: Command, words: tuple[str, ...], code: int, said: str) -> None:
    shown = impasto("library", *words)
    assert shown.code == code
    assert sentence(shown).startswith(said)
    assert not Path("new").exists()


@pytest.mark.parametrize("command", ["search", "list", "info", "remove", "add"])
def test_a_damaged_library_is_one_sentence_with_what_mends_it(impasto: Command, filled: Path, command: str) -> None:
    (path,) = filled.glob("works-*")
    path.write_bytes(b"")
    words = {"remove": ("--missing",), "add": ("works", "--processes", "1")}.get(command, ())
    said = sentence(impasto("library", command, LIBRARY, *words))
    assert said == f"{LIBRARY}/{path.name}: is damaged; impasto library rebuild {LIBRARY} makes it anew"
    assert impasto("library", "rebuild", LIBRARY, "--processes", "1").code == 0
    assert impasto("library", "info", LIBRARY).code == 0


# search and list


def test_search_lists_works(impasto: Command, filled: Path) -> None:
    shown = impasto("library", "search", LIBRARY, "--tag", "ink")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        f"{Path('works/ink/carp.png').resolve()}  ·  Carp  ·  ink",
        f"{HARE.resolve()}  ·  Hare  ·  Ohara Koson  ·  ink, night",
    ]


def test_search_lists_works_for_other_programs(impasto: Command, filled: Path) -> None:
    shown = impasto("library", "search", LIBRARY, "--tag", "ink", "--tag", "night", "--json")
    hare = {"path": str(HARE.resolve()), "title": "Hare", "author": "Ohara Koson", "tags": ["ink", "night"]}
    assert events(shown) == [{"event": "work", **hare}]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--author", "koson"), ["hare"]),
        (("--text", "wash"), ["hill", "river"]),
        (("--like", "works/wash/hill.png", "--limit", "1"), ["hill"]),
        (("--limit", "2"), ["carp", "crane"]),
    ],
)
def test_search_finds_what_is_asked_for(
    impasto: Command, filled: Path, words: tuple[str, ...], found: list[str]
) -> None:
    lines = impasto("library", "search", LIBRARY, *words).out.splitlines()
    assert [Path(line.partition("  ·  ")[0]).stem for line in lines] == found


def test_search_writes_a_sheet_of_thumbnails(impasto: Command, filled: Path) -> None:
    shown = impasto("library", "search", LIBRARY, "--text", "wash", "--sheet", "found.jpg")
    assert shown.out.splitlines()[-1] == "found.jpg"
    with Image.open("found.jpg") as sheet:
        assert sheet.size == (6 * 160, 120 + 16)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--tag", "inc"), 2, "tag inc: no work has it (did you mean ink?); the most common are ink, night"),
        (("--tag", ""), 2, "--tag: is empty; say which one, or leave --tag out"),
        (("--limit", "0"), 2, "limit 0: must be at least 1"),
        (("--text", "zebra"), 2, "text zebra: no work has it"),
        (("--tag", "ink", "--text", "zebra"), 2, "art.library: no work is all that was asked for: ask for less"),
        (("--like", "zebra.png"), 1, "zebra.png: no such file"),
        (("--sheet", "found.xyz"), 2, "found.xyz: cannot write .xyz"),
        (("--sheet", "nowhere/found.jpg"), 1, "nowhere/found.jpg: the folder nowhere does not exist"),
    ],
)
def test_a_search_that_cannot_be_is_one_sentence(
    impasto: Command, filled: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    shown = impasto("library", "search", LIBRARY, *words)
    assert shown.code == code
    assert sentence(shown).startswith(said)


def test_an_empty_library_is_searched_in_one_sentence_and_listed_as_nothing(impasto: Command, filled: Path) -> None:
    for name in ("carp", "crane", "hare", "hill", "river"):
        assert impasto("library", "remove", LIBRARY, "--text", name).code == 0
    assert sentence(impasto("library", "search", LIBRARY)).startswith("art.library: is empty; impasto library add")
    shown = impasto("library", "list", LIBRARY)
    assert (shown.code, shown.out, shown.err) == (0, "", "")
    assert "0 in 0 shards" in impasto("library", "info", LIBRARY).out


def test_list_counts_tags_and_authors(impasto: Command, filled: Path) -> None:
    shown = impasto("library", "list", LIBRARY)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == ["tag  ·  ink  ·  2", "tag  ·  night  ·  1", "author  ·  Ohara Koson  ·  1"]


def test_info_tells_what_there_is(impasto: Command, filled: Path) -> None:
    lines = impasto("library", "info", LIBRARY).out.splitlines()
    assert lines[0].startswith("works                5 in 1 shard, ")
    assert f"added 1              {Path('works').resolve()}, tags from {Path('facts.csv').resolve()}" in lines
    (event,) = events(impasto("library", "info", LIBRARY, "--json"))
    assert event["facts"]["tags"] == "2"  # type: ignore[index]


# remove and rebuild


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ((HARE, "works/wash/hill.png"), ["carp.png", "crane.png", "river.png"]),
        (("--tag", "ink"), ["crane.png", "hill.png", "river.png"]),
        (("--author", "koson"), ["carp.png", "crane.png", "hill.png", "river.png"]),
        (("--tag", "ink", "--text", "carp"), ["crane.png", "hare.png", "hill.png", "river.png"]),
    ],
)
def test_remove_takes_works_out(impasto: Command, filled: Path, words: tuple[str, ...], left: list[str]) -> None:
    shown = impasto("library", "remove", LIBRARY, *words)
    count = 5 - len(left)
    assert (shown.code, shown.last_line) == (0, f"{count} work{'s' if count > 1 else ''} taken out of art.library")
    assert names(opened()) == left
    assert HARE.is_file()


def test_remove_takes_out_what_is_missing(impasto: Command, filled: Path) -> None:
    assert impasto("library", "remove", LIBRARY, "--missing").last_line == "0 works taken out of art.library"
    HARE.unlink()
    assert impasto("library", "remove", LIBRARY, "--missing").last_line == "1 work taken out of art.library"
    assert "hare.png" not in names(opened())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "library remove takes pictures or folders, or --tag, --author and --text, or --missing"),
        ((HARE, "--missing"), "library remove takes pictures or folders, or"),
        ((HARE, "--tag", "ink"), "library remove takes pictures or folders, or"),
        (("works/wash/none",), "works/wash/none: no work of art.library is in this folder"),
        (("--tag", ""), "--tag: is empty"),
        (("--tag", "ink", "--tag", " ,"), "--tag: is empty"),
        (("--text", ""), "--text: is empty"),
        (("--author", " "), "--author: is empty"),
        (("--tag", "oil"), "tag oil: no work has it"),
        (("works/ink/hair.png",), "works/ink/hair.png: is no work of art.library (did you mean hare.png?)"),
    ],
)
def test_a_removal_that_is_not_clear_takes_nothing_out(
    impasto: Command, filled: Path, words: tuple[str, ...], said: str
) -> None:
    Path("works/wash/none").mkdir()
    assert sentence(impasto("library", "remove", LIBRARY, *words)).startswith(said)
    assert len(opened()) == 5


def test_rebuild_stops_where_something_is_gone_and_leaves_it_out_if_told_so(impasto: Command, filled: Path) -> None:
    paint(Path("moon.png"), 64, 48, 9)
    fill("moon.png")
    Path("moon.png").unlink()
    shown = impasto("library", "rebuild", LIBRARY, "--processes", "1")
    assert shown.code == 1
    assert sentence(shown) == (
        f"{Path('moon.png').resolve()}: is not there any more: put it back, or leave out what is gone with --missing; "
        "art.library stays as it is"
    )
    assert len(opened()) == 6
    shown = impasto("library", "rebuild", LIBRARY, "--missing", "--processes", "1")
    assert (shown.code, shown.last_line) == (0, "5 works in art.library, 1 work left out whose picture is gone")
    assert row_of("hare.png")["author"] == "Ohara Koson"


def test_what_was_removed_stays_out_and_add_says_so(impasto: Command, filled: Path) -> None:
    assert impasto("library", "remove", LIBRARY, "--text", "hare").code == 0
    shown = impasto("library", "add", LIBRARY, "works", "--processes", "1")
    assert (shown.code, shown.last_line) == (
        0,
        "0 new works in art.library, 4 known already, 1 that was removed before left out",
    )
    shown = impasto("library", "add", LIBRARY, HARE, "--processes", "1")
    assert shown.last_line == "1 new work in art.library"


def test_remove_takes_out_all_below_a_folder(impasto: Command, filled: Path) -> None:
    shown = impasto("library", "remove", LIBRARY, "works/ink", "works/wash/hill.png")
    assert (shown.code, shown.last_line) == (0, "4 works taken out of art.library")
    assert names(opened()) == ["river.png"]


def test_add_says_which_rows_of_a_table_are_of_no_use(impasto: Command) -> None:
    Path("facts.csv").write_text("file,tags\nhare,ink\nelephant,huge\n")
    lines = impasto("library", "add", LIBRARY, HARE, "--tags-from", "facts.csv", *NEW).err.splitlines()
    assert lines[-2:] == ["1 new work in art.library", "1 row of facts.csv is about no picture here"]
    Path("facts.csv").write_text("file,tags\nhare,ink\nelephant,huge\nmoa,big\n")
    shown = impasto("library", "add", LIBRARY, HARE, "--tags-from", "facts.csv", *NEW)
    assert shown.last_line == "2 rows of facts.csv are about no picture here"


def test_add_tells_pictures_that_are_left_out_from_works_with_old_facts(impasto: Command) -> None:
    HARE.with_suffix(".json").write_text("{")
    words = ("library", "add", LIBRARY, "works", "--tags-from", "sidecar", *NEW)
    shown = impasto(*words)
    assert shown.last_line.startswith("1 picture left out, as said above: mend or remove what is named there")
    HARE.with_suffix(".json").unlink()
    assert impasto(*words).code == 0
    HARE.with_suffix(".json").write_text("{")
    (HARE.parent / "dodo.png").write_bytes(b"")
    shown = impasto(*words)
    assert shown.last_line.startswith("1 picture left out and 1 work with old facts, as said above: mend or remove")


@pytest.mark.parametrize("command", ["search", "list", "info", "remove", "rebuild", "add"])
def test_a_library_without_its_manifest_is_one_sentence(impasto: Command, filled: Path, command: str) -> None:
    (filled / "library.json").unlink()
    words = {"remove": ("--missing",), "add": ("works", "--processes", "1")}.get(command, ())
    said = sentence(impasto("library", command, LIBRARY, *words))
    assert said == "art.library/library.json: is missing, and works are there; put it back, or move art.library away"


@pytest.mark.parametrize("command", ["search", "list", "info", "rebuild"])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            "works",
            "works: is a folder of other things and no style library; impasto library add works.library works makes "
            "one of its pictures",
        ),
        ("brief.safetensors", "brief.safetensors: is a file, and a style library is a folder"),
    ],
)
def test_what_is_no_library_is_told_as_what_it_is(impasto: Command, command: str, place: str, said: str) -> None:
    assert sentence(impasto("library", command, place)) == said


def test_help_names_all_commands(impasto: Command) -> None:
    shown = impasto("library", "--help")
    assert shown.code == 0
    for name in ("add", "list", "search", "info", "remove", "rebuild"):
        assert f"{name} " in shown.out

"""Facts about works: the same from folders, sidecars and tables of every kind, and what is wrong in one sentence."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from impasto.errors import LibraryError, UsageError
from impasto.library.facts import Facts, Table, facts_from, tags_of

CAN_BE_UNREADABLE = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unreadable here"
)
HARE = Facts("Hare under the moon", "Ohara Koson", ("ink", "moon", "full"), "CC0")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with names of pictures in it."""
    for name in ("Japan/ink_wash/hare-1.png", "Japan/crane.jpg", "carp.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).touch()
    return tmp_path / "pictures"


def write(table: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as a table of the kind that its suffix says."""
    if table.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), table)
    elif table.suffix == ".jsonl":
        table.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        separator = "\t" if table.suffix == ".tsv" else ","
        lines = [separator.join(rows[0])] + [separator.join(f'"{value}"' for value in row.values()) for row in rows]
        table.write_text("\ufeff" + "\r\n".join(lines) + "\r\n")
    return table


# Tags


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        (None, ()),
        (math.nan, ()),
        ("", ()),
        (" , ;|", ()),
        ("Ink,  Full  Moon ;wash|ink", ("ink", "full moon", "wash")),
        (["Ink", None, math.nan, "INK ", ""], ("ink",)),
        (["ink, wash", ("hare",)], ("ink", "wash", "hare")),
        (1880, ("1880",)),
        (b"ink", ("ink",)),
        ("cafe\u0301", ("caf\u00e9",)),
        ("STRASSE Straße", ("strasse strasse",)),
    ],
)
def test_tags_are_small_words_each_once(words: Any, tags: tuple[str, ...]) -> None:
    assert tags_of(words) == tags


def test_thousands_of_tags_are_kept(tmp_path: Path) -> None:
    many = [f"tag {number}" for number in range(5000)]
    table = write(tmp_path / "tags.jsonl", [{"file": "a.png", "tags": many}])
    assert facts_from(str(table), tmp_path)(tmp_path / "a.png").tags == tuple(many)


def test_characters_that_are_none_do_not_reach_the_library(tmp_path: Path) -> None:
    (tmp_path / "tags.jsonl").write_text('{"file": "a.png", "title": "\\ud800", "tags": ["in\\udcffk"]}')
    found = facts_from(str(tmp_path / "tags.jsonl"), tmp_path)(tmp_path / "a.png")
    assert (found.title, found.tags) == ("?", ("in?k",))


def test_a_title_is_one_line(tmp_path: Path) -> None:
    table = write(tmp_path / "tags.jsonl", [{"file": "a.png", "title": " Hare\nunder\tthe moon "}])
    assert facts_from(str(table), tmp_path)(tmp_path / "a.png").title == "Hare under the moon"


# Folders


def test_folders_are_tags_and_names_are_titles(pictures: Path) -> None:
    found = facts_from("folders", pictures)(pictures / "Japan/ink_wash/hare-1.png")
    assert found == Facts("hare 1", tags=("pictures", "japan", "ink_wash"))


def test_folders_are_those_below_the_one_that_was_given(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    assert facts_from("folders", Path("Japan"))(Path("Japan/crane.jpg")).tags == ("japan",)
    assert facts_from("folders", Path())(Path("Japan/crane.jpg")).tags == ("pictures", "japan")


def test_a_folder_of_several_words_is_several_tags(tmp_path: Path) -> None:
    """As in a search, where commas separate them."""
    assert facts_from("folders", tmp_path)(tmp_path / "ink, wash" / "a.png").tags[1:] == ("ink", "wash")


# Sidecars


def test_a_picture_without_a_sidecar_has_a_title(pictures: Path) -> None:
    assert facts_from("sidecar", pictures)(pictures / "carp.png") == Facts("carp")


@pytest.mark.parametrize("name", ["hare-1.json", "hare-1.png.json"])
def test_json_beside_a_picture_has_all_its_facts(pictures: Path, name: str) -> None:
    picture = pictures / "Japan/ink_wash/hare-1.png"
    values = {"title": HARE.title, "artist": HARE.author, "tags": ["Ink", "moon, full"], "license": "CC0"}
    (picture.parent / name).write_text(json.dumps(values))
    assert facts_from("sidecar", pictures)(picture) == HARE


@pytest.mark.parametrize("name", ["hare-1.txt", "hare-1.png.txt"])
def test_text_beside_a_picture_is_its_tags(pictures: Path, name: str) -> None:
    picture = pictures / "Japan/ink_wash/hare-1.png"
    (picture.parent / name).write_bytes(b"\xef\xbb\xbfInk, moon\r\nfull\r\n")
    assert facts_from("sidecar", pictures)(picture) == Facts("hare 1", tags=("ink", "moon", "full"))


def test_json_goes_before_text(pictures: Path) -> None:
    (pictures / "carp.png.json").write_text('{"tags": "a"}')
    (pictures / "carp.txt").write_text("b")
    assert facts_from("sidecar", pictures)(pictures / "carp.png").tags == ("a",)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", r"carp\.json: is no JSON object, as \{.*\}: mend it"),
        (b"[1]", r"carp\.json: is no JSON object"),
        (b"[" * 100_000, r"carp\.json: is no JSON object"),
        (b'{"title": "\xff"}', r"carp\.json: is not UTF-8 text: save it as UTF-8"),
        (b'{"tags": {"style": "ink"}}', r"carp\.json: what it says of carp\.png is no text, or a list of words"),
        (b'{"tags": [{"style": "ink"}]}', r"carp\.json: what it says of carp\.png is no text, or a list of words"),
        (b'{"title": {"en": "Carp"}}', r"carp\.json: what it says of carp\.png is no text, or a list of words"),
    ],
)
def test_a_sidecar_that_says_nothing_is_one_sentence(pictures: Path, data: bytes, words: str) -> None:
    (pictures / "carp.json").write_bytes(data)
    with pytest.raises(LibraryError, match=words):
        facts_from("sidecar", pictures)(pictures / "carp.png")


# Tables


ROW = {"file": "hare-1.png", "title": HARE.title, "author": HARE.author, "tags": "Ink; moon, full", "licence": "CC0"}


@pytest.mark.parametrize("name", ["t.csv", "t.TSV", "t.parquet", "t.jsonl"])
def test_every_kind_of_table_says_the_same(pictures: Path, name: str) -> None:
    write(pictures / name.lower(), [ROW, {**ROW, "file": "crane.jpg", "title": "Crane"}]).rename(pictures / name)
    facts_of = facts_from(str(pictures / name), pictures)
    assert facts_of(pictures / "Japan/ink_wash/hare-1.png") == HARE
    assert facts_of(pictures / "Japan/crane.jpg").title == "Crane"


@pytest.mark.parametrize(
    "columns",
    [
        ("filename", "title", "artist", "keywords", "license"),
        (" File_Name ", "TITLE", "Creator", "Labels", "Rights"),
        ("image", "title", "painter", "style", "licence"),
    ],
)
def test_columns_may_have_other_names(pictures: Path, columns: tuple[str, ...]) -> None:
    table = write(pictures / "t.csv", [dict(zip(columns, ROW.values(), strict=True))])
    assert facts_from(str(table), pictures)(pictures / "Japan/ink_wash/hare-1.png") == HARE


def test_all_columns_of_tags_count(pictures: Path) -> None:
    table = write(pictures / "t.csv", [{"file": "carp.png", "Style": "ink", "genre": "animals", "year": "1880"}])
    assert facts_from(str(table), pictures)(pictures / "carp.png").tags == ("ink", "animals")


@pytest.mark.parametrize(
    "name",
    [
        "{pictures}/Japan/ink_wash/hare-1.png",
        "Japan/ink_wash/hare-1.png",
        "./Japan/ink_wash/hare-1.png",
        "Japan\\ink_wash\\hare-1.png",
        "pictures/Japan/ink_wash/hare-1.png",
        "hare-1.png",
        "hare-1",
    ],
)
def test_a_row_names_its_file_in_many_ways(pictures: Path, name: str) -> None:
    table = write(pictures.parent / "t.csv", [{"file": name.format(pictures=pictures), "title": "Hare"}])
    facts_of = facts_from(str(table), pictures)
    assert isinstance(facts_of, Table)
    assert facts_of(pictures / "Japan/ink_wash/hare-1.png").title == "Hare"
    assert not facts_of.knows(pictures / "carp.png")


def test_the_path_goes_before_the_name(pictures: Path) -> None:
    rows = [{"file": "crane.jpg", "title": "some"}, {"file": "Japan/crane.jpg", "title": "this"}]
    assert facts_from(str(write(pictures / "t.csv", rows)), pictures)(pictures / "Japan/crane.jpg").title == "this"


def test_a_file_in_another_folder_is_another_one(pictures: Path) -> None:
    table = write(pictures / "t.csv", [{"file": "China/crane.jpg", "title": "Crane"}])
    assert facts_from(str(table), pictures)(pictures / "Japan/crane.jpg") == Facts("crane")


def test_accents_count_alike_however_they_are_written(tmp_path: Path) -> None:
    """Tables have them composed, some disks apart."""
    table = write(tmp_path / "t.csv", [{"file": "caf\u00e9.png", "title": "Café"}])
    assert facts_from(str(table), tmp_path)(tmp_path / "cafe\u0301.png").title == "Café"


def test_a_table_is_found_through_a_link_to_the_pictures(pictures: Path) -> None:
    (pictures.parent / "link").symlink_to(pictures, target_is_directory=True)
    table = write(pictures / "t.csv", [{"file": "Japan/crane.jpg", "title": "Crane"}])
    assert facts_from(str(table), pictures.parent / "link")(pictures.parent / "link/Japan/crane.jpg").title == "Crane"


def test_what_is_missing_in_a_table_is_no_word(pictures: Path) -> None:
    rows = [
        {"file": "carp.png", "title": None, "author": math.nan, "tags": [None, "ink"], "genre": math.nan},
        {"file": None, "title": "nobody", "author": 1.0, "tags": None, "genre": 1.0},
    ]
    facts_of = facts_from(str(write(pictures / "t.parquet", rows)), pictures)
    assert facts_of(pictures / "carp.png") == Facts("carp", tags=("ink",))
    assert facts_of(pictures / "None") == Facts("None")


def test_text_that_parquet_holds_as_bytes_is_text(pictures: Path) -> None:
    rows = [{"file": b"carp.png", "title": b"Carp", "tags": [b"ink"]}]
    table = write(pictures / "t.parquet", rows)
    assert facts_from(str(table), pictures)(pictures / "carp.png") == Facts("Carp", tags=("ink",))


def test_a_field_may_hold_separators_quotes_and_lines(pictures: Path) -> None:
    (pictures / "t.csv").write_text('file,title,tags\ncarp.png,"Carp, ""the great""\nof 1880","a,b"\n')
    found = facts_from(str(pictures / "t.csv"), pictures)(pictures / "carp.png")
    assert found == Facts('Carp, "the great" of 1880', tags=("a", "b"))


@pytest.mark.parametrize(
    ("name", "separator"), [("t.jsonl", "\u2028"), ("t.jsonl", "\u0085"), ("t.csv", "\u2028"), ("t.csv", "\x0c")]
)
def test_only_line_breaks_end_a_row(pictures: Path, name: str, separator: str) -> None:
    row = {"file": "carp.png", "title": f"Carp{separator}rising"}
    text = json.dumps(row, ensure_ascii=False) if name == "t.jsonl" else f"file,title\n{','.join(row.values())}\n"
    (pictures / name).write_text(text, encoding="utf-8")
    assert facts_from(str(pictures / name), pictures)(pictures / "carp.png").title == "Carp rising"


def test_rows_of_json_lines_need_not_be_alike(pictures: Path) -> None:
    (pictures / "t.jsonl").write_text('{"note": "of 2024"}\n\n{"path": "carp.png", "artist": ["A", "B"]}\n')
    assert facts_from(str(pictures / "t.jsonl"), pictures)(pictures / "carp.png").author == "A, B"


def test_of_several_rows_about_a_file_the_first_counts(pictures: Path) -> None:
    table = write(pictures / "t.csv", [{"file": "carp.png", "title": word} for word in "ab"])
    assert facts_from(str(table), pictures)(pictures / "carp.png").title == "a"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.csv", b"title,tags\na,b\n", r"t\.csv: no column says which file a row is about; call it one of path, file"),
        ("t.csv", b"", r"t\.csv: no column says which file"),
        ("t.jsonl", b"", r"t\.jsonl: no column says which file"),
        ("t.csv", b"file,tags\ncarp.png,ink,wash\n", r"t\.csv, line 2: has more fields than the first line; put one"),
        ("t.csv", b'file,tags\ncarp.png,"ink\n', r"t\.csv: is no table that can be read \(.*\): mend it"),
        ("t.tsv", b"file\ttags\ncarp.png\t\xe9\n", r"t\.tsv: is not UTF-8 text: save it as UTF-8"),
        ("t.jsonl", b'{"file": "carp.png"}\n{"file": \n', r"t\.jsonl, line 2: is no JSON object"),
        ("t.parquet", b"PAR1, once upon a time", r"t\.parquet: is no Parquet file, or a damaged one: save it anew"),
        ("t.parquet", b"", r"t\.parquet: is no Parquet file"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(LibraryError, match=words):
        facts_from(str(tmp_path / name), tmp_path)


def test_a_table_without_rows_is_one_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,tags\n")
    parquet.write_table(pa.table({"file": pa.array([], pa.string())}), tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        assert facts_from(str(tmp_path / name), tmp_path)(tmp_path / "a.png") == Facts("a")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_missing_table_is_one_sentence_with_a_near_match(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"facts{suffix}").touch()
    with pytest.raises(LibraryError, match=rf"fact\{suffix}: no such file \(did you mean facts\{suffix}\?\)"):
        facts_from(str(tmp_path / f"fact{suffix}"), tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_folder_is_no_table(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"t{suffix}").mkdir()
    with pytest.raises(LibraryError, match=rf"t\{suffix}: (cannot be read|is no Parquet file)"):
        facts_from(str(tmp_path / f"t{suffix}"), tmp_path)


@CAN_BE_UNREADABLE
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_that_may_not_be_read_is_one_sentence(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"t{suffix}").touch(mode=0)
    with pytest.raises(LibraryError, match=r"cannot be read \(.*\): check its permissions"):
        facts_from(str(tmp_path / f"t{suffix}"), tmp_path)


@pytest.mark.parametrize(("place", "near"), [("folder", " (did you mean folders?)"), ("tags.xlsx", "")])
def test_an_unknown_place_is_one_sentence_with_a_near_match(tmp_path: Path, place: str, near: str) -> None:
    with pytest.raises(UsageError) as raised:
        facts_from(place, tmp_path)
    known = "there are folders, sidecar and .csv, .tsv, .parquet, .jsonl files"
    assert str(raised.value) == f"tags from {place}: unknown{near}; {known}"

"""Records: written, read back, thinned, and refused in one sentence when damaged."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from impasto.errors import PictureError
from impasto.pictures.files import write_picture
from impasto.pictures.picture import Picture
from impasto.records import LONGEST_HISTORY, InputRecord, MomentRecord, Record, read_record, thinned
from impasto.synthesis import Moment

RECORD = Record(
    impasto="0.1.0",
    torch="2.9.0",
    method="transfer",
    settings={"size": 512, "style_layers": {"relu1_1": 1.0}, "start": "北斎.png", "encoder": "lite"},
    inputs=(
        InputRecord(role="content", path="/pictures/sea.jpg", sha256="ab" * 32, width=640, height=480),
        InputRecord(role="style", path=None, sha256=None, width=1, height=20_000),
    ),
    encoder="lite",
    encoder_checksum="cd" * 32,
    device="cpu",
    precision="float32",
    width=512,
    height=384,
    seconds=12.345,
    peak_memory=10**9,
    history=(MomentRecord(size=128, step=1, total=20.5, losses={"content": 0.1, "style": 1.02}),),
)


def history(length: int) -> list[Moment]:
    return [Moment(128, step, 1 / step, {"style": 1 / 3}) for step in range(1, length + 1)]


def test_a_record_survives_its_json() -> None:
    assert Record.from_json(RECORD.to_json(), "a.png") == RECORD


def test_a_record_is_plain_json_on_one_line() -> None:
    assert json.loads(RECORD.to_json())["inputs"][0]["role"] == "content"
    assert "\n" not in RECORD.to_json()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_record_is_read_from_the_picture_it_is_in(tmp_path: Path, name: str) -> None:
    write_picture(Picture(torch.rand(1, 3, 8, 9)), tmp_path / name, record=RECORD.to_json())
    assert read_record(tmp_path / name) == RECORD


def test_a_record_is_read_from_the_json_beside_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(RECORD.to_json(), encoding="utf-8")
    assert read_record(tmp_path / "a.json") == RECORD


def test_a_short_history_is_kept_whole() -> None:
    assert [moment.step for moment in thinned(history(LONGEST_HISTORY))] == list(range(1, LONGEST_HISTORY + 1))
    assert thinned([]) == ()


@given(st.integers(1, 20_000))
def test_a_long_history_is_thinned_evenly_and_keeps_the_last(length: int) -> None:
    steps = [moment.step for moment in thinned(history(length))]
    assert steps[-1] == length
    assert min(length, LONGEST_HISTORY // 2) <= len(steps) <= LONGEST_HISTORY
    assert len({b - a for a, b in pairwise(steps)}) <= 1


def test_losses_are_kept_to_five_digits() -> None:
    (moment,) = thinned([Moment(64, 1, 1234.56789, {"style": 1.23456789e-7})])
    assert moment == MomentRecord(size=64, step=1, total=1234.6, losses={"style": 1.2346e-7})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        RECORD.to_json()[:-20],
        RECORD.to_json().replace('"width":512', '"width":"wide"'),
        json.dumps(json.loads(RECORD.to_json()) | {"inputs": "sea.jpg"}),
        json.dumps(json.loads(RECORD.to_json()) | {"history": [{"size": 1}]}),
    ],
)
def test_a_damaged_record_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(PictureError, match=r"a\.json: its record is damaged or of another version") as error:
        read_record(tmp_path / "a.json")
    assert "\n" not in str(error.value)


def test_a_record_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(bytes(range(256)))
    with pytest.raises(PictureError, match=r"a\.json: is no text: rerun needs the \.json"):
        read_record(tmp_path / "a.json")
    with pytest.raises(PictureError, match=r"b\.json: no such file"):
        read_record(tmp_path / "b.json")


def test_a_picture_without_a_record_says_what_is_needed(tmp_path: Path) -> None:
    write_picture(Picture(torch.rand(1, 3, 8, 9)), tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"a\.png: holds no impasto record; rerun needs a picture"):
        read_record(tmp_path / "a.png")

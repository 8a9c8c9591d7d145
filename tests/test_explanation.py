"""Why a blend is of these works: what is said, drawn and written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.explanation import _in_words
from impasto.records import read_record
from studio import FAST, Command, paint


@pytest.fixture
def works(studio: Path) -> list[str]:
    for seed in range(4):
        paint(studio / f"{seed}.jpg", 60, 60 + 40 * (seed == 2), seed=seed + 2)
    return [f"{seed}.jpg" for seed in range(4)]


def test_works_are_listed_with_what_speaks_for_them(impasto: Command, works: list[str]) -> None:
    shown = impasto("blend", "harbour.jpg", *works, *FAST, "-o", "out.png", "--explain")
    assert shown.code == 0
    facts = read_record(Path("out.png")).facts
    used = sorted((one for one in facts["works"] if one["weight"] > 0), key=lambda one: -one["weight"])
    lines = shown.out.splitlines()
    assert lines[0].split("  ·  ")[1:3] == [f"{used[0]['weight']:.1%}", f"alone {used[0]['alone']:.3g}"]
    assert f"distance of the mixture    {facts['distance']:.3g}" in lines
    assert "chart                      out.works.png" in lines
    assert len([line for line in lines if "gradient" in line]) == len(used)


def test_the_chart_has_a_bar_for_each_work(impasto: Command, works: list[str]) -> None:
    bars = []
    for count in (2, 4):
        impasto("blend", "harbour.jpg", *works[:count], *FAST, "-o", "out.png", "--explain", "--character", "1")
        with Image.open(f"out{'' if count == 2 else '-2'}.works.png") as chart:
            blue = (np.abs(np.asarray(chart.convert("RGB")).astype(int) - (0x46, 0x68, 0x8F)).sum(-1) < 6).any(1)
        bars.append(int(np.diff(blue.astype(int)).clip(0).sum()))
    assert bars == [2, 4]


def test_the_numbers_are_json_with_names(impasto: Command, works: list[str]) -> None:
    impasto("blend", "harbour.jpg", *works, *FAST, "-o", "out.png", "--explain", "--shrinkage", "0")
    numbers = json.loads(Path("out.works.json").read_text())
    assert [one["name"] for one in numbers["works"]] == works
    assert sum(one["weight"] for one in numbers["works"]) == pytest.approx(1, abs=1e-3)
    assert numbers["distance"] <= min(one["alone"] for one in numbers["works"]) + 1e-3


def test_what_is_there_is_not_overwritten(impasto: Command, works: list[str]) -> None:
    Path("out.works.json").write_text("mine")
    impasto("blend", "harbour.jpg", *works, *FAST, "-o", "out.png", "--explain")
    assert Path("out.works.json").read_text() == "mine"
    assert Path("out.works-2.json").exists()


def test_without_being_asked_nothing_is_written(impasto: Command, works: list[str]) -> None:
    shown = impasto("blend", "harbour.jpg", *works, *FAST, "-o", "out.png")
    assert shown.out == "out.png\n"
    assert not [*Path().glob("*.works.*")]


def test_what_is_rounding_is_nothing() -> None:
    none = {"weight": 0.5, "alone": 1e-12, "without": -3e-11, "gradient": -9e-10}
    assert [*_in_words(none).values()] == ["50.0%", "alone 0", "without it +0", "gradient 0"]
    some = {"weight": 0.5, "alone": 0.1234, "without": 2e-9, "gradient": -2e-9}
    assert [*_in_words(some).values()] == ["50.0%", "alone 0.123", "without it +2e-09", "gradient -2e-09"]

"""Flows from files: which pattern, which numbers, and which file is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from impasto.errors import FlowError, UsageError
from impasto.motion import FlowFiles, flow_files, write_flo
from motion.moving_square import vectors


def written(folder: Path, pattern: str, *pairs: tuple[int, int]) -> str:
    """Flows (from, to) of 6×8 between frames with these numbers; the whole pattern."""
    for pair in pairs:
        write_flo(folder / pattern.format(*pair), vectors(*pair, 6, 8))
    return str(folder / pattern)


@pytest.mark.parametrize("pattern", ["flow_{}_{}.flo", "{:04d}-{:04d}.flo", "to{1}_from{0}.flo"])
@pytest.mark.parametrize("first", [0, 1])
def test_flows_are_found_whether_frames_count_from_0_or_1(pattern: str, first: int, tmp_path: Path) -> None:
    pairs = [(first + 1, first), (first, first + 1), (first + 2, first + 1), (first + 3, first + 1)]
    files = flow_files(written(tmp_path, pattern, *pairs))
    assert files.first == first
    for from_, to in ((1, 0), (0, 1), (2, 1), (3, 1)):
        assert torch.equal(files.flow(from_, to, 6, 8), vectors(from_ + first, to + first, 6, 8))


@pytest.mark.parametrize("only", [(1, 0), (0, 1), (2, 1), (1, 2)])
def test_either_direction_tells_the_first_number(only: tuple[int, int], tmp_path: Path) -> None:
    assert flow_files(written(tmp_path, "{}_{}.flo", only)).first == min(only)


def test_a_missing_flow_is_named(tmp_path: Path) -> None:
    files = flow_files(written(tmp_path, "flow_{}_{}.flo", (2, 1)))
    with pytest.raises(FlowError) as caught:
        files.flow(4, 3, 6, 8)
    assert str(caught.value) == (
        f"{tmp_path}/flow_5_4.flo: no such file; it is to hold the flow from frame 5 to frame 4, "
        "the first frame being 1"
    )


def test_no_flow_at_all_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FlowError) as caught:
        flow_files(str(tmp_path / "flow_{}_{}.flo"))
    assert str(caught.value) == (
        f"{tmp_path}/flow_1_0.flo: no such file, nor {tmp_path}/flow_2_1.flo: the flow from the second frame to the "
        "first, frames being numbered from 0 or from 1"
    )


def test_the_size_of_the_frames_is_compared(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match="is 8x6, and the frames are 16x12"):
        flow_files(written(tmp_path, "{}_{}.flo", (1, 0))).flow(1, 0, 12, 16)


@pytest.mark.parametrize(
    "pattern", ["flow.flo", "flow_{}.flo", "{0}_{0}.flo", "{}{}{}.flo", "{}_{name}.flo", "{}_{", "{:x!}_{}", "{}_{.a}"]
)
def test_a_pattern_without_two_numbers_is_refused(pattern: str) -> None:
    with pytest.raises(
        UsageError, match=r"needs two places for numbers of frames, from and to, such as flow_\{\}_\{\}"
    ):
        flow_files(pattern)


def test_numbers_are_those_of_the_files() -> None:
    assert FlowFiles("{}-{}", first=1).path(7, 6) == Path("8-7")

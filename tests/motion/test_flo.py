"""Flows in .flo files: there and back, and what is wrong in one sentence."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from impasto.errors import FlowError
from impasto.motion import read_flo, write_flo
from motion.moving_square import vectors


def some_flow(height: int = 3, width: int = 5) -> Tensor:
    return torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(0))


def raw(magic: float = 202021.25, width: int = 2, height: int = 1, values: tuple[float, ...] = (1, 2, 3, 4)) -> bytes:
    return struct.pack(f"<fii{len(values)}f", magic, width, height, *values)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_flo(tmp_path / "a.flo", some_flow())
    assert torch.equal(read_flo(tmp_path / "a.flo"), some_flow())
    assert torch.equal(read_flo(tmp_path / "a.flo", 3, 5), some_flow())
    assert [path.name for path in tmp_path.iterdir()] == ["a.flo"]


def test_bytes_are_those_of_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "a.flo"
    write_flo(path, torch.tensor([[1.0, 3.0], [2.0, 4.0]]).view(1, 2, 1, 2))
    assert path.read_bytes() == raw()
    assert path.read_bytes()[:4] == b"PIEH"
    path.write_bytes(raw(width=1, height=2))
    assert read_flo(path).flatten().tolist() == [1, 3, 2, 4]
    assert read_flo(path).shape == (1, 2, 2, 1)


def test_unknown_flow_is_nan_in_both_components(tmp_path: Path) -> None:
    path = tmp_path / "a.flo"
    path.write_bytes(raw(values=(1, 1.7e9, 3, 4)))
    flow = read_flo(path)
    assert flow[..., 0].isnan().all()
    assert flow[..., 1].flatten().tolist() == [3, 4]
    write_flo(tmp_path / "b.flo", flow)
    assert torch.equal(read_flo(tmp_path / "b.flo").isnan(), flow.isnan())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is cut off, it has 0 bytes and not even a header; write it again"),
        (raw()[:11], "is cut off, it has 11 bytes and not even a header; write it again"),
        (raw(magic=1.0), "is no .flo file, it does not begin with 202021.25"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "is no .flo file, it does not begin with 202021.25"),
        (raw(width=-2), "is damaged, its header says -2x1 pixels"),
        (raw(width=2_000_000_000), "is damaged, its header says 2000000000x1 pixels"),
        (raw(width=3), "is cut off, it has 28 of 36 bytes; write it again"),
        (raw(width=1), "is damaged, 1x1 takes 20 bytes and it has 28"),
        (
            raw(values=(1, float("nan"), 3, 4)),
            "holds values that are not numbers (NaN); unknown flow is written as 1e10",
        ),
    ],
)
def test_what_is_no_flow_is_said(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.flo"
    path.write_bytes(content)
    with pytest.raises(FlowError) as caught:
        read_flo(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_flow_of_another_size_is_said_with_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "flow.flo"
    write_flo(path, vectors(0, 0, 24, 32))
    with pytest.raises(FlowError) as caught:
        read_flo(path, height=48, width=64)
    assert str(caught.value) == f"{path}: is 32x24, and the frames are 64x48: make flows of the frames at their size"


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match=r"none\.flo: no such file$"):
        read_flo(tmp_path / "none.flo")
    with pytest.raises(FlowError, match="cannot be read"):
        read_flo(tmp_path)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.flo"
    write_flo(path, some_flow())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FlowError, match="the disk is full"):
        write_flo(path, some_flow() + 1)
    assert torch.equal(read_flo(path), some_flow())
    assert len(list(tmp_path.iterdir())) == 1


@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda rest: raw()[:4] + rest))
def test_hostile_bytes_are_a_flow_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.flo"
    path.write_bytes(content)
    try:
        flow = read_flo(path)
    except FlowError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
    else:
        assert flow.shape[:2] == (1, 2)

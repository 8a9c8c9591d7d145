"""Flows on disk: found once, the same from there, and never in the way."""

from __future__ import annotations

import errno
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from impasto.motion import CachedFlow
from motion.moving_square import texture

NOW, BEFORE = texture(0, 10, 12), texture(1, 10, 12)


class Counting:
    """An estimator that can be told apart by name and counts what it is asked."""

    def __init__(self, name: str = "counting") -> None:
        self.name, self.calls = name, 0

    def __call__(self, from_: Tensor, to: Tensor) -> Tensor:
        self.calls += 1
        return (100 * (from_ - to))[:, :2]


def test_a_flow_is_found_once(tmp_path: Path) -> None:
    estimator = Counting()
    first = CachedFlow(estimator, tmp_path / "flows")(NOW, BEFORE)
    again = CachedFlow(estimator, tmp_path / "flows")(NOW, BEFORE)
    assert estimator.calls == 1
    assert torch.equal(first, again)
    assert first.dtype == again.dtype == torch.float32
    assert (first - Counting()(NOW, BEFORE)).abs().max() < 0.05


def test_everything_that_a_flow_depends_on_is_in_its_key(tmp_path: Path) -> None:
    estimator = Counting()
    flow = CachedFlow(estimator, tmp_path)
    changed = NOW.clone()
    changed[0, 2, 9, 11] += 1e-6
    for pair in ((NOW, BEFORE), (BEFORE, NOW), (changed, BEFORE), (NOW, changed), (NOW.mT, BEFORE.mT)):
        flow(*pair)
    assert estimator.calls == 5
    assert flow(NOW.reshape(1, 3, 12, 10), BEFORE.reshape(1, 3, 12, 10)).shape == (1, 2, 12, 10)
    other = Counting("another")
    CachedFlow(other, tmp_path)(NOW, BEFORE)
    assert other.calls == 1


def test_how_frames_lie_in_memory_does_not_matter(tmp_path: Path) -> None:
    estimator = Counting()
    flow = CachedFlow(estimator, tmp_path)
    flow(NOW, BEFORE)
    flow(NOW.contiguous(memory_format=torch.channels_last), BEFORE.clone().requires_grad_())
    assert estimator.calls == 1


def of_another_shape(path: Path) -> None:
    save_file({"flow": torch.zeros(1, 2, 3, 3, dtype=torch.float16)}, path)


def of_another_kind(path: Path) -> None:
    save_file({"flow": torch.zeros(1, 2, 10, 12)}, path)


def without_a_flow(path: Path) -> None:
    save_file({"other": torch.zeros(1)}, path)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [of_another_shape, of_another_kind, without_a_flow, cut_off, emptied])
def test_a_damaged_entry_is_found_again_with_a_warning(damage: object, tmp_path: Path) -> None:
    estimator = Counting()
    flow = CachedFlow(estimator, tmp_path)
    whole = flow(NOW, BEFORE)
    (entry,) = tmp_path.iterdir()
    damage(entry)  # type: ignore[operator]
    with pytest.warns(UserWarning, match=r"safetensors: is damaged \(.+\); the flow is found again"):
        again = flow(NOW, BEFORE)
    assert torch.equal(again, whole)
    assert torch.equal(flow(NOW, BEFORE), whole)
    assert estimator.calls == 2


def test_a_full_disk_is_said_once_and_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = CachedFlow(Counting(), tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="the disk is full; .*; the work goes on, and flows are not kept") as said:
        found = flow(NOW, BEFORE)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(flow(NOW, BEFORE), found)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="the work goes on, and flows are not kept"):
        assert CachedFlow(Counting(), tmp_path / "file" / "flows")(NOW, BEFORE).shape == (1, 2, 10, 12)


def test_its_name_tells_that_flows_are_rounded(tmp_path: Path) -> None:
    assert CachedFlow(Counting(), tmp_path).name == "counting, float16"

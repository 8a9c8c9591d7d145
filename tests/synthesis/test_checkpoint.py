"""Checkpoints: whoever goes on from one gets, bit for bit, what an uninterrupted run gives."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from impasto.encoders.vgg import VGG
from impasto.errors import PictureError
from impasto.losses import GramLoss, Smoothness, moments
from impasto.synthesis import Objective, Optimisation, Scale, Synthesis, Term, checkpoint
from impasto.synthesis.checkpoint import KEY, load_checkpoint, save_checkpoint

SCHEDULE = (Scale(10, 13, 6), Scale(20, 26, 5), Scale(40, 52, 4))
STEPS = sum(scale.steps for scale in SCHEDULE)


def random_picture(height: int, width: int, seed: int) -> Tensor:
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return picture.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def begin(lively_encoder: VGG) -> Callable[..., Synthesis]:
    def build(**options: float) -> Synthesis:
        layers = {"relu1_1": 1.0, "relu2_1": 1.0}
        style = GramLoss(moments(lively_encoder(random_picture(32, 32, 1), layers)), layers)
        terms = [Term("style", style, 1.0), Term("smoothness", Smoothness(), 0.3)]
        return Synthesis(
            SCHEDULE,
            lambda _: Objective(lively_encoder, terms),
            lambda scale: random_picture(scale.height, scale.width, 0),
            Optimisation(**options),
        )

    return build


def do(synthesis: Synthesis, steps: int) -> None:
    for _ in itertools.islice(synthesis, steps):
        pass


def gone_on(path: Path, fresh: Synthesis) -> Synthesis:
    tensors, state, _ = load_checkpoint(path)
    fresh.go_on_from(tensors, state)
    return fresh


@pytest.mark.parametrize("steps", [0, 1, 3, 6, 7, 11, 13, STEPS])
def test_going_on_from_any_step_gives_the_uninterrupted_picture(
    begin: Callable[..., Synthesis], tmp_path: Path, steps: int
) -> None:
    whole, interrupted = begin(), begin()
    whole.run()
    do(interrupted, steps)
    save_checkpoint(tmp_path / "c.safetensors", interrupted, {})
    resumed = gone_on(tmp_path / "c.safetensors", begin())
    assert len(resumed.history) == steps
    assert torch.equal(resumed.run(), whole.picture)
    assert resumed.history == whole.history
    assert resumed.finished


def test_going_on_twice_gives_the_uninterrupted_picture(begin: Callable[..., Synthesis], tmp_path: Path) -> None:
    whole, again = begin(), begin()
    whole.run()
    for _ in range(5):
        do(again, 3)
        save_checkpoint(tmp_path / "c.safetensors", again, {})
        again = gone_on(tmp_path / "c.safetensors", begin())
    assert torch.equal(again.run(), whole.picture)


def test_going_on_keeps_the_stop_rule_in_step(begin: Callable[..., Synthesis], tmp_path: Path) -> None:
    whole, interrupted = begin(tolerance=0.9, window=3), begin(tolerance=0.9, window=3)
    whole.run()
    assert len(whole.history) < STEPS
    do(interrupted, 3)
    save_checkpoint(tmp_path / "c.safetensors", interrupted, {})
    resumed = gone_on(tmp_path / "c.safetensors", begin(tolerance=0.9, window=3))
    resumed.run()
    assert resumed.history == whole.history


def test_seconds_add_up_and_changed_strengths_are_kept(begin: Callable[..., Synthesis], tmp_path: Path) -> None:
    interrupted = begin()
    interrupted.strengths["smoothness"] = 2.0
    do(interrupted, 4)
    save_checkpoint(tmp_path / "c.safetensors", interrupted, {})
    resumed = gone_on(tmp_path / "c.safetensors", begin())
    assert resumed.strengths == {"smoothness": 2.0}
    assert resumed.seconds == interrupted.seconds > 0


def test_saving_does_not_disturb_the_work(begin: Callable[..., Synthesis], tmp_path: Path) -> None:
    whole, saved = begin(), begin()
    whole.run()
    saved.run(lambda step: save_checkpoint(tmp_path / "c.safetensors", saved, {}))
    assert torch.equal(saved.picture, whole.picture)


def test_the_copy_that_is_saved_takes_no_more_memory_than_it_has_to(
    begin: Callable[..., Synthesis], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept for the next step goes back before it, and the copy itself after it, even if the disk is full."""
    told: list[str] = []

    def save(*_: object, **__: object) -> None:
        told.append("saved")
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "release_memory", lambda: told.append("released"))
    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path / "a.checkpoint", begin(), {})
    assert told == ["released", "saved", "released"]


def test_a_checkpoint_says_what_it_belongs_to(begin: Callable[..., Synthesis], tmp_path: Path) -> None:
    about = {"output": "a.png", "settings": {"size": 64}, "unicode": "北斎"}
    save_checkpoint(tmp_path / "c.safetensors", begin(), about)
    assert load_checkpoint(tmp_path / "c.safetensors")[2] == about
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_missing_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "c.safetensors")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def _picture(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))


def _foreign(path: Path) -> None:
    save_file({"a": torch.zeros(3)}, path)


def _no_json(path: Path) -> None:
    save_file({"a": torch.zeros(3)}, path, metadata={KEY: "{"})


def _other_json(path: Path) -> None:
    save_file({"a": torch.zeros(3)}, path, metadata={KEY: json.dumps([1, 2])})


def _no_state(path: Path) -> None:
    save_file({"a": torch.zeros(3)}, path, metadata={KEY: json.dumps({"about": {}})})


@pytest.mark.parametrize("damage", [_cut, _empty, _noise, _picture, _foreign, _no_json, _other_json, _no_state])
def test_a_damaged_checkpoint_is_one_sentence(
    begin: Callable[..., Synthesis], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, begin(), {})
    damage(path)
    with pytest.raises(PictureError, match=r"c\.safetensors: .*damaged") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)

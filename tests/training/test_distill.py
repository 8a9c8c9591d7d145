"""Both trunks of a small encoder are trained, go on, and are exported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import distill
import export
import runs
from impasto.encoders import load_encoder
from impasto.encoders.vgg import VGG, Configuration
from miniature import lively

WIDTHS = {"shallow": ("6", "8", "8"), "deep": ("8", "8", "8", "8")}


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of pictures, and teachers that are as small as their students."""
    noise = np.random.default_rng(0)
    for kind, count in {"photos": 10, "art": 4}.items():
        (tmp_path / kind).mkdir()
        for i in range(count):
            coarse = Image.fromarray(noise.integers(0, 256, (6, 7, 3), dtype=np.uint8))
            coarse.resize((112, 98), Image.Resampling.BICUBIC).save(tmp_path / kind / f"{i}.png")
    monkeypatch.setattr(runs, "HELD_OUT", 4)
    monkeypatch.setattr(distill, "EXAMPLES", 2)
    monkeypatch.setattr(distill, "BATCHES_TO_SETTLE", 2)
    monkeypatch.setattr(distill, "exact_teacher", lambda _: teacher((6, 8, 8), (2, 2, 1)))
    monkeypatch.setattr(distill, "reduced_teacher", lambda _: teacher((6, 8, 8, 8, 8), (2, 2, 4, 4, 1)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def teacher(widths: tuple[int, ...], convolutions: tuple[int, ...]) -> VGG:
    return lively(Configuration("teacher", widths, convolutions), seed=1)


def run(module: object, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["script", *words])
    module.main()  # type: ignore[attr-defined]


def train(monkeypatch: pytest.MonkeyPatch, trunk: str, out: str, steps: int, *more: str) -> list[dict[str, float]]:
    """What its log says is left to learn, report by report."""
    common = ["--photos", "photos", "--art", "art", "--teachers", "teachers", "--batch", "2", "--crop", "64"]
    words = [*common, "--paint", "20", "--report", "10", "--lr", "0.3", "--widths", *WIDTHS[trunk], *more]
    run(distill, monkeypatch, trunk, "--out", out, "--steps", str(steps), *words)
    return [json.loads(line)["held_out"] for line in (Path(out) / "log.jsonl").read_text().splitlines()]


def test_two_trunks_are_trained_and_exported(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = train(monkeypatch, "shallow", "first", 20)
    gone_on = train(monkeypatch, "shallow", "first", 40)
    assert gone_on[:2] == begun
    assert len(gone_on) == 4
    assert gone_on[-1]["relu3_1"] < 0.9 * begun[0]["relu3_1"]

    train(monkeypatch, "shallow", "more", 10, "--grow-from", "first", "--still", "--keep", "relu1_2")
    before, after = (distill.revived("shallow", Path(name), "cpu")[0].trunk for name in ("first", "more"))
    for layer in after.layers:
        kept = torch.equal(before.convolution(layer).weight, after.convolution(layer).weight)
        assert kept == (layer in {"relu1_1", "relu1_2"}), layer

    deep = train(monkeypatch, "deep", "second", 30, "--first", "first")
    assert deep[-1]["relu4_2"] < deep[0]["relu4_2"]
    for name, more in {"plain": [], "later": ["--first", "more"]}.items():
        run(export, monkeypatch, "second", "--photos", "photos", "--out", f"{name}.safetensors", *more)
    plain, later = (load_encoder(Path(f"{name}.safetensors")) for name in ("plain", "later"))
    x = torch.rand(1, 3, 64, 64)
    for layer, alike in {"relu1_1": True, "relu5_1": True, "relu3_1": False}.items():
        one, other = (encoder(x, [layer])[layer] for encoder in (plain, later))
        assert torch.allclose(one, other, rtol=1e-2, atol=1e-3) == alike, layer
    assert plain.below is not None

    train(monkeypatch, "shallow", "other", 10, "--seed", "7")
    with pytest.raises(SystemExit, match="does not begin as the trunk"):
        run(export, monkeypatch, "second", "--photos", "photos", "--out", "no.safetensors", "--first", "other")
    assert not Path("no.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shallow", "--first", "first"), "--first is needed by the deep trunk"),
        (("deep",), "--first is needed by the deep trunk"),
        (("shallow", "--still"), "goes on from"),
        (("shallow", "--keep", "relu1_1", "--grow-from", "first"), "--keep needs --still"),
    ],
)
def test_options_that_do_not_fit(
    studio: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    trunk, *more = words
    with pytest.raises(SystemExit):
        train(monkeypatch, trunk, "out", 1, *more)
    assert said in capsys.readouterr().err


def test_a_layer_to_keep_that_there_is_not(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="no layer relu9_1; there are relu1_1, relu1_2"):
        train(monkeypatch, "shallow", "out", 1, "--still", "--grow-from", "first", "--keep", "relu9_1")

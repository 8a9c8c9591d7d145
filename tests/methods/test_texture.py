"""Texture synthesis: any size, the exemplar's statistics, seamless where wanted, errors in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import impasto as package
from impasto.errors import UsageError
from impasto.machine import Machine
from impasto.methods.texture import TextureSettings, texture
from impasto.methods.work import Work
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize
from studio import Command, paint

CPU = Machine(torch.device("cpu"), bfloat16=False)
Begin = Callable[..., Work]


def exemplar(seed: int = 0, height: int = 64, width: int = 64, **fields: Any) -> Picture:
    """Small soft spots."""
    coarse = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return Picture(resize(coarse, height, width), name="spots.png", **fields)


@pytest.fixture
def work(lively_path: Path) -> Begin:
    def begin(*textures: Picture, **values: Any) -> Work:
        fast = {"encoder": str(lively_path), "width": 96, "height": 64, "coarsest": 48, "steps": 20}
        fast |= {"style_layers": "relu1_1,relu2_1,relu3_1", "tolerance": 0.0}
        return texture(textures or (exemplar(),), TextureSettings.of(**fast | values), CPU)

    return begin


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_the_statistics_become_the_exemplar_s(work: Begin, style_loss: str) -> None:
    synthesis = work(style_loss=style_loss).synthesis
    picture = synthesis.run()
    assert picture.shape == (1, 3, 64, 96)
    assert synthesis.history[-1].losses["style"] < 0.05 * synthesis.history[0].losses["style"]
    assert picture.std() == pytest.approx(float(exemplar().pixels.std()), rel=0.25)


@pytest.mark.parametrize("size", [(130, 70), (48, 48), (64, 161)])
def test_any_size_and_shape(work: Begin, size: tuple[int, int]) -> None:
    width, height = size
    assert work(width=width, height=height, steps=1).synthesis.run().shape == (1, 3, height, width)


def roughness(picture: Tensor, axis: int) -> Tensor:
    """Mean difference between each row (column) and the next, around the corner too."""
    change = (picture - picture.roll(-1, axis)).abs()
    return change.mean((0, 1, 5 - axis))


@pytest.mark.parametrize(("tile", "axes"), [("none", ()), ("x", (3,)), ("y", (2,)), ("both", (2, 3))])
def test_seams_are_like_the_inside(work: Begin, tile: str, axes: tuple[int, ...]) -> None:
    """Rolled by half, the former border is inside: there its differences must be those of the rest."""
    picture = work(tile=tile, steps=40).synthesis.run()
    for axis in (2, 3):
        change = roughness(picture, axis)
        seam, inside = change[-1], change[:-1]
        excess = float((seam - inside.mean()) / inside.std())
        assert (excess < 2.5) == (axis in axes), excess


def test_a_seamless_texture_in_tiles_is_the_same(work: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = work(tile="both", steps=5).synthesis.run()
    monkeypatch.setattr("impasto.methods.reading.core_side", lambda *_: 32)
    in_tiles = work(tile="both", steps=5).synthesis
    assert in_tiles.objective_at(in_tiles.schedule[-1]).tile == 32
    assert float((in_tiles.run() - whole).abs().mean()) < 1e-3  # rounding, grown by Adam


def test_a_tile_s_gradient_does_not_know_where_it_is_cut(work: Begin) -> None:
    begun = work(tile="both", width=96, height=64)
    objective = begun.synthesis.objective_at(begun.synthesis.schedule[-1])
    gradients = []
    for shift in (0, 16):
        pixels = exemplar(3, 64, 96).pixels.roll((shift, 2 * shift), (2, 3)).requires_grad_()
        objective.add_gradient(pixels)
        assert pixels.grad is not None
        gradients.append(pixels.grad.roll((-shift, -2 * shift), (2, 3)))
    assert torch.allclose(*gradients, atol=1e-3 * float(gradients[0].abs().max()))


def test_features_keep_their_size_at_every_size(work: Begin) -> None:
    """The exemplar is read at its own size, not at the result's area."""
    small, large = (work(width=side, height=side, coarsest=side) for side in (64, 128))
    targets = [
        one.synthesis.objective_at(one.synthesis.scale).terms[0].loss._target["relu2_1"].second_moment  # type: ignore[attr-defined]
        for one in (small, large)
    ]
    assert torch.allclose(*targets)


def test_a_scale_of_2_has_larger_spots(work: Begin) -> None:
    fine, coarse = (work(scale=scale, width=128, height=128, steps=40).synthesis.run() for scale in (1.0, 2.0))
    change = [float(roughness(one, 3).mean() / one.std()) for one in (fine, coarse)]
    assert change[1] < 0.85 * change[0]


def test_pixel_art_has_larger_squares(work: Begin) -> None:
    art = exemplar(height=32, width=32)
    squares = Picture(art.pixels.repeat_interleave(2, 2).repeat_interleave(2, 3))
    losses = []
    for pixel_art in (True, False):
        begun = work(art, scale=2.0, coarsest=96, pixel_art=pixel_art, style_loss="gram")
        own = work(squares, coarsest=96, style_loss="gram")
        seen, wanted = (one.synthesis.objective_at(one.synthesis.schedule[-1]) for one in (begun, own))
        difference = seen(squares.pixels)[1]["style"] - wanted(squares.pixels)[1]["style"]
        losses.append(abs(float(difference)))
    assert losses[0] == 0 < losses[1]


def test_the_deepest_exemplar_decides_the_depth(work: Begin) -> None:
    for bits in (8, 16):
        begun = work(exemplar(), exemplar(1, bits=bits), steps=1)
        assert begun.finish(begun.synthesis.run()).bits == bits


def test_several_exemplars_are_mixed(work: Begin) -> None:
    dark, light = (Picture(exemplar().pixels * 0.3 + offset) for offset in (0.0, 0.7))
    mean = [float(work(dark, light, style_weights=w).synthesis.run().mean()) for w in ("1,0", "1,1", "0,1")]
    assert mean[0] < mean[1] - 0.1 < mean[2] - 0.2


def test_hidden_parts_of_an_exemplar_have_no_influence(work: Begin) -> None:
    alpha = torch.zeros(1, 1, 64, 64)
    alpha[..., :32] = 1
    other = exemplar().pixels.clone()
    other[..., 33:] = 0  # what a resampling filter sees of the border is left
    first, second = (
        work(Picture(pixels, alpha), scale=1.0, coarsest=96, steps=3).synthesis.run()
        for pixels in (exemplar().pixels, other)
    )
    assert (first - second).abs().mean() < 0.02


def test_the_seed_decides(work: Begin) -> None:
    first, again, other = (work(seed=seed, steps=2).synthesis.run() for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.02)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"tile": "x", "width": 90}, r"width 90: a seamless side must be a multiple of 4, .*: use 88 or 92"),
        ({"tile": "both", "height": 63}, r"height 63: a seamless side must be a multiple of 4, .*: use 60 or 64"),
        ({"style_weights": "1,2"}, r"style_weights: 2 weights for 1 style"),
        ({"scale": 0.1}, r"spots\.png: 64×64 at scale 0\.1 is too small for the style's layers, which need 16 pixels"),
        ({"style_layers": "relu9_1"}, "relu9_1: no such layer"),
        ({"tile": "z"}, r"tile: no such choice as 'z'; choose from none, x, y, both"),
        ({"width": 8}, "width: 8 is not allowed, it should be at least 16"),
        ({"size": 8}, "size: no such setting"),
    ],
)
def test_one_sentence_for_what_cannot_be(work: Begin, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        work(**values)


def test_on_the_command_line(studio: Path, impasto: Command) -> None:
    paint(studio / "wall.jpg", 80, 64, seed=4)
    words = ("--encoder", "tiny.safetensors", "--width", "64", "--height", "48", "--coarsest", "48", "--steps", "2")
    shown = impasto("texture", "wall.jpg", "starry.jpg", *words, "--style-layers", "relu1_1,relu2_1", "--device", "cpu")
    assert (shown.code, shown.out) == (0, "wall-starry.png\n")
    assert "again: impasto rerun wall-starry.png\n" in shown.err
    assert impasto("rerun", "wall-starry.png", "--set", "tile=x", "--device", "cpu").code == 0
    assert impasto("texture").last_line.startswith("texture takes one or more texture pictures")


@pytest.mark.usefixtures("studio")
def test_in_python() -> None:
    told = {"encoder": "tiny.safetensors", "coarsest": 48, "steps": 2, "style_layers": "relu1_1,relu2_1"}
    result = package.texture("starry.jpg", width=64, height=48, device="cpu", **told)
    assert result.picture.size == (64, 48)
    assert result.record.method == "texture"

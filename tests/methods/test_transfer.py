"""Transfer: the method on pictures in memory, with an encoder of a few channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.errors import UsageError
from impasto.losses import Features, GramLoss
from impasto.machine import Machine
from impasto.methods import reading
from impasto.methods.style import STYLE
from impasto.methods.transfer import TransferSettings, transfer
from impasto.methods.work import Work
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize
from impasto.synthesis import Objective

CPU = Machine(torch.device("cpu"), bfloat16=False)
SHALLOW = {"style_layers": "relu1_1,relu2_1", "content_layers": "relu2_2"}
REACH = 16
"""Pixels beyond which the shallow layers see nothing."""


def painted(height: int, width: int, seed: int = 0, **fields: Any) -> Picture:
    """Soft colours."""
    coarse = torch.rand(1, 3, max(1, height // 6), max(1, width // 6), generator=torch.Generator().manual_seed(seed))
    return Picture(resize(coarse, height, width), **fields)


def half_hidden(height: int = 64, width: int = 96) -> Tensor:
    """Alpha: the left half is visible."""
    alpha = torch.zeros(1, 1, height, width)
    alpha[..., : width // 2] = 1
    return alpha


def repainted(picture: Picture, left: int) -> Picture:
    """The same picture with noise from column `left` on."""
    pixels = picture.pixels.clone()
    pixels[..., left:] = torch.rand(pixels[..., left:].shape, generator=torch.Generator().manual_seed(9))
    return Picture(pixels, picture.alpha)


@pytest.fixture
def work(lively_path: Path) -> Callable[..., Work]:
    """`transfer` with the tiny encoder, one scale of 64 pixels and a few steps, unless told otherwise."""

    def begin(
        content: Picture, *styles: Picture, start_picture: Picture | None = None, machine: Machine = CPU, **values: Any
    ) -> Work:
        fast = {"encoder": str(lively_path), "size": 64, "coarsest": 64, "steps": 4, "tolerance": 0.0}
        pictures = {} if start_picture is None else {"start": start_picture}
        return transfer(content, styles, TransferSettings.of(**fast | values), machine, pictures)

    return begin


@pytest.fixture
def paint(work: Callable[..., Work]) -> Callable[..., Picture]:
    """The finished picture."""

    def run(*args: Any, **values: Any) -> Picture:
        begun = work(*args, **values)
        return begun.finish(begun.synthesis.run())

    return run


Paint = Callable[..., Picture]
Begin = Callable[..., Work]


def test_a_transfer_brings_the_style_nearer_and_keeps_the_content_near(work: Begin) -> None:
    synthesis = work(painted(48, 64), painted(64, 64, seed=1), steps=60, smoothness=0).synthesis
    synthesis.run()
    first, last = synthesis.history[0].losses, synthesis.history[-1].losses
    assert last["style"] < 0.5 * first["style"]
    assert last["content"] < 0.5


def test_the_result_is_float32_and_in_range(paint: Paint) -> None:
    result = paint(painted(48, 64), painted(64, 64, seed=1), style_strength=50, learning_rate=0.3)
    assert result.pixels.dtype == torch.float32
    assert result.pixels.isfinite().all()
    assert 0 <= result.pixels.min() <= result.pixels.max() <= 1


def test_the_same_call_gives_the_same_picture(paint: Paint) -> None:
    pictures = [paint(painted(48, 64), painted(64, 64, seed=1), size=128, start="noise").pixels for _ in range(2)]
    assert torch.equal(*pictures)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_a_picture_in_its_own_style_stays_as_it_is(work: Begin, style_loss: str) -> None:
    content = painted(48, 64)
    synthesis = work(content, content, smoothness=0, style_loss=style_loss, steps=6, learning_rate=1e-3).synthesis
    picture = synthesis.run()
    assert all(moment.losses["content"] + moment.losses["style"] < 1e-3 for moment in synthesis.history)
    assert (picture - content.pixels).abs().max() < 0.02


def test_a_picture_in_its_own_gram_style_does_not_move_at_all(work: Begin) -> None:
    content = painted(48, 64)
    synthesis = work(content, content, smoothness=0, style_loss="gram").synthesis
    assert torch.equal(synthesis.run(), content.pixels)
    assert synthesis.history[-1].total == 0


def test_relative_losses_are_the_same_at_every_size(work: Begin) -> None:
    content, style = painted(64, 64), painted(64, 64, seed=1)
    losses = []
    for size in (128, 256):
        synthesis = work(content, style, size=size, coarsest=size, start="gray", **SHALLOW).synthesis
        losses.append(next(iter(synthesis)).losses)
    assert losses[0]["style"] == pytest.approx(losses[1]["style"], rel=0.2)
    assert losses[0]["content"] == pytest.approx(losses[1]["content"], rel=0.2)


def test_an_unknown_layer_is_named_with_a_near_match(work: Begin) -> None:
    with pytest.raises(UsageError, match=r"relu4_22: no such layer; lively has relu1_1 … relu5_1 \(did you mean"):
        work(painted(64, 64), painted(64, 64), content_layers="relu4_22")
    with pytest.raises(UsageError, match="relu6_1: no such layer"):
        work(painted(64, 64), painted(64, 64), style_layers="relu6_1")


@pytest.mark.parametrize(("height", "width"), [(20, 64), (64, 20), (7, 100), (33, 500)])
def test_a_content_too_narrow_names_a_size_that_works(work: Begin, height: int, width: int) -> None:
    with pytest.raises(UsageError, match=r"boat: size 32 makes it \d+×\d+, .* 32 pixels") as error:
        work(painted(height, width, name="boat"), painted(64, 64), size=32)
    size = int(str(error.value).partition("--size ")[2].split()[0])
    final = work(painted(height, width), painted(64, 64), size=size).synthesis.schedule[-1]
    assert max(final.height, final.width) == size
    with pytest.raises(UsageError):
        work(painted(height, width), painted(64, 64), size=int(0.95 * size))


def test_shallower_layers_do_with_less(work: Begin) -> None:
    assert work(painted(20, 64), painted(64, 64), **SHALLOW).synthesis.schedule


@pytest.mark.parametrize("size", [512, "full"])
def test_a_content_of_one_row_is_one_sentence_with_advice_that_can_be_followed(work: Begin, size: Any) -> None:
    with pytest.raises(UsageError, match="crop it to a fuller shape") as error:
        work(painted(1, 20_000), painted(64, 64), size=size)
    assert "\n" not in str(error.value)
    assert "--size" not in str(error.value)


@pytest.mark.parametrize(("height", "width"), [(1, 20_000), (20_000, 1)])
def test_a_style_of_one_row_is_one_sentence(paint: Paint, height: int, width: int) -> None:
    with pytest.raises(UsageError, match=r"strip: \d+×\d+ is too narrow for the style's layers: crop it") as error:
        paint(painted(64, 64), painted(height, width, name="strip"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_single_pixels_are_pictures_too(paint: Paint, style_loss: str) -> None:
    pixel = Picture(torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1))
    for content, style in ((pixel, painted(64, 64)), (painted(64, 64), pixel), (pixel, pixel)):
        assert paint(content, style, style_loss=style_loss).pixels.isfinite().all()


def test_a_single_pixel_in_its_own_size_is_one_sentence(work: Begin) -> None:
    with pytest.raises(UsageError, match="use --size 32 or larger"):
        work(painted(1, 1), painted(64, 64), size="full")


def test_a_narrow_style_is_enlarged_to_what_the_layers_need(paint: Paint) -> None:
    assert paint(painted(64, 64), painted(10, 60, seed=1)).pixels.isfinite().all()


def test_noise_is_the_same_for_a_seed_and_another_for_another(work: Begin) -> None:
    starts = [work(painted(48, 64), painted(64, 64), start="noise", seed=s).synthesis.picture for s in (5, 5, 6)]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_noise_leaves_the_random_state_alone(paint: Paint) -> None:
    before = torch.get_rng_state()
    paint(painted(48, 64), painted(64, 64), start="noise", steps=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_starts_are_what_they_are_called(work: Begin) -> None:
    content, style, other = painted(48, 64), painted(64, 64, seed=1), painted(30, 40, seed=2)
    expected = {
        "content": content.pixels,
        "style": resize(style.pixels, 48, 64),
        "other.png": resize(other.pixels, 48, 64),
    }
    for name, pixels in expected.items():
        assert torch.equal(work(content, style, start=name, start_picture=other).synthesis.picture, pixels)


def test_a_gray_start_is_nearly_even() -> None:
    """Quite even, all positions would have the same gradient, and the picture would become a lattice."""
    content = painted(48, 64)
    gray = transfer(content, [content], TransferSettings.of(size=64, start="gray"), CPU).synthesis.picture
    assert 0 < gray.std(dim=(-2, -1)).min() <= gray.std(dim=(-2, -1)).max() < 0.02
    assert abs(float(gray.mean()) - 0.5) < 0.01


def test_a_start_without_its_picture_is_one_sentence(work: Begin) -> None:
    with pytest.raises(UsageError, match=r"start: 'other\.png' is neither content, noise, style, gray nor a picture"):
        work(painted(48, 64), painted(64, 64), start="other.png")


def test_aspect_is_exactly_that_of_the_content(paint: Paint) -> None:
    result = paint(painted(48, 64), painted(90, 30, seed=1), size=80)
    assert (result.height, result.width) == (60, 80)


def test_full_is_the_size_of_the_content(work: Begin) -> None:
    final = work(painted(70, 51), painted(64, 64), size="full").synthesis.schedule[-1]
    assert (final.height, final.width) == (70, 51)


def test_coarser_scales_come_first(work: Begin) -> None:
    schedule = work(painted(48, 64), painted(64, 64), size=256).synthesis.schedule
    assert [(scale.height, scale.width) for scale in schedule] == [(48, 64), (96, 128), (192, 256)]
    schedule = work(painted(48, 64), painted(64, 64), size=256, scale_ratio=4).synthesis.schedule
    assert [scale.width for scale in schedule] == [64, 256]


def test_no_scale_is_too_narrow_for_the_layers(work: Begin) -> None:
    schedule = work(painted(48, 64), painted(64, 64), size=256, coarsest=16).synthesis.schedule
    assert [scale.height for scale in schedule] == [48, 96, 192]
    schedule = work(painted(48, 64), painted(64, 64), size=256, coarsest=16, **SHALLOW).synthesis.schedule
    assert [scale.height for scale in schedule] == [12, 24, 48, 96, 192]


def test_alpha_comes_back_unchanged_at_equal_size(paint: Paint) -> None:
    alpha = torch.rand(1, 1, 48, 64, generator=torch.Generator().manual_seed(3))
    result = paint(painted(48, 64, alpha=alpha, bits=16), painted(64, 64, seed=1))
    assert result.alpha is not None
    assert torch.equal(result.alpha, alpha)
    assert result.bits == 16


def test_alpha_follows_the_size(paint: Paint) -> None:
    result = paint(painted(64, 96, alpha=half_hidden()), painted(64, 64, seed=1), size=48)
    assert result.alpha is not None
    assert torch.equal(result.alpha, half_hidden(32, 48))


def test_an_opaque_content_gives_an_opaque_result(paint: Paint) -> None:
    assert paint(painted(48, 64), painted(64, 64, seed=1, alpha=half_hidden(64, 64))).alpha is None


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_hidden_pixels_of_the_content_have_no_influence(paint: Paint, style_loss: str) -> None:
    content = painted(64, 96, alpha=half_hidden())
    options = {"size": "full", "start": "gray", "style_loss": style_loss} | SHALLOW
    results = [paint(c, painted(64, 64, seed=1), **options) for c in (content, repainted(content, 48 + REACH))]
    assert torch.equal(results[0].pixels, results[1].pixels)
    visible = paint(repainted(content, 30), painted(64, 64, seed=1), **options)
    assert not torch.equal(results[0].pixels, visible.pixels)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_hidden_pixels_of_the_style_have_no_influence(paint: Paint, style_loss: str) -> None:
    style = painted(64, 96, seed=1, alpha=half_hidden())
    options = {"size": "full", "style_loss": style_loss} | SHALLOW
    results = [paint(painted(64, 96), s, **options) for s in (style, repainted(style, 48 + REACH))]
    assert torch.equal(results[0].pixels, results[1].pixels)
    visible = paint(painted(64, 96), repainted(style, 30), **options)
    assert not torch.equal(results[0].pixels, visible.pixels)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_hidden_pixels_of_the_result_feel_neither_content_nor_style(work: Begin, style_loss: str) -> None:
    begun = work(
        painted(64, 96, alpha=half_hidden()),
        painted(64, 64, seed=1),
        **{"size": "full", "style_loss": style_loss, "smoothness": 0} | SHALLOW,
    )
    picture = painted(64, 96, seed=2).pixels.requires_grad_()
    (gradient,) = torch.autograd.grad(begun.synthesis.objective_at(begun.synthesis.schedule[-1])(picture)[0], picture)
    assert gradient[..., 48 + REACH :].abs().max() == 0
    assert gradient[..., :48].abs().max() > 0


def test_style_scale_1_is_equal_area_and_2_is_twice_the_sides(work: Begin) -> None:
    """Where the style is compared in its own size, it has its own style, to the last bit."""
    for scale, height, width in ((1.0, 32, 128), (2.0, 128, 128), (0.5, 32, 32)):
        style = painted(height, width, seed=1)
        options = {"content_strength": 0, "style_loss": "gram"}
        begun = work(painted(64, 64), style, style_scale=scale, **options)
        objective = begun.synthesis.objective_at(begun.synthesis.scale)
        assert objective(style.pixels)[1]["style"] == 0
        other = work(painted(64, 64), style, style_scale=1.5 * scale, **options)
        assert other.synthesis.objective_at(begun.synthesis.scale)(style.pixels)[1]["style"] > 1e-6


def test_pixel_art_is_enlarged_as_squares() -> None:
    art = painted(32, 32, seed=1)
    squares = art.pixels.repeat_interleave(2, 2).repeat_interleave(2, 3)
    known: dict[Any, Any] = {}
    losses = []
    for pixel_art in (False, True):  # of the same style: what is known of it is not mixed up
        settings = {"size": 64, "coarsest": 64, "content_strength": 0, "style_loss": "gram", "pixel_art": pixel_art}
        begun = transfer(painted(64, 64), [art], TransferSettings.of(**settings), CPU, known=known)
        losses.append(float(begun.synthesis.objective_at(begun.synthesis.scale)(squares)[1]["style"]))
    assert losses[0] > 1e-4
    assert losses[1] == 0


def test_average_pooling_gives_another_picture(paint: Paint) -> None:
    pictures = [paint(painted(48, 64), painted(64, 64, seed=1), pooling=p).pixels for p in ("max", "average")]
    assert not torch.allclose(*pictures, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("style_strength", 30), ("content_strength", 30), ("smoothness", 30), ("style_loss", "gram")],
)
def test_each_choice_of_losses_acts(paint: Paint, name: str, value: Any) -> None:
    pictures = [paint(painted(48, 64), painted(64, 64, seed=1), **values).pixels for values in ({}, {name: value})]
    assert not torch.allclose(*pictures, atol=1e-3)


def test_a_strength_pulls_its_own_loss_down(work: Begin) -> None:
    for term in ("content", "style"):
        ends = []
        for strength in (0.1, 10.0):
            options = {f"{term}_strength": strength, "steps": 30, "average": 0.5, "smoothness": 0}
            begun = work(painted(48, 64), painted(64, 64, seed=1), **options, start="gray", style_loss="gram")
            synthesis = begun.synthesis
            synthesis.run()
            ends.append(synthesis.history[-1].losses[term])
        assert ends[1] < ends[0]


def test_lbfgs_paints_too(work: Begin) -> None:
    synthesis = work(painted(48, 64), painted(64, 64, seed=1), optimiser="lbfgs", steps=10, size=128).synthesis
    assert synthesis.run().isfinite().all()
    for size in (64, 128):
        totals = [moment.total for moment in synthesis.history if moment.size == size]
        assert totals[-1] < 0.8 * totals[0]


def test_pictures_that_go_in_are_not_changed(paint: Paint) -> None:
    content, style = painted(48, 64, alpha=half_hidden(48, 64)), painted(64, 64, seed=1)
    before = [content.pixels.clone(), content.alpha.clone(), style.pixels.clone()]  # type: ignore[union-attr]
    paint(content, style)
    assert all(torch.equal(a, b) for a, b in zip(before, [content.pixels, content.alpha, style.pixels], strict=True))


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_statistics_are_float32_even_from_bfloat16(
    paint: Paint, style_loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[torch.dtype] = []

    def encode(*args: Any, **options: Any) -> Features:
        features = original(*args, **options)
        told.extend(value.dtype for value in features.values())
        return features

    original = reading.encode_core
    monkeypatch.setattr(reading, "encode_core", encode)
    machines = (CPU, Machine(torch.device("cpu"), bfloat16=True))
    fine, coarse = (
        paint(painted(48, 64), painted(64, 64, seed=1), machine=machine, style_loss=style_loss) for machine in machines
    )
    assert set(told) == {torch.float32, torch.bfloat16}
    assert coarse.pixels.dtype == torch.float32
    assert (fine.pixels - coarse.pixels).abs().mean() < 0.03


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")]
        ),
        pytest.param(
            "mps",
            marks=[pytest.mark.mps, pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")],
        ),
    ],
)
@pytest.mark.parametrize("style_loss", ["gram", "wasserstein", "patches"])
def test_another_device_gives_about_the_same_picture(work: Begin, name: str, style_loss: str) -> None:
    results = []
    for machine in (CPU, Machine.choose(name, "float32")):
        content = painted(48, 64, alpha=half_hidden(48, 64))
        begun = work(content, painted(64, 64, seed=1), machine=machine, style_loss=style_loss, size=128, start="noise")
        for step in begun.synthesis:
            tensors, _ = begun.synthesis.state()
            homes = {value.device.type for key, value in tensors.items() if key != "moments.step"}
            assert homes == {step.preview().device.type} == {machine.device.type}
        results.append(begun.finish(begun.synthesis.picture).pixels)
    assert (results[0] - results[1]).abs().mean() < 0.01


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_bfloat16_on_cuda_gives_about_the_same_picture(paint: Paint) -> None:
    machines = (Machine.choose("cuda", "float32"), Machine.choose("cuda", "bfloat16"))
    fine, coarse = (paint(painted(48, 64), painted(64, 64, seed=1), machine=machine) for machine in machines)
    assert (fine.pixels - coarse.pixels).abs().mean() < 0.03


# Tiles

TILED = Machine(torch.device("cpu"), bfloat16=False, memory=1)


@pytest.fixture
def in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with any budget of its own works in tiles with cores of 16 pixels."""
    monkeypatch.setattr(reading, "core_side", lambda *sizes: 16 if "--memory" in sizes[-1].remedy else None)


@pytest.mark.usefixtures("in_tiles")
@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_a_picture_made_in_tiles_is_the_same(work: Begin, style_loss: str) -> None:
    """Within rounding, which Adam enlarges: what a step does depends on the sign of tiny gradients."""
    inputs = soft(0, 150, 200), soft(1, 120, 90, alpha=half_hidden(120, 90))
    settings = {"size": 200, "coarsest": 100, "style_loss": style_loss, "steps": 6}
    whole, tiled = (work(*inputs, machine=machine, **settings).synthesis for machine in (CPU, TILED))
    assert (tiled.run() - whole.run()).abs().mean() < 0.01
    for step, (ours, theirs) in enumerate(zip(tiled.history, whole.history, strict=True)):
        assert ours.total == pytest.approx(theirs.total, rel=0.01 if step else 3e-4)
    assert tiled.history[-1].total < 0.5 * tiled.history[0].total


@pytest.mark.usefixtures("in_tiles")
def test_targets_made_in_tiles_are_the_same(work: Begin) -> None:
    inputs = soft(0, 150, 200, alpha=half_hidden(150, 200)), soft(1, 150, 200, alpha=half_hidden(150, 200)), soft(2)
    at = soft(5, 150, 200).pixels
    whole, tiled = (objective_of(work(*inputs, size=200, coarsest=200, machine=one)) for one in (CPU, TILED))
    assert (whole.tile, tiled.tile) == (None, 16)
    for name, loss in whole(at)[1].items():
        assert float(tiled(at)[1][name]) == pytest.approx(float(loss), rel=1e-4)


# Several styles


def soft(seed: int, height: int = 64, width: int = 96, **fields: Any) -> Picture:
    return painted(height, width, seed, **fields)


def style_target(begun: Work, layer: str = "relu2_1") -> Tensor:
    loss = next(term.loss for term in objective_of(begun).terms if term.name == "style")
    assert isinstance(loss, GramLoss)
    return loss._target[layer]


def objective_of(begun: Work) -> Objective:
    return begun.synthesis.objective_at(begun.synthesis.scale)


def style_loss_of(begun: Work, picture: Tensor) -> float:
    return float(objective_of(begun)(picture)[1]["style"])


def test_the_target_of_two_styles_is_the_mean_of_theirs(work: Begin) -> None:
    one, two = (style_target(work(soft(0), soft(seed), style_loss="gram")) for seed in (1, 2))
    equal = work(soft(0), soft(1), soft(2), style_loss="gram")
    torch.testing.assert_close(style_target(equal), (one + two) / 2)
    weighted = work(soft(0), soft(1), soft(2), style_loss="gram", style_weights=(0.3, 0.9))
    torch.testing.assert_close(style_target(weighted), 0.25 * one + 0.75 * two)


def test_losses_of_two_styles_are_averaged(work: Begin) -> None:
    at = soft(5, 43, 64).pixels
    one, two = (style_loss_of(work(soft(0), soft(seed)), at) for seed in (1, 2))
    mixed = style_loss_of(work(soft(0), soft(1), soft(2), mix="losses", style_weights=(1, 3)), at)
    assert mixed == pytest.approx(0.25 * one + 0.75 * two, rel=1e-5)


@pytest.mark.parametrize("mix", ["targets", "losses"])
@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_the_same_style_several_times_is_as_strong_as_once(work: Begin, mix: str, style_loss: str) -> None:
    """Elsewhere k styles have the k-th part of the strength."""
    at = soft(5, 43, 64).pixels
    once = style_loss_of(work(soft(0), soft(1), style_loss=style_loss), at)
    thrice = work(soft(0), *[soft(1)] * 3, style_loss=style_loss, mix=mix)
    assert style_loss_of(thrice, at) == pytest.approx(once, rel=1e-3)
    (strength,) = (term.strength for term in objective_of(thrice).terms if term.name == "style")
    assert strength == STYLE[style_loss]


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3)])
def test_a_wrong_number_of_weights_names_both_counts(work: Begin, weights: tuple[float, ...]) -> None:
    """Elsewhere one weight given for several styles drops styles without a word."""
    noun = "1 weight" if len(weights) == 1 else "3 weights"
    with pytest.raises(UsageError, match=f"^style_weights: {noun} for 2 styles: give one for each$"):
        work(soft(0), soft(1), soft(2), style_weights=weights)


def test_a_style_of_weight_0_has_no_influence(paint: Paint) -> None:
    with_it = paint(soft(0), soft(1), soft(2), style_weights=(1, 0))
    assert torch.equal(with_it.pixels, paint(soft(0), soft(1)).pixels)


def test_styles_may_differ_in_size_and_have_holes(paint: Paint) -> None:
    painted = paint(soft(0), soft(1, 90, 40), soft(2, 64, 96, alpha=half_hidden()))
    assert painted.pixels.isfinite().all()


def test_more_styles_are_one_pass_of_the_encoder(work: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = work(soft(0), soft(1), soft(2), mix="losses")
    objective, passes = objective_of(begun), []

    def encoder(picture: Tensor, layers: list[str]) -> dict[str, Tensor]:
        passes.append(layers)
        return begun.encoder(picture, layers)

    monkeypatch.setattr(objective, "encoder", encoder)
    objective(soft(5, 43, 64).pixels)
    assert len(passes) == 1

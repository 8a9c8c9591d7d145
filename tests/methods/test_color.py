"""Colours, grain and photorealism of a transfer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from impasto.errors import OutOfMemoryError, UsageError
from impasto.losses import MattingLoss
from impasto.machine import BYTES_OF_LIBRARIES, Machine
from impasto.memory import used_memory
from impasto.methods.transfer import TransferSettings, transfer
from impasto.methods.work import Work
from impasto.pictures.color import Space, luminance, to_space
from impasto.pictures.color_matching import Matching, color_distance
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize

CPU = Machine(torch.device("cpu"), bfloat16=False)
Begin = Callable[..., Work]


def soft(seed: int, colour: tuple[float, float, float], height: int = 64, width: int = 96) -> Picture:
    """Shapes around a colour."""
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    return Picture(resize(0.5 * coarse + 0.5 * torch.tensor(colour).view(1, 3, 1, 1), height, width))


GREENISH, REDDISH = soft(0, (0.2, 0.7, 0.4)), soft(1, (0.9, 0.2, 0.1))


@pytest.fixture
def work(lively_path: Path) -> Begin:
    def begin(**values: Any) -> Work:
        fast = {"encoder": str(lively_path), "size": 96, "coarsest": 96, "steps": 20, "tolerance": 0.0}
        fast |= {"style_layers": "relu1_1,relu2_1", "content_layers": "relu2_2"}
        fast |= {} if values.get("color_only") else {"style_strength": 4.0}
        return transfer(GREENISH, [REDDISH], TransferSettings.of(**fast | values), CPU)

    return begin


def result(work: Work) -> Tensor:
    return work.finish(work.synthesis.run()).pixels


def hue_error(a: Tensor, b: Tensor, space: Space) -> float:
    """Mean distance of chroma."""
    return float((to_space(a, space)[:, 1:] - to_space(b, space)[:, 1:]).norm(dim=1).mean())


@pytest.mark.parametrize("mode", ["luminance", "after", "match"])
def test_every_way_of_keeping_colours_keeps_them(work: Begin, mode: str) -> None:
    kept, lost = result(work(keep_color=mode)), result(work())
    before = color_distance(lost, GREENISH.pixels)
    assert before > 0.1
    assert color_distance(kept, GREENISH.pixels) < before / 2
    assert not torch.allclose(kept, GREENISH.pixels, atol=0.02)  # painted all the same


@pytest.mark.parametrize("space", get_args(Space))
def test_the_chroma_of_the_content_comes_back_in_every_space(work: Begin, space: Space) -> None:
    kept, lost = result(work(keep_color="after", color_space=space)), result(work())
    assert hue_error(kept, GREENISH.pixels, space) < 0.1 * hue_error(lost, GREENISH.pixels, space)


def test_on_luminance_the_work_sees_no_colours(work: Begin) -> None:
    begun = work(keep_color="luminance")
    start = begun.synthesis.picture
    assert torch.allclose(start, luminance(GREENISH.pixels), atol=1e-5)
    kept = begun.finish(begun.synthesis.run()).pixels
    assert hue_error(kept, GREENISH.pixels, "yuv") < 0.01
    assert (luminance(kept) - luminance(GREENISH.pixels)).abs().mean() > 0.01


def test_on_luminance_a_start_has_no_colours_either(lively_path: Path) -> None:
    settings = TransferSettings.of(keep_color="luminance", start="a.png", encoder=str(lively_path), size=96)
    begun = transfer(GREENISH, [REDDISH], settings, CPU, {"start": REDDISH})
    assert begun.synthesis.picture.std(dim=1).max() < 1e-5


def test_strength_0_of_kept_colours_keeps_none(work: Begin) -> None:
    begun = work(keep_color="after", color_strength=0.0)
    pixels = begun.synthesis.run()
    assert torch.allclose(begun.finish(pixels).pixels, pixels, atol=2e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"color_space": "lab"}, "color_space: counts with --keep-color after alone: leave it out"),
        ({"keep_color": "luminance", "color_space": "lab"}, "color_space: counts with --keep-color after alone"),
        ({"keep_color": "after", "color_match": "pca"}, "color_match: counts with --keep-color match and --color-only"),
        ({"color_strength": 0.5}, "color_strength: counts with --keep-color after or match"),
        ({"photoreal_strength": 2}, "photoreal_strength: counts with --photoreal full alone: leave it out"),
        ({"variety": 0.7, "match_every": 1}, "variety, match_every: count with --style-loss patches alone"),
        ({"keep_color": "luminance", "color_strength": 0.5}, "color_strength: counts with --keep-color after or match"),
    ],
)
def test_an_option_without_the_one_it_belongs_to_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TransferSettings.of(**values)
    TransferSettings.of(keep_color="match", color_match="pca", color_strength=0.5)
    TransferSettings.of(keep_color="after", color_space="lab", color_strength=0.5)
    TransferSettings.of(style_loss="patches", variety=0.7, style_variants="turns")


@pytest.mark.parametrize("method", get_args(Matching))
def test_only_the_colours_of_the_style(work: Begin, method: Matching) -> None:
    begun = work(color_only=True, color_match=method)
    recoloured = result(begun)
    assert begun.synthesis.history == []
    assert begun.synthesis.finished
    assert color_distance(recoloured, REDDISH.pixels) < 0.35 * color_distance(GREENISH.pixels, REDDISH.pixels)


def test_colours_alone_ask_nothing_of_the_encoder(work: Begin) -> None:
    settings = TransferSettings.of(color_only=True, size="full")
    narrow, wide = Picture(torch.rand(1, 3, 2, 40)), Picture(torch.zeros(1, 3, 2000, 3000))
    assert transfer(narrow, [REDDISH], settings, CPU).synthesis.run().shape == (1, 3, 2, 40)
    little = replace(CPU, memory=round((used_memory(CPU.device) + BYTES_OF_LIBRARIES + 10**7) / 0.95))
    with pytest.raises(OutOfMemoryError, match=r"size 3000 needs at least .* MB beside .*: use --size"):
        transfer(wide, [REDDISH], settings, little)


def test_half_of_the_colours(work: Begin) -> None:
    none, half, all_of_it = (result(work(color_only=True, color_strength=s)) for s in (0.0, 0.5, 1.0))
    assert torch.allclose(none, GREENISH.pixels, atol=1e-5)
    assert torch.allclose(half, (none + all_of_it) / 2, atol=0.02)


@pytest.mark.parametrize(
    "other", [{"keep_color": "after"}, {"masks": "a.png"}, {"segmentation": "a.png"}, {"photoreal": "fit"}]
)
def test_colours_alone_go_with_nothing_else(other: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="color_only: takes the colours of one style for the whole picture"):
        TransferSettings.of(color_only=True, **other)


def test_colours_alone_have_no_strength_of_painting() -> None:
    with pytest.raises(UsageError, match=r"^style_strength, style_scale: count where something is painted"):
        TransferSettings.of(color_only=True, style_scale=2, style_strength=2)


def test_colours_alone_are_those_of_one_style(lively_path: Path) -> None:
    settings = TransferSettings.of(color_only=True, encoder=str(lively_path))
    with pytest.raises(UsageError, match="color_only: takes the colours of one style, 2 were given"):
        transfer(GREENISH, [REDDISH, REDDISH], settings, CPU)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"keep_color": "lumnance"}, r"keep_color: no such choice as 'lumnance' \(did you mean luminance\?\)"),
        ({"color_space": "hsv"}, "color_space: no such choice as 'hsv'.*; choose from yuv, ycbcr, lab, luv, oklab"),
        ({"color_match": "mkl"}, "color_match: no such choice as 'mkl'"),
        ({"color_strength": 1.5}, "color_strength: 1.5 is not allowed, it should be at most 1"),
        ({"grain": -0.1}, "grain: -0.1 is not allowed, it should be at least 0"),
        ({"photoreal": "yes"}, "photoreal: no such choice as 'yes'.*; choose from off, fit, full"),
    ],
)
def test_wrong_colours_are_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        TransferSettings.of(**values)


def test_alpha_comes_back_from_every_finish(lively_path: Path) -> None:
    alpha = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(3))
    content = Picture(GREENISH.pixels, alpha, bits=16)
    told = {"keep_color": "after", "grain": 1.0, "photoreal": "fit", "size": 96, "coarsest": 96, "steps": 1}
    begun = transfer(content, [REDDISH], TransferSettings.of(**told, encoder=str(lively_path)), CPU)
    finished = begun.finish(begun.synthesis.run())
    assert finished.bits == 16
    assert torch.equal(finished.alpha, alpha)


@pytest.mark.parametrize("photoreal", ["fit", "full"])
def test_edges_stay_those_of_a_photograph(work: Begin, photoreal: str) -> None:
    """What is no locally affine function of the photograph, beside what there is to see, nearly goes."""
    painted, kept = (result(work(photoreal=one)) for one in ("off", photoreal))
    unlike = MattingLoss(GREENISH.pixels)
    before, after = (float(unlike({}, one)) / float(one.var((2, 3)).sum()) for one in (painted, kept))
    assert after < 0.15 * before
    assert color_distance(kept, REDDISH.pixels) < 0.6 * color_distance(GREENISH.pixels, REDDISH.pixels)


def test_full_photorealism_is_a_loss(work: Begin) -> None:
    last = {}
    for strength in (0.0, 1.0):
        begun = work(photoreal="full", photoreal_strength=strength)
        begun.synthesis.run()
        last[strength] = begun.synthesis.history[-1].losses
    assert "photoreal" not in last[0.0]
    judge = work(photoreal="full").synthesis.objective_at(begun.synthesis.scale)
    unbridled = float(judge(work().synthesis.run())[1]["photoreal"])
    assert last[1.0]["photoreal"] < 0.5 * unbridled

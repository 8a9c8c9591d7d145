"""Regions of a transfer: what settings and maps come to, errors in one sentence, and what happens in each region."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.errors import UsageError
from impasto.losses.gathering import BYTES_OF_KERNELS
from impasto.machine import Machine
from impasto.methods import numbered
from impasto.methods.regions import Region, at_scale, understood
from impasto.methods.transfer import TransferSettings, transfer
from impasto.methods.work import Work
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize

CPU = Machine(torch.device("cpu"), bfloat16=False)
GREEN, BLUE, RED = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)


def soft(seed: int, height: int = 64, width: int = 96, name: str = "soft.png") -> Picture:
    coarse = torch.rand(1, 3, max(1, height // 6), max(1, width // 6), generator=torch.Generator().manual_seed(seed))
    return Picture(resize(coarse, height, width), name=name)


def stripes(*colours: tuple[float, float, float], height: int = 64, width: int = 96, name: str = "map.png") -> Picture:
    """Vertical stripes of equal width."""
    columns = torch.tensor(colours).T.repeat_interleave(width // len(colours), 1)
    return Picture(columns[None, :, None].expand(1, 3, height, -1).contiguous(), name=name, path=Path(name))


def left_half(share: float = 0.5, height: int = 64, width: int = 96, name: str = "left.png") -> Picture:
    pixels = torch.zeros(1, 3, height, width)
    pixels[..., : round(width * share)] = 1
    return Picture(pixels, name=name, path=Path(name))


def meant(
    styles: int = 1,
    *,
    masks: Sequence[Picture] | None = None,
    inverted: int | None = None,
    maps: Mapping[str, Picture] | None = None,
    **values: Any,
) -> tuple[Region, ...]:
    """The regions of a content with so many styles."""
    pictures = dict(maps or {})
    if masks is not None:
        pictures |= dict(zip(numbered("mask", len(masks)), masks, strict=True))
        values["masks"] = [f"{'not:' if number == inverted else ''}{one.path}" for number, one in enumerate(masks)]
    if "segmentation" in pictures:
        values["segmentation"] = "map.png"
    if "style_segmentation" in pictures:
        values["style_segmentations"] = [name for name in pictures if name.startswith("style_segmentation")]
    settings = TransferSettings.of(**values)
    return understood(settings, soft(0), [soft(1 + i, name=f"style{i + 1}.png") for i in range(styles)], pictures)


def refused(*arguments: Any, **values: Any) -> str:
    with pytest.raises(UsageError) as error:
        meant(*arguments, **values)
    assert "\n" not in str(error.value)
    return str(error.value)


# What is understood


def test_without_maps_there_are_no_regions() -> None:
    assert meant(2) == ()


def test_a_mask_for_each_style() -> None:
    first, second = meant(2, masks=[left_half(), left_half(0.25, name="edge.png")])
    assert [(one.name, one.styles) for one in (first, second)] == [("left", (0,)), ("edge", (1,))]
    assert float(first.mask.mean()) == 0.5
    assert first.style_masks == (None,)  # a style is never cut by the content's mask


def test_a_mask_turned_round() -> None:
    first, second = meant(2, masks=[left_half(0.25), left_half(0.25)], inverted=1)
    assert second.name == "not left"
    assert torch.equal(first.mask + second.mask, torch.ones_like(first.mask))


def test_the_segments_of_a_map_take_the_parts_of_a_style_that_have_their_colour() -> None:
    maps = {"segmentation": stripes(GREEN, BLUE), "style_segmentation": stripes(BLUE, GREEN, GREEN)}
    regions = {one.name: one for one in meant(1, maps=maps)}
    assert regions["green"].styles == regions["blue"].styles == (0,)
    assert float(regions["green"].style_masks[0].float().mean()) == pytest.approx(2 / 3)


def test_styles_for_regions_by_number() -> None:
    regions = {
        one.name: one.styles
        for one in meant(2, maps={"segmentation": stripes(GREEN, BLUE, RED)}, region_styles="green:2,blue:1+2,red:keep")
    }
    assert regions == {"green": (1,), "blue": (0, 1), "red": ()}


def test_one_style_is_for_all_segments() -> None:
    assert [one.styles for one in meant(1, maps={"segmentation": stripes(GREEN, BLUE)})] == [(0,), (0,)]


def test_strengths_of_single_regions() -> None:
    regions = meant(
        1,
        maps={"segmentation": stripes(GREEN, BLUE)},
        region_strengths="green:0.5",
        region_content={"blue": 4, "rest": 2},
    )
    assert {one.name: (one.strength, one.content) for one in regions} == {"green": (0.5, 1.0), "blue": (1.0, 4.0)}


def test_a_colour_of_the_style_alone_goes_unused() -> None:
    maps = {"segmentation": stripes(GREEN, BLUE), "style_segmentation": stripes(GREEN, BLUE, RED, name="painting.png")}
    with pytest.warns(UserWarning, match=r"painting\.png: red, 33% of it, is not in the content's map and goes unused"):
        assert len(meant(1, maps=maps)) == 2


def test_a_mask_of_another_size_is_resized_with_a_note() -> None:
    with pytest.warns(UserWarning, match=r"left\.png: is 48×32, and soft\.png is 96×64: the mask is resized"):
        meant(1, masks=[left_half(height=32, width=48)])


# What is refused


@pytest.mark.parametrize(
    ("message", "arguments", "values"),
    [
        (r"masks: 1 mask for 2 styles: give one for each", (2,), {"masks": [left_half()]}),
        (r"masks: 2 masks for 1 style: give one for each", (1,), {"masks": [left_half(), left_half()]}),
        (
            r"left\.png: is 64×64, and soft\.png is 96×64: a mask needs the shape of its picture",
            (1,),
            {"masks": [left_half(width=64)]},
        ),
        (r"left\.png: the mask is black everywhere", (1,), {"masks": [left_half(0.0)]}),
        (
            r"masks and segmentation: give one of them",
            (1,),
            {"masks": [left_half()], "maps": {"segmentation": stripes(GREEN, BLUE)}},
        ),
        (r"region_styles: needs a segmentation", (1,), {"region_styles": "green:1"}),
        (r"style_segmentations: needs a segmentation", (1,), {"style_segmentations": "a.png"}),
        (r"region_strengths: there are no regions", (1,), {"region_strengths": "green:1"}),
        (
            r"map\.png: blue covers 50% of the content and nothing of style map\.png: paint it there, or keep "
            r"that region with --region-styles blue:keep",
            (1,),
            {
                "maps": {
                    "segmentation": stripes(GREEN, BLUE),
                    "style_segmentation": stripes(GREEN, name="style map.png"),
                }
            },
        ),
        (
            r"style_segmentations: 1 map for 2 styles: give one for each",
            (2,),
            {"maps": {"segmentation": stripes(GREEN, BLUE), "style_segmentation": stripes(GREEN, BLUE)}},
        ),
        (
            r"region_styles: which of 2 styles is for blue\? the segmentation has green 67%, blue 33%: say it as "
            r"--region-styles green:1,blue:2",
            (2,),
            {"maps": {"segmentation": stripes(GREEN, GREEN, BLUE)}, "region_styles": "green:1"},
        ),
        (
            r"region_styles: green:3 is neither the number of a style \(1 … 2, or 1\+2 for both\) nor keep",
            (2,),
            {"maps": {"segmentation": stripes(GREEN, GREEN, BLUE)}, "region_styles": "green:3,blue:1"},
        ),
        (
            r"region_styles: gren is no region \(did you mean green\?\); there are green, blue",
            (1,),
            {"maps": {"segmentation": stripes(GREEN, GREEN, BLUE)}, "region_styles": "gren:1"},
        ),
        (
            r"region_content: sky is no region; there are green, blue, rest",
            (1,),
            {"maps": {"segmentation": stripes(GREEN, GREEN, BLUE)}, "region_content": "sky:2"},
        ),
        (
            r"region_styles: every region keeps the content",
            (1,),
            {"maps": {"segmentation": stripes(GREEN, GREEN, BLUE)}, "region_styles": "green:keep,blue:keep"},
        ),
        (r"region_strengths: 'green' is not allowed, it needs pairs like sky:2", (1,), {"region_strengths": "green"}),
        (r"region_strengths: '-1' is not allowed, it should be at least 0", (1,), {"region_strengths": "green:-1"}),
        (
            r"region_strengths: 'green:1,green:2' is not allowed, it should name green once",
            (1,),
            {"region_strengths": "green:1,green:2"},
        ),
        (r"masks: 'a.png,,b.png' is not allowed, it needs words with commas", (1,), {"masks_": "a.png,,b.png"}),
        (r"feather: 0.7 is not allowed, it should be at most 0.5", (1,), {"feather": 0.7}),
        (r"guidance: no such choice as 'insid' \(did you mean inside\?\)", (1,), {"guidance": "insid"}),
    ],
)
def test_one_sentence_for_what_makes_no_sense(message: str, arguments: tuple[int], values: dict[str, Any]) -> None:
    if "masks_" in values:
        values = {"masks": values["masks_"]}
        with pytest.raises(UsageError, match=message):
            TransferSettings.of(**values)
        return
    assert re.match(message, refused(*arguments, **values))


# At a scale


def test_regions_at_a_scale_cover_the_picture_once() -> None:
    regions = meant(2, masks=[left_half(0.75), left_half(0.5, name="b.png")])
    settings = TransferSettings.of(masks="left.png,b.png", feather=0.02)
    scaled = at_scale(regions, settings, 32, 48)
    assert [one.name for one in scaled] == ["left", "b", "rest"]
    total = sum(one.mask for one in scaled)
    assert torch.allclose(total, torch.ones(1, 1, 32, 48), atol=1e-5)
    assert float(scaled[0].mask[0, 0, 16, 4]) == pytest.approx(0.5, abs=0.01)  # both masks: half each


def test_the_rest_may_have_the_last_style() -> None:
    regions = meant(2, masks=[left_half(0.25), left_half(0.5, name="b.png")])
    scaled = at_scale(regions, TransferSettings.of(masks="left.png,b.png", rest="last"), 64, 96)
    assert [one.name for one in scaled] == ["left", "b"]
    assert float(scaled[1].mask[..., 60:].min()) == 1


# What happens


@pytest.fixture
def work(lively_path: Path) -> Callable[..., Work]:
    def begin(
        content: Picture, *styles: Picture, pictures: dict[str, Picture], machine: Machine = CPU, **values: Any
    ) -> Work:
        fast = {"encoder": str(lively_path), "size": 128, "coarsest": 128, "steps": 30, "tolerance": 0.0}
        fast |= {"style_layers": "relu1_1,relu2_1", "content_layers": "relu2_2"}
        return transfer(content, styles, TransferSettings.of(**fast | values), machine, pictures)

    return begin


def change(before: Picture, after: Tensor) -> Tensor:
    """Mean change of each column."""
    return (resize(before.pixels, *after.shape[-2:]) - after).abs().mean((0, 1, 2))


def test_a_region_is_painted_and_the_rest_stays(work: Callable[..., Work]) -> None:
    content = soft(0)
    painted = work(
        content, soft(1), pictures={"mask": left_half()}, masks="left.png", style_strength=4.0
    ).synthesis.run()
    columns = change(content, painted)
    assert columns[:56].mean() > 0.03
    assert columns[72:].max() < 0.004


def test_what_is_kept_comes_back_to_the_last_bit(work: Callable[..., Work]) -> None:
    content = soft(0)
    painted = work(content, soft(1), pictures={"mask": left_half()}, masks="left.png", style_strength=4.0, grain=0.5)
    columns = change(content, painted.finish(painted.synthesis.run()).pixels)
    assert columns[:56].mean() > 0.03
    assert not columns[72:].any()


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_a_mask_that_covers_everything_changes_nothing(work: Callable[..., Work], style_loss: str) -> None:
    everything = Picture(torch.ones(1, 3, 64, 96), name="all.png", path=Path("all.png"))
    gradients, losses = [], []
    for told in ({"pictures": {}}, {"pictures": {"mask": everything}, "masks": "all.png"}):
        synthesis = work(soft(0), soft(1), style_loss=style_loss, **told).synthesis
        picture = synthesis.picture.requires_grad_()
        _, found = synthesis.objective_at(synthesis.scale).add_gradient(picture)
        assert picture.grad is not None
        gradients.append(picture.grad)
        losses.append({name: float(value.detach()) for name, value in found.items()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-3


def test_each_region_has_the_colours_of_its_own_style(work: Callable[..., Work]) -> None:
    warm, cold = (
        Picture(torch.tensor(c).view(1, 3, 1, 1).expand(1, 3, 64, 64) + soft(5, 64, 64).pixels * 0.2)
        for c in ((0.7, 0.2, 0.1), (0.1, 0.2, 0.7))
    )
    painted = work(
        soft(0),
        warm,
        cold,
        pictures={"segmentation": stripes(GREEN, BLUE)},
        segmentation="map.png",
        region_styles="green:1,blue:2",
        style_strength=10.0,
        content_strength=0.1,
        steps=60,
    ).synthesis.run()
    warmth = (painted[0, 0] - painted[0, 2]).mean(0)
    assert warmth[:56].mean() > 0.15
    assert warmth[72:].mean() < -0.15


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_a_small_region_is_painted_as_strongly_as_a_large_one(work: Callable[..., Work], style_loss: str) -> None:
    """The defect of masked Gram matrices: an eighth of the picture had a hundredth of the loss."""
    content, style = Picture(soft(0, 96, 12).pixels.repeat(1, 1, 1, 8)), soft(1, 96, 96)  # alike in all its parts
    reached = []
    for share in (0.125, 0.875):
        begun = work(
            content,
            style,
            pictures={"mask": left_half(share, 96, 96)},
            masks="left.png",
            style_loss=style_loss,
            style_strength=0.1,
            steps=60,
        )
        before, after = (
            begun.synthesis.objective_at(begun.synthesis.scale)(pixels)[1]["style"]
            for pixels in (begun.synthesis.picture, begun.synthesis.run())
        )
        reached.append(float(after / before))
    small, large = reached
    assert small < 0.5
    assert small == pytest.approx(large, rel=0.2)


def test_content_holds_more_where_it_is_told_to(work: Callable[..., Work]) -> None:
    content = soft(0)
    told = {"pictures": {"segmentation": stripes(GREEN, BLUE)}, "segmentation": "map.png", "style_strength": 0.3}
    plain = change(content, work(content, soft(1), **told).synthesis.run())
    held = change(content, work(content, soft(1), **told, region_content="green:300").synthesis.run())
    assert held[:56].mean() < 0.8 * plain[:56].mean()
    assert held[72:].mean() > 0.9 * plain[72:].mean()


def test_a_region_of_strength_0_is_not_painted(work: Callable[..., Work]) -> None:
    content = soft(0)
    told = {"pictures": {"segmentation": stripes(GREEN, BLUE)}, "segmentation": "map.png", "smoothness": 0.0}
    columns = change(content, work(content, soft(1), **told, region_strengths="green:0").synthesis.run())
    assert columns[:48].mean() < 0.3 * columns[72:].mean()


def test_a_style_is_cut_by_its_own_map_alone(work: Callable[..., Work]) -> None:
    """What lies outside of a region's part of the style has no influence."""
    style = soft(1)
    other = Picture(style.pixels.clone())
    other.pixels[..., 56:] = soft(7).pixels[..., 56:]
    told = {
        "pictures": {"segmentation": stripes(GREEN, RED), "style_segmentation": stripes(GREEN, BLUE)},
        "segmentation": "map.png",
        "style_segmentations": "s.png",
        "region_styles": "red:keep",
        "steps": 5,
    }
    with pytest.warns(UserWarning, match="blue"):
        first, second = (work(soft(0), one, **told).synthesis.run() for one in (style, other))
    assert torch.allclose(first, second, atol=1e-6)


def test_what_is_kept_is_there_from_the_start(work: Callable[..., Work]) -> None:
    begun = work(soft(0), soft(1), pictures={"mask": left_half()}, masks="left.png", start="noise")
    moved = change(soft(0), begun.synthesis.picture)
    assert moved[80:].max() < 1e-3
    assert moved[:32].mean() > 0.05


@pytest.mark.parametrize(("field", "value"), [("feather", 0.1), ("rest", "last"), ("guidance", "all")])
def test_what_is_said_of_regions_needs_some(work: Callable[..., Work], field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{field}: there are no regions: give masks or a segmentation, or leave"):
        work(soft(0), soft(1), pictures={}, **{field: value})


def test_regions_of_no_strength_at_all_are_nothing_to_paint(work: Callable[..., Work]) -> None:
    masks = {"mask": left_half()}
    with pytest.raises(UsageError, match=r"^region_strengths: every region keeps the content"):
        work(soft(0), soft(1), pictures=masks, masks="left.png", region_strengths="left:0")


def test_a_mask_that_is_turned_round_has_a_name() -> None:
    with pytest.raises(UsageError, match=r"^masks: not: needs the mask's file right after it"):
        TransferSettings.of(masks="not:")


def test_only_masks_are_turned_round() -> None:
    assert TransferSettings.of(masks="not:a.png").pictures == {"mask": "a.png"}
    assert TransferSettings.of(segmentation="not:a.png").pictures == {"segmentation": "not:a.png"}


def test_regions_are_counted_in_the_memory_of_the_work(work: Callable[..., Work]) -> None:
    both = {"mask": left_half(), "mask2": left_half()}
    plain = work(soft(0), soft(1), pictures={})
    one = work(soft(0), soft(1), pictures={"mask": left_half()}, masks="left.png")
    two = work(soft(0), soft(1), soft(2), pictures=both, masks="left.png,not:left.png", rest="last")
    positions = 1 + 1 / 4 + 1 / 4  # of relu1_1, relu2_1 and relu2_2, for a pixel
    mask = 4 + 4 * positions
    places = (8 + 8 + 4) * positions
    kept = 16
    assert one.budget.held - plain.budget.held == pytest.approx(mask + places + kept)
    assert two.budget.held - plain.budget.held == pytest.approx(2 * mask + places)


def test_kernels_for_regions_are_counted_where_libraries_keep_them(
    work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("impasto.machine.free_memory", lambda _: 10**10)
    amounts = [
        work(soft(0), soft(1), machine=machine, **masks).budget.amount
        for machine in (CPU, replace(CPU, bfloat16=True))
        for masks in ({"pictures": {}}, {"pictures": {"mask": left_half()}, "masks": "left.png"})
    ]
    assert [amounts[0] - one for one in amounts] == [0, 0, 0, BYTES_OF_KERNELS]


def test_many_regions_are_one_pass_of_the_encoder(work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch) -> None:
    begun = work(
        soft(0), soft(1), pictures={"segmentation": stripes(GREEN, BLUE, RED)}, segmentation="map.png", size=96
    )
    objective = begun.synthesis.objective_at(begun.synthesis.scale)
    calls = []

    def encoder(picture: Tensor, layers: Any) -> dict[str, Tensor]:
        calls.append(layers)
        return begun.encoder(picture, layers)

    monkeypatch.setattr(objective, "encoder", encoder)
    objective(begun.synthesis.picture)
    assert len(calls) == 1

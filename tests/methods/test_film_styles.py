"""What a film is painted with: settings that fit, styles that take turns, and masks and flows that go along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.errors import FlowError, UsageError
from impasto.methods.film import FilmSettings
from impasto.methods.reading import Reader
from impasto.motion import write_flo
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize
from motion.moving_square import texture, vectors
from short_films import HEIGHT, WIDTH, Begin, Shifting, apart, frame, paint, panned, picture, same, still, works

# Settings


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"distances": "2,4"}, "rising whole numbers from 1 on"),
        ({"distances": "1,4,2"}, "rising whole numbers from 1 on"),
        ({"distances": "1,1"}, "rising whole numbers from 1 on"),
        ({"distances": "1,x"}, "distances"),
        ({"style_times": "4,0"}, "rising times, in seconds"),
        ({"style_times": "-1,0"}, "style_times"),
        ({"between": "2"}, "between: needs two times"),
        ({"between": "2,2"}, "between: needs two times"),
        ({"between": "5,2"}, "between"),
        ({"between": "1,2,3"}, "between: needs two times"),
        ({"frame_steps": 0}, "frame_steps: 0 is not allowed"),
        ({"frame_start": "wraped"}, "did you mean warped"),
        ({"flow": ""}, "flow"),
        ({"temporal_strength": -1}, "temporal_strength: -1 is not allowed"),
        ({"rate": 0}, "rate: 0 is not allowed"),
        ({"temporal_strenght": 1}, "did you mean temporal_strength"),
        ({"blend": True, "style_times": "0,4"}, "a blend has one style"),
        ({"blend": True, "style_loss": "patches"}, "blend: paints the whole film in one style"),
        ({"blend": True, "masks": "a.png"}, "blend: paints the whole film in one style"),
        ({"blend": True, "color_only": True}, "blend: paints the whole film in one style"),
        ({"blend": True, "mix": "losses"}, "add joint"),
        ({"character": 0.5}, "count with --blend alone"),
        ({"max_works": 2}, "count with --blend alone"),
        ({"map_strength": 3}, "map_strength: count with --maps alone: add it, or leave them out"),
        ({"map_kind": "labels", "match": "red:blue"}, "map_kind, match: count with --maps alone"),
        ({"map_strength": 3, "style_loss": "patches"}, "map_strength: count with --maps alone"),
        ({"flow": "flow_{}_{}.flo", "flow_cache": "flows"}, "flow_cache: keeps motion of dis, half, fast, and flow na"),
        ({"maps": "a.png,b.png"}, "add --style-loss patches"),
        ({"maps": "a.png,b.png", "style_loss": "patches", "masks": "c.png"}, "masks and segmentation"),
        ({"style_times": "0,4", "style_weights": "1,1"}, "leave out style_weights and patches"),
        ({"style_times": "0,4", "style_loss": "patches"}, "leave out style_weights and patches"),
    ],
)
def test_what_cannot_be_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as error:
        FilmSettings.of(**values)
    assert "\n" not in str(error.value)


def test_times_and_distances_are_read_as_people_write_them() -> None:
    settings = FilmSettings.of(distances="1, 10,20", style_times="0s,4.5s", between=(2, 5))
    assert (settings.distances, settings.style_times, settings.between) == ((1, 10, 20), (0.0, 4.5), (2.0, 5.0))


@pytest.mark.parametrize(
    ("time", "shares"), [(0, (1, 0, 0)), (2, (1, 0, 0)), (3, (0.5, 0.5, 0)), (4, (0, 1, 0)), (9, (0, 0, 1))]
)  # fmt: skip
def test_a_style_turns_into_the_next(time: float, shares: tuple[float, ...]) -> None:
    assert FilmSettings.of(style_times="2,4,6").at(time, 3).style_weights == pytest.approx(shares)


def test_a_time_for_each_style_is_needed() -> None:
    with pytest.raises(UsageError, match="2 times for 3 styles"):
        FilmSettings.of(style_times="0,4").at(0, 3)


# Styles


def test_style_times_end_with_one_style_alone(begin: Begin) -> None:
    styles = picture(7, 40, 40), picture(8, 40, 40)
    turning = begin(*styles, style_times="0,0.04")
    early, late = (begin(style, estimator=Shifting()).paint(still(1)[0]) for style in styles)
    assert same([turning.paint(frame(0, picture()))], [early])
    after = begin(*styles, style_times="0,0.04")
    assert same([after.paint(frame(1, picture()))], [late])


def test_between_style_times_both_styles_are_there(begin: Begin) -> None:
    styles = picture(7, 40, 40), picture(8, 40, 40)
    between = begin(*styles, style_times="0,0.08").paint(frame(1, picture()))
    assert same([between], [begin(*styles, style_weights="1,1").paint(frame(1, picture()))])


def test_styles_are_looked_at_once(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []
    find = Reader.moments
    monkeypatch.setattr(Reader, "moments", lambda *words: looks.append(1) or find(*words))
    styles = picture(7, 40, 40, sha256="a"), picture(8, 40, 40, sha256="b")
    painter = begin(*styles, style_times="0,0.2", estimator=Shifting())
    painter.paint(still(1)[0])
    after_the_first = len(looks)
    paint(painter, still(5)[1:])
    assert after_the_first == len(looks) == 2


def test_styles_keep_their_own_aspect(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[float] = []
    find = FilmSettings.style_at

    def watched(self: FilmSettings, style: Picture, height: int, width: int) -> Tensor:
        sizes.append(width / height)
        return find(self, style, height, width)

    monkeypatch.setattr(FilmSettings, "style_at", watched)
    paint(begin(picture(9, 30, 90), estimator=Shifting()), still(2))
    assert sizes == pytest.approx([3], rel=0.05)


def tinted(seed: int, *tint: float) -> Picture:
    return Picture(texture(seed, HEIGHT, WIDTH) * torch.tensor(tint).view(1, 3, 1, 1))


def test_a_blend_keeps_its_mixture_through_a_shot_and_takes_another_after_a_cut(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "cuts.txt").write_text("3")
    warm, cold = tinted(0, 1, 0.4, 0.1), tinted(1, 0.1, 0.4, 1)
    painter = begin(*works(), blend=True, cuts=str(tmp_path / "cuts.txt"), estimator=Shifting())
    mixtures = []
    for number, shown in enumerate((warm, warm, cold, cold)):  # the colours change before the shot does
        painter.paint(frame(number, shown))
        mixtures.append(painter._mixture)
    assert mixtures[0] == mixtures[1] == mixtures[2] != mixtures[3]


# What goes along


def test_a_region_without_a_style_stays_as_filmed(begin: Begin) -> None:
    mask = torch.zeros(1, 3, HEIGHT, WIDTH)
    mask[..., WIDTH // 2 :] = 1
    painter = begin(masks="right.png", estimator=Shifting(), steps=8)
    roles = {role: Picture(mask, name="right.png") for role in painter.settings.pictures}
    shown = [painter.paint(one, roles).picture.pixels for one in still(3)]
    filmed = still(1)[0].picture.pixels
    for one in shown:
        left, right = (apart(one[..., part], filmed[..., part]) for part in (slice(28), slice(36, None)))
        assert left < 0.2 * right


def test_a_mask_may_be_empty_for_a_while(begin: Begin) -> None:
    right = torch.zeros(1, 3, HEIGHT, WIDTH)
    right[..., WIDTH // 2 :] = 1
    masks = [Picture(mask, name="right.png") for mask in (0 * right, right, 0 * right, right)]
    painter = begin(masks="right.png", moving=["mask"], estimator=Shifting(), steps=8, frame_steps=8)
    filmed = still(1)[0].picture.pixels
    shown = [painter.paint(one, {"mask": mask}).picture.pixels for one, mask in zip(still(4), masks, strict=True)]
    for one, mask in zip(shown, masks, strict=True):
        changed = apart(one[..., 36:], filmed[..., 36:])
        assert changed > 0.01 if mask.pixels.any() else torch.equal(one, filmed)
    with pytest.raises(UsageError, match="the mask is black everywhere"):
        begin(masks="right.png", estimator=Shifting()).paint(still(1)[0], {"mask": masks[0]})


def test_a_mask_that_moves_is_called_as_it_was_given(begin: Begin) -> None:
    right = torch.zeros(1, 3, HEIGHT, WIDTH)
    right[..., WIDTH // 2 :] = 1
    told = {"masks": "rider/,not:rider/", "region_strengths": "rider:2,not rider:0"}
    painter = begin(
        picture(7, 40, 40), picture(8, 40, 40), **told, moving=["mask", "mask2"], estimator=Shifting(), steps=8
    )
    for one in still(2):
        mask = Picture(right, name=f"rider, frame {one.number}", path=Path(f"rider/f_{one.number}.png"))
        shown = painter.paint(one, {"mask": mask, "mask2": mask}).picture.pixels
        assert torch.equal(shown[..., :28], one.picture.pixels[..., :28])
        assert not torch.equal(shown[..., 36:], one.picture.pixels[..., 36:])


def test_what_no_region_covers_has_the_last_style_if_that_is_wanted(begin: Begin) -> None:
    black = Picture(torch.zeros(1, 3, HEIGHT, WIDTH), name="black.png")
    painter = begin(masks="black.png", rest="last", moving=["mask"], estimator=Shifting())
    everywhere = begin(estimator=Shifting())
    for one in still(2):
        assert torch.equal(painter.paint(one, {"mask": black}).picture.pixels, everywhere.paint(one).picture.pixels)


def test_colours_of_a_segmentation_come_and_go(begin: Begin) -> None:
    styles = picture(7, 40, 40), picture(8, 40, 40)
    halves, blue = torch.zeros(1, 3, HEIGHT, WIDTH), torch.zeros(1, 3, HEIGHT, WIDTH)
    halves[:, 2, :, :30], halves[:, 1, :, 30:], blue[:, 2] = 250 / 255, 1, 1
    painter = begin(
        *styles, segmentation="map.png", region_styles="#0000f8:1,green:keep", region_strengths="green:2",
        moving=["segmentation"], estimator=Shifting(), steps=12, frame_steps=12,
    )  # fmt: skip
    filmed = still(1)[0].picture.pixels
    for one, drawn in zip(still(4), (halves, blue, blue, halves), strict=True):
        shown = painter.paint(one, {"segmentation": Picture(drawn, name="map.png")}).picture.pixels
        assert (apart(shown[..., 40:], filmed[..., 40:]) > 0.01) == (drawn is blue)
    with pytest.raises(UsageError, match="region_styles: gren is no region"):
        begin(*styles, segmentation="map.png", region_styles="blue:1,gren:2", moving=["segmentation"]).paint(
            still(1)[0], {"segmentation": Picture(blue, name="map.png")}
        )


def test_flows_of_files_lead(begin: Begin, tmp_path: Path) -> None:
    for now in (1, 2):
        write_flo(
            tmp_path / f"{now}_{now - 1}.flo", torch.tensor([-4.0, 0]).view(1, 2, 1, 1).repeat(1, 1, HEIGHT, WIDTH)
        )
        write_flo(
            tmp_path / f"{now - 1}_{now}.flo", torch.tensor([4.0, 0]).view(1, 2, 1, 1).repeat(1, 1, HEIGHT, WIDTH)
        )
    frames = panned(3, 4)
    led = paint(begin(flow=str(tmp_path / "{}_{}.flo")), frames)
    assert same(led, paint(begin(estimator=Shifting(4, 0)), frames))


def test_flows_of_files_are_of_the_film_and_used_at_the_painting_s_size(begin: Begin, tmp_path: Path) -> None:
    for pair, dx in (((1, 0), -8.0), ((0, 1), 8.0)):
        write_flo(tmp_path / "{}_{}.flo".format(*pair), vectors(dx, 0, 2 * HEIGHT, 2 * WIDTH))
    large = [frame(one.number, Picture(resize(one.picture.pixels, 2 * HEIGHT, 2 * WIDTH))) for one in panned(2, 4)]
    led = paint(begin(flow=str(tmp_path / "{}_{}.flo")), large)
    assert same(led, paint(begin(estimator=Shifting(4, 0)), large))


def test_flows_of_another_size_are_one_sentence(begin: Begin, tmp_path: Path) -> None:
    for pair in ((0, 1), (1, 0)):
        write_flo(tmp_path / "{}_{}.flo".format(*pair), torch.zeros(1, 2, 10, 10))
    painter = begin(flow=str(tmp_path / "{}_{}.flo"))
    with pytest.raises(FlowError, match=r"1_0\.flo: is 10x10, and the frames are 64x48: make flows") as error:
        paint(painter, still(2))
    assert "\n" not in str(error.value)


def test_a_pattern_without_places_for_numbers_is_one_sentence(begin: Begin) -> None:
    with pytest.raises(UsageError, match="needs two places for numbers"):
        begin(flow="diss")

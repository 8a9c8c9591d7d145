"""Films frame by frame: what stays, what moves along, where it begins anew, and that every manner can be painted."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from impasto.errors import UsageError
from impasto.machine import Machine
from impasto.methods.film import FilmPainter, FilmSettings
from impasto.motion import warp
from impasto.pictures.footage import Frame
from impasto.pictures.picture import Picture
from motion.moving_square import moving_square, texture
from short_films import (
    CPU,
    HEIGHT,
    WIDTH,
    Begin,
    Shifting,
    apart,
    frame,
    paint,
    panned,
    picture,
    pixels,
    same,
    still,
)


def grainy(count: int) -> list[Frame]:
    """A still film with a little noise, other in each frame, as a camera's."""
    noise = (0.02 * torch.randn(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(n)) for n in range(count))
    return [frame(number, Picture((texture(0, HEIGHT, WIDTH) + one).clamp(0, 1))) for number, one in enumerate(noise)]


def two_shots() -> list[Frame]:
    """Two frames of one thing, and two of another."""
    return [frame(number, picture(number // 2)) for number in range(4)]


# What stays and what moves


def test_an_unmoving_film_hardly_changes(begin: Begin) -> None:
    painter, filmed = begin(estimator=Shifting(), steps=12), still(10)
    shown = pixels(paint(painter, filmed))
    assert apart(shown[0], filmed[0].picture.pixels) > 0.01
    assert all(apart(one, shown[0]) < 0.0005 for one in shown)
    assert all(float((one - shown[0]).mean((2, 3)).abs().max()) < 0.1 / 255 for one in shown)


def test_a_grainy_film_flickers_less_than_one_painted_frame_by_frame(begin: Begin) -> None:
    painter, frames = begin(estimator=Shifting(), steps=6), grainy(5)
    ours, theirs = pixels(paint(painter, frames)), [painter.alone(one).pixels for one in frames]

    def flicker(shown: Sequence[Tensor]) -> float:
        return sum(apart(one, other) for one, other in zip(shown[1:], shown[:-1], strict=True))

    assert flicker(ours) < 0.5 * flicker(theirs)


def test_temporal_strength_holds_what_was_seen(begin: Begin) -> None:
    frames = grainy(3)
    weak, strong = (pixels(paint(begin(estimator=Shifting(), temporal_strength=s), frames)) for s in (0, 100))
    assert apart(strong[2], strong[0]) < 0.7 * apart(weak[2], weak[0])


def test_the_painting_moves_with_the_film(begin: Begin) -> None:
    first, second = pixels(paint(begin(estimator=Shifting(4, 0)), panned(2, 4)))
    moved, unmoved = apart(second[..., 8:], first[..., 4:-4]), apart(second[..., 8:], first[..., 8:])
    assert moved < 0.1 * unmoved


def test_a_square_takes_its_painting_along(begin: Begin) -> None:
    scene = moving_square((6, 0), (0, 0))

    class Known:
        name = "known"

        def __call__(self, from_: Tensor, to: Tensor) -> Tensor:
            return scene.backward if torch.equal(from_, scene.now) else scene.forward

    frames = [frame(0, Picture(scene.before)), frame(1, Picture(scene.now))]
    first, second = pixels(paint(begin(estimator=Known(), size=128, coarsest=64), frames))
    inside = (scene.square * scene.square.roll(3, 3) * scene.square.roll(-3, 3)).bool().expand_as(first)
    moved = warp(first, scene.backward)
    assert apart(second[inside], moved[inside]) < 0.15 * apart(second[inside], first[inside])


def test_motion_is_found_without_being_told(begin: Begin) -> None:
    painted = paint(begin(), panned(3, 3))
    first, second, _ = pixels(painted)
    assert painted[1].visible > 0.6
    assert apart(second[..., 8:-4], first[..., 5:-7]) < 0.3 * apart(second[..., 8:-4], first[..., 8:-4])


@pytest.mark.parametrize("start", ["warped", "previous", "frame"])
def test_a_frame_begins_where_it_is_told_to(begin: Begin, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    painter, frames = begin(estimator=Shifting(4, 0), frame_start=start), panned(2, 4)
    first = painter.paint(frames[0]).picture.pixels
    begun: list[Tensor] = []
    find = FilmPainter._start
    monkeypatch.setattr(FilmPainter, "_start", lambda *words: begun.append(find(*words)) or begun[-1])
    painter.paint(frames[1])
    (found,) = begun
    wanted = {"previous": first, "frame": frames[1].picture.pixels}.get(start)
    if wanted is None:  # moved along, but for what was not seen before
        found, wanted = found[..., 8:], first[..., 4:-4]
    assert torch.allclose(found, wanted, atol=1e-6)


def test_what_comes_into_view_begins_with_the_change_of_what_was_there(begin: Begin) -> None:
    painter, frames = begin(estimator=Shifting(8, 0)), panned(2, 8)
    first = painter.paint(frames[0]).picture.pixels
    (link,) = painter.links(frames[1])
    assert not link.where[..., :7].any()
    begun = painter._start(frames[1].picture.pixels, link)
    change = (first - frames[0].picture.pixels)[..., :1]  # at the border, which moves on
    assert torch.allclose(begun[..., :7], (frames[1].picture.pixels[..., :7] + change).clamp(0, 1), atol=1e-6)


def test_a_frame_tells_what_it_is_and_what_it_cost(begin: Begin) -> None:
    first, second = paint(begin(estimator=Shifting()), still(2))
    assert (first.number, first.time, first.begins_shot, first.visible) == (0, 0, True, 0)
    assert (second.number, second.time, second.begins_shot) == (1, Fraction(1, 25), False)
    assert second.visible > 0.9
    assert "temporal" not in first.losses
    assert {"content", "style", "temporal"} <= second.losses.keys()


def test_later_frames_take_frame_steps(begin: Begin) -> None:
    painter = begin(estimator=Shifting(), frame_steps=5)
    painter.paint(still(1)[0])
    assert len([*painter.steps(still(2)[1])]) == 5


def test_what_is_new_is_looked_at_small_first(begin: Begin) -> None:
    painter, frames = begin(estimator=Shifting(16, 0), coarsest=16), panned(2, 16)
    painter.paint(frames[0])
    widths = [step.width for step in painter.steps(frames[1])]
    assert len(widths) == 2 + 4
    assert widths[:4] == [widths[0]] * 4
    assert widths[0] < widths[-1] == WIDTH


# Shots


def test_a_cut_begins_anew(begin: Begin) -> None:
    painted = paint(begin(), two_shots())
    assert [one.begins_shot for one in painted] == [True, False, True, False]
    assert same(painted[2:], paint(begin(), two_shots()[2:]))


def test_nothing_before_a_cut_is_compared(begin: Begin) -> None:
    painter = begin(distances="1,2,3", cuts="auto")
    paint(painter, two_shots()[:3])
    assert [link.seen.number for link in painter.links(two_shots()[3])] == [2]


def test_no_cuts_are_found_where_there_are_to_be_none(begin: Begin) -> None:
    assert [one.begins_shot for one in paint(begin(cuts="none"), two_shots())] == [True, False, False, False]


@pytest.mark.parametrize("text", ["1\n3", "0.04s\n0.12s # there"])
def test_cuts_are_where_a_file_says(begin: Begin, tmp_path: Path, text: str) -> None:
    (tmp_path / "cuts.txt").write_text(text)
    painted = paint(begin(cuts=str(tmp_path / "cuts.txt")), two_shots())
    assert [one.begins_shot for one in painted] == [True, True, False, True]


def test_a_missing_file_of_cuts_is_one_sentence(begin: Begin) -> None:
    with pytest.raises(UsageError, match=r"cuts\.txt: no such file"):
        begin(cuts="cuts.txt")


# Other manners


def test_colours_alone_are_taken_of_every_frame(begin: Begin) -> None:
    painter = begin(color_only=True)
    for one in panned(3, 4):
        shown = painter.paint(one).picture.pixels
        assert torch.allclose(shown, painter.alone(one).pixels, atol=0.02)


def test_a_transparent_frame_stays_so(begin: Begin) -> None:
    alpha = torch.ones(1, 1, HEIGHT, WIDTH)
    alpha[..., :20] = 0
    frames = [frame(number, picture(0, alpha=alpha)) for number in range(2)]
    for one in paint(begin(estimator=Shifting()), frames):
        assert one.picture.alpha is not None
        assert torch.equal(one.picture.alpha, alpha)


def test_a_flat_black_film_is_painted(begin: Begin) -> None:
    frames = [frame(number, Picture(torch.zeros(1, 3, HEIGHT, WIDTH))) for number in range(3)]
    assert all(one.isfinite().all() for one in pixels(paint(begin(), frames)))


def test_the_encoder_is_read_once(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = FilmSettings.of(encoder=str(tiny_encoder), size=48, coarsest=48, steps=1, frame_steps=1)
    pictures = [Picture(torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(n))) for n in range(3)]
    painter = FilmPainter(pictures[:1], settings, Machine.choose("cpu"))
    painter.paint(Frame(0, Fraction(0), pictures[1]))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("impasto.methods.transfer.load_encoder", refuse)
    assert painter.paint(Frame(1, Fraction(1), pictures[2])).number == 1


def test_motion_that_was_kept_is_not_looked_for_again(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"size": 48, "coarsest": 48, "steps": 1, "frame_steps": 1, "flow_cache": str(tmp_path / "flows")}
    settings = FilmSettings.of(encoder=str(tiny_encoder), **few)
    pictures = [Picture(torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(n))) for n in range(3)]
    frames = [Frame(n, Fraction(n), picture) for n, picture in enumerate(pictures)]
    first = paint(FilmPainter(pictures[:1], settings, CPU), frames)
    monkeypatch.setattr("impasto.motion.flow.Dis.__call__", lambda *_: pytest.fail("looked for again"))
    again = paint(FilmPainter(pictures[:1], settings, CPU), frames)
    assert same(first, again)

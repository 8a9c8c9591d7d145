"""Films frame by frame: what stays, what moves along, where it begins anew, and going on as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.errors import UsageError
from impasto.machine import Machine
from impasto.methods.film import FilmPainter, FilmSettings, PaintedFrame, film
from impasto.methods.reading import Reader
from impasto.motion import FlowError, FlowEstimator, warp, write_flo
from impasto.pictures.footage import Frame
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize
from impasto.synthesis.checkpoint import load_checkpoint, save_checkpoint
from motion.moving_square import moving_square, texture, vectors

CPU = Machine(torch.device("cpu"), bfloat16=False)
SHALLOW = {"style_layers": "relu2_1,relu3_1", "content_layers": "relu3_1"}
FEW = {"size": 64, "coarsest": 64, "steps": 3, "frame_steps": 2, "tolerance": 0.0, "average": 0.0}
HEIGHT, WIDTH = 48, 64
Begin = Callable[..., FilmPainter]


class Shifting:
    """Knows that everything moves by (dx, dy) from each frame to the next, and counts how often it is asked."""

    name = "shifting"

    def __init__(self, dx: float = 0, dy: float = 0) -> None:
        self._shift, self.asked = (dx, dy), 0

    def __call__(self, from_: Tensor, to: Tensor) -> Tensor:
        self.asked += 1
        sign = -1 if self.asked % 2 else 1  # first from the later frame to the earlier one
        vectors = torch.tensor(self._shift, dtype=torch.float32).view(1, 2, 1, 1) * sign
        return vectors.expand(1, 2, *from_.shape[-2:]).contiguous()


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH, **fields: Any) -> Picture:
    return Picture(texture(seed, height, width), **fields)


def frame(number: int, shown: Picture, rate: int = 25) -> Frame:
    return Frame(number, Fraction(number, rate), shown)


def still(count: int, seed: int = 0) -> list[Frame]:
    """A film in which nothing moves."""
    return [frame(number, picture(seed)) for number in range(count)]


def panned(count: int, dx: int, seed: int = 0) -> list[Frame]:
    """A film in which everything moves to the right by `dx` pixels a frame."""
    large = texture(seed, HEIGHT, WIDTH + dx * count)
    shown = (large[..., (count - number) * dx : (count - number) * dx + WIDTH] for number in range(count))
    return [frame(number, Picture(one)) for number, one in enumerate(shown)]


def grainy(count: int) -> list[Frame]:
    """A still film with a little noise, other in each frame, as a camera's."""
    noise = (0.02 * torch.randn(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(n)) for n in range(count))
    return [frame(number, Picture((texture(0, HEIGHT, WIDTH) + one).clamp(0, 1))) for number, one in enumerate(noise)]


def two_shots() -> list[Frame]:
    """Two frames of one thing, and two of another."""
    return [frame(number, picture(number // 2)) for number in range(4)]


@pytest.fixture
def begin(lively_path: Path) -> Begin:
    """A painter with the tiny encoder and few steps."""

    def build(*styles: Picture, estimator: FlowEstimator | None = None, **values: Any) -> FilmPainter:
        settings = FilmSettings.of(**{**FEW, **SHALLOW, "encoder": str(lively_path), **values})
        return FilmPainter(styles or (picture(9, 40, 40),), settings, CPU, estimator)

    return build


def paint(painter: FilmPainter, frames: Iterable[Frame]) -> list[PaintedFrame]:
    return [painter.paint(one) for one in frames]


def pixels(painted: Sequence[PaintedFrame]) -> list[Tensor]:
    return [one.picture.pixels for one in painted]


def same(ours: Sequence[PaintedFrame], theirs: Sequence[PaintedFrame]) -> bool:
    return [*map(torch.equal, pixels(ours), pixels(theirs))] == [True] * len(theirs)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean())


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


# What stays and what moves


def test_an_unmoving_film_hardly_changes(begin: Begin) -> None:
    painter, filmed = begin(estimator=Shifting(), steps=8), still(10)
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
    (link,) = painter._links(frames[1])
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
    assert [link.seen.number for link in painter._links(two_shots()[3])] == [2]


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


def works() -> list[Picture]:
    """Three flat-coloured works with some texture: warm, cold and grey."""
    tints = ([1.0, 0.4, 0.1], [0.1, 0.4, 1.0], [0.5, 0.5, 0.5])
    return [Picture(texture(5, 48, 48) * torch.tensor(tint).view(1, 3, 1, 1), sha256=str(tint)) for tint in tints]


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


# Going on


def kept(painter: FilmPainter, path: Path, fresh: FilmPainter) -> FilmPainter:
    """A fresh painter that goes on from what another one saved."""
    save_checkpoint(path, painter, {})
    tensors, state, _ = load_checkpoint(path)
    fresh.go_on_from(tensors, state)
    return fresh


@pytest.mark.parametrize("done", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "values", [{}, {"distances": "1,2,3"}, {"coarsest": 16, "average": 0.9}, {"optimiser": "lbfgs"}, {"blend": True}]
)
def test_a_fresh_painter_goes_on_bit_by_bit(begin: Begin, tmp_path: Path, done: int, values: dict[str, Any]) -> None:
    frames = panned(4, 4)
    styles = works() if values.get("blend") else []
    whole = paint(begin(*styles, **values), frames)
    before = begin(*styles, **values)
    paint(before, frames[:done])
    resumed = kept(before, tmp_path / "c.safetensors", begin(*styles, **values))
    assert same(paint(resumed, frames[done:]), whole[done:])


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_frame_left_in_the_middle_changes_nothing(begin: Begin, steps: int) -> None:
    frames = panned(3, 4)
    whole, left = paint(begin(), frames), begin()
    shown = paint(left, frames[:1])
    for one in frames[1:]:
        for _ in islice(left.steps(one), steps):
            pass
        shown.append(left.paint(one))
    assert same(shown, whole)


def test_a_frame_painted_alone_changes_nothing(begin: Begin) -> None:
    frames = panned(3, 4)
    whole, watched = paint(begin(), frames), begin()
    shown = []
    for one in frames:
        shown.append(watched.paint(one))
        watched.alone(one)
    assert same(shown, whole)


def test_a_film_is_painted_twice_alike_whatever_came_before(begin: Begin) -> None:
    painter = begin()
    paint(painter, still(2, seed=4))
    fresh = begin()
    assert same(paint(fresh, panned(3, 4)), paint(begin(), panned(3, 4)))


@pytest.mark.parametrize("distances", ["1", "1,2,4"])
def test_what_is_remembered_is_bounded(begin: Begin, distances: str) -> None:
    painter, sizes = begin(estimator=Shifting(), distances=distances, frame_steps=1, steps=1), []
    for one in still(10):
        painter.paint(one)
        tensors, _ = painter.state()
        sizes.append(sum(value.numel() for value in tensors.values()))
    longest = int(distances[-1])
    assert len(painter._past) == longest
    assert [seen.number for seen in painter._past] == [*range(10 - longest, 10)]
    assert len({*sizes[longest:]}) == 1


def test_distances_reach_back(begin: Begin) -> None:
    painter = begin(estimator=Shifting(), distances="1,3")
    counts = []
    for one in still(5):
        counts.append([link.seen.number for link in painter._links(one)])
        painter.paint(one)
    assert counts == [[], [0], [1], [2, 0], [3, 1]]


# Other manners


def test_frames_come_as_they_are_asked_for(lively_path: Path) -> None:
    asked: list[int] = []

    def camera() -> Iterable[Frame]:
        for one in still(100):
            asked.append(one.number)
            yield one

    settings = FilmSettings.of(**FEW, **SHALLOW, encoder=str(lively_path))
    painted = film(camera(), [picture(9)], settings, CPU)
    assert [next(painted).number, next(painted).number] == [0, 1]
    assert asked == [0, 1]


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
    first = [one.picture.pixels for one in film(frames, pictures[:1], settings, CPU)]
    monkeypatch.setattr("impasto.motion.flow.Dis.__call__", lambda *_: pytest.fail("looked for again"))
    again = [one.picture.pixels for one in film(frames, pictures[:1], settings, CPU)]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))

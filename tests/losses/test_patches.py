"""Patches: the nearest ones are those that trying all of them finds, the loss is its definition, labels are walls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from impasto.losses import PatchLoss
from impasto.losses import matching as module
from impasto.losses.matching import Field, Grid, Sources
from impasto.losses.patches import Guide, as_grid
from impasto.pictures.maps import EVERYWHERE, NOWHERE

PICTURE = torch.zeros(1, 3, 8, 8)
ONE = {"relu3_1": 1.0}


def features(seed: int, height: int = 9, width: int = 11, channels: int = 5) -> Tensor:
    """Positive ones, as after a rectifier."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, height, width, generator=generator, dtype=torch.float64)


def rows(values: Tensor, side: int = 3) -> Tensor:
    """All patches `(N, C · side²)`."""
    return F.unfold(values, side)[0].T


def tried(current: Tensor, sources: Sequence[Tensor], side: int = 3) -> tuple[Tensor, Tensor]:
    """The highest correlation of each patch, and with which patch of all."""
    own, theirs = rows(current, side), torch.cat([rows(one, side) for one in sources])
    products = own @ theirs.T / own.norm(dim=1, keepdim=True) / theirs.norm(dim=1)
    best = products.max(1)
    return best.values, best.indices


def found(current: Tensor, *sources: Tensor, side: int = 3, variety: float = 0.0) -> Field:
    return Sources([Grid(as_grid(one)) for one in sources], side, variety).nearest(Grid(as_grid(current)))


def numbers(field: Field, sources: Sequence[Tensor]) -> Tensor:
    """Which patch of all of the sources the places are those of."""
    of_place = []
    first = 0
    for one in sources:
        height, width = (length - field.side + 1 for length in one.shape[-2:])
        numbers = torch.full(one.shape[-2:], -1)
        numbers[:height, :width] = first + torch.arange(height * width).view(height, width)
        first += height * width
        of_place.append(numbers.flatten())
    return torch.cat(of_place)[field.place].flatten()


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("step", [1, 200, 10**6])
def test_the_nearest_patches_are_those_that_trying_all_finds(
    monkeypatch: pytest.MonkeyPatch, side: int, step: int
) -> None:
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", step)
    current, sources = features(0), [features(1, 8, 7), features(2, 6, 12)]
    score, number = tried(current, sources, side)
    field = found(current, *sources, side=side)
    assert_close(field.score.flatten(), score)
    assert torch.equal(numbers(field, sources), number)


@pytest.mark.parametrize(("numbers_at_once", "times"), [(13 * 17 * 19, 5), (40 * 13 * 17 * 19, 3.1)])
def test_memory_is_some_times_what_is_made_at_once(
    monkeypatch: pytest.MonkeyPatch, numbers_at_once: int, times: float
) -> None:
    """Where that is a row, five times as much; three times and two rows where it is many."""
    taken = 0
    original = torch.Tensor.new_empty

    def new_empty(like: Tensor, *size: int) -> Tensor:
        nonlocal taken
        taken += math.prod(size)
        return original(like, *size)

    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", numbers_at_once)
    monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)
    assert [*module._products(torch.rand(60, 13, 2), torch.rand(17, 19, 2), 3)]
    assert 2 * numbers_at_once < taken <= times * numbers_at_once


def test_length_does_not_matter() -> None:
    """Of correlation: a brighter style is not preferred."""
    current, source = features(0), features(1)
    plain = found(current, source)
    for field in (found(3 * current, source), found(current, 7 * source), found(current, source, 7 * source)):
        assert_close(field.score, plain.score)


def test_a_grid_is_most_like_itself() -> None:
    values = features(0)
    field = found(values, values)
    height, width = values.shape[-2:]
    expected = torch.arange(height * width).view(height, width)[: height - 2, : width - 2]
    assert torch.equal(field.place, expected)
    assert_close(field.mean_of_sources(as_grid(values).flatten(0, 1)), as_grid(values).contiguous())


def test_small_grids_have_small_patches() -> None:
    field = found(features(0, 2, 9), features(1, 5, 1))
    assert field.side == 1
    assert field.place.shape == (2, 9)


def test_only_equal_labels_match() -> None:
    current, source = features(0), features(1)
    own = torch.zeros(9, 11, dtype=torch.int64)
    own[:, 6:] = 1
    theirs = torch.full((9, 11), NOWHERE)
    theirs[:4, :8], theirs[4:, 2:] = 0, 1
    field = Sources([Grid(as_grid(source), theirs)]).nearest(Grid(as_grid(current), own))
    assert torch.equal(field.at_centres(theirs.flatten()), field.centres_of(own))
    free = found(current, source)
    assert field.score.mean() < free.score.mean()
    patches, others = rows(current), rows(source)
    products = patches @ others.T / patches.norm(dim=1, keepdim=True) / others.norm(dim=1)
    alike = own[1:-1, 1:-1].flatten()[:, None] == theirs[1:-1, 1:-1].flatten()
    assert_close(field.score.flatten(), products.where(alike, torch.tensor(-1.0).double()).max(1).values)


def test_what_no_source_has_matches_anything_but_what_is_nowhere() -> None:
    current, source = features(0), features(1)
    own = torch.full((9, 11), 5)
    theirs = torch.full((9, 11), 0)
    theirs[:, 5:] = NOWHERE
    hidden = Sources([Grid(as_grid(source), theirs)]).nearest(Grid(as_grid(current), own))
    assert (hidden.at_centres(theirs.flatten()) == 0).all()
    own[:] = EVERYWHERE
    again = Sources([Grid(as_grid(source), theirs)]).nearest(Grid(as_grid(current), own))
    assert torch.equal(again.place, hidden.place)


def test_where_all_of_the_sources_is_nowhere_it_is_everywhere() -> None:
    current, source = features(0), features(1)
    nowhere = Grid(as_grid(source), torch.full((9, 11), NOWHERE))
    assert torch.equal(Sources([nowhere]).nearest(Grid(as_grid(current))).place, found(current, source).place)


def test_variety_uses_more_of_the_patches() -> None:
    current, source = (F.avg_pool2d(features(seed, 48, 48, 8), 5, 1) for seed in (0, 1))  # alike, as neighbours are
    used = []
    for variety in (0.0, 0.5, 1.0):
        loss = PatchLoss([{"relu3_1": source}], ONE, variety=variety)
        for _ in range(20):
            loss({"relu3_1": current}, PICTURE)
        used.append(loss.usage("relu3_1"))
    assert min(used[1:]) > used[0] + 0.05


@pytest.mark.parametrize("sources", [1, 2])
def test_the_loss_is_its_definition(sources: int) -> None:
    """Champandard (2016), eq. 2, each position counted once, in units of the style's mean square."""
    current, styles = features(0), [features(1 + n, 8, 7 + n) for n in range(sources)]
    loss = PatchLoss([{"relu3_1": one} for one in styles], ONE)
    value = loss({"relu3_1": current}, PICTURE)
    _, number = tried(current, styles)
    wanted = torch.cat([rows(one) for one in styles])[number]
    squares = (rows(current) - wanted).square().T[None]
    covering = F.fold(torch.ones_like(squares), (9, 11), 3)
    power = torch.cat([one.square().sum(1).flatten() for one in styles]).mean()
    expected = (F.fold(squares, (9, 11), 3) / covering).sum() / (9 * 11 * power)
    assert_close(value, expected)


def test_maps_count_in_the_match_and_in_the_value() -> None:
    """With maps beside the features it is the loss of both, but for the unit: that is the features' alone."""
    current, style = features(0), features(1)
    own, theirs = features(2, channels=3), features(3, channels=3)
    guided = PatchLoss(
        [{"relu3_1": style}], ONE, {"relu3_1": Guide(as_grid(own))}, [{"relu3_1": Guide(as_grid(theirs))}]
    )
    joined = PatchLoss([{"relu3_1": torch.cat((style, theirs), 1)}], ONE)
    value, both = guided({"relu3_1": current}, PICTURE), joined({"relu3_1": torch.cat((current, own), 1)}, PICTURE)
    power, of_both = style.square().sum(1).mean(), torch.cat((style, theirs), 1).square().sum(1).mean()
    assert torch.equal(guided.fields["relu3_1"].place, joined.fields["relu3_1"].place)
    assert_close(value * power, both * of_both)


def test_maps_have_no_gradient_and_features_have_that_of_their_own() -> None:
    current = features(0).requires_grad_()
    style = features(1)
    loss = PatchLoss([{"relu3_1": style}], ONE)
    assert gradcheck(lambda values: loss({"relu3_1": values}, PICTURE), current)


@pytest.mark.parametrize("width", [11, 3])
def test_a_picture_made_of_the_style_has_no_loss(width: int) -> None:
    style = features(1, width=width)
    loss = PatchLoss([{"relu3_1": style}], ONE)
    assert float(loss({"relu3_1": style}, PICTURE)) == pytest.approx(0, abs=1e-12)
    nothing = loss({"relu3_1": torch.zeros_like(style)}, PICTURE)
    assert 0.5 < float(nothing) < 1.5


def test_what_is_hidden_does_not_count() -> None:
    style = features(1)
    current = features(0)
    where = torch.ones(1, 1, 9, 11, dtype=torch.float64)
    where[..., 6:] = 0
    painted = style.clone()
    painted[..., 8:] = current[..., 8:]
    loss = PatchLoss([{"relu3_1": style}], ONE, where={"relu3_1": where})
    assert float(loss({"relu3_1": painted}, PICTURE)) == pytest.approx(0, abs=1e-12)
    where[..., 6:] = 1
    assert float(loss({"relu3_1": painted}, PICTURE)) > 1e-3


@pytest.mark.parametrize("every", [1, 3])
def test_matches_are_made_at_every_so_many_calls(every: int) -> None:
    loss = PatchLoss([{"relu3_1": features(1)}], ONE, every=every)
    seen = []
    for seed in range(2, 6):
        loss({"relu3_1": features(seed)}, PICTURE)
        seen.append(loss.fields["relu3_1"])
    assert [one is other for one, other in pairwise(seen)] == [every > 1, every > 1, False]


def test_the_order_of_channels_does_not_matter() -> None:
    current, style, order = features(0), features(1), torch.tensor([4, 2, 0, 1, 3])
    plain, shuffled = (
        PatchLoss([{"relu3_1": one}], ONE)({"relu3_1": other}, PICTURE)
        for one, other in ((style, current), (style[:, order], current[:, order]))
    )
    assert_close(plain, shuffled)


def test_reports_say_how_evenly_patches_are_used_and_whether_they_are_of_their_own_part() -> None:
    style = features(1)
    parts = torch.zeros(9, 11, dtype=torch.int64)
    parts[:, 5:] = 1
    origin = torch.rand(9, 11, 2)
    theirs = [{"relu3_1": Guide(parts=parts, origin=origin)}]
    loss = PatchLoss([{"relu3_1": style}], ONE, {"relu3_1": Guide(parts=parts)}, theirs)
    loss({"relu3_1": style}, PICTURE)
    assert loss.usage("relu3_1") == pytest.approx(1)
    assert loss.purity("relu3_1") == 1
    assert torch.equal(loss.origins("relu3_1"), origin[1:-1, 1:-1])
    loss({"relu3_1": style[..., :1].expand_as(style).contiguous()}, PICTURE)
    assert loss.usage("relu3_1") < 0.7
    turned = PatchLoss([{"relu3_1": style}], ONE, {"relu3_1": Guide(parts=1 - parts)}, theirs)
    turned({"relu3_1": style}, PICTURE)
    assert turned.purity("relu3_1") == 0

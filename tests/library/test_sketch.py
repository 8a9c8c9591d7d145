"""Sketches: short, linear, and nearly with the inner products of what they stand for."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from impasto.encoders.vgg import VGG, Configuration
from impasto.errors import PictureError
from impasto.library import sketch as module
from impasto.library.signature import packed_length
from impasto.library.sketch import NUMBERS, plan, sketch, sketch_of
from impasto.pictures.files import read_picture
from impasto.pictures.picture import Picture

LITE = VGG(Configuration("lite-like", (24, 40, 56, 72, 88), (1, 1, 1, 1, 1)))


def vector(seed: int, length: int = 5000) -> Tensor:
    return torch.randn(length, generator=torch.Generator().manual_seed(seed))


def of(values: Tensor, length: int = 256, layer: str = "relu3_1") -> Tensor:
    return sketch({layer: values}, {layer: length})[layer]


def test_all_layers_together_have_as_many_numbers_as_wanted() -> None:
    found = plan(LITE)
    assert sum(found.values()) == NUMBERS
    assert [*found] == ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


def test_no_layer_has_more_numbers_than_its_signature_and_the_others_share_the_rest() -> None:
    found = plan(LITE)
    assert found["relu1_1"] == packed_length(24)
    rest = [*found.values()][1:]
    assert max(rest) - min(rest) <= 1


def test_an_encoder_without_deep_layers_has_sketches_of_those_it_has() -> None:
    small = VGG(Configuration("small", (4, 6), (1, 1)))
    assert plan(small) == {"relu1_1": 10, "relu2_1": 21}
    assert plan(small, numbers=16) == {"relu1_1": 8, "relu2_1": 8}


def test_a_signature_that_is_short_enough_stays_as_it_is() -> None:
    values = vector(0, 256)
    assert torch.equal(of(values), values)


def test_the_sketch_of_a_mixture_is_the_mixture_of_the_sketches() -> None:
    one, other = vector(0), vector(1)
    assert_close(of(0.3 * one + 0.7 * other), 0.3 * of(one) + 0.7 * of(other), rtol=1e-4, atol=1e-4)


def test_inner_products_are_nearly_kept() -> None:
    """With an error of |a| |b| / √length: 1/16, of which three are allowed, for each of many pairs."""
    for seed in range(20):
        one, other = vector(seed), vector(seed) + vector(100 + seed)
        error = float(of(one) @ of(other) - one @ other) / float(one.norm() * other.norm())
        assert abs(error) < 3 / 16


def test_errors_of_inner_products_have_no_direction() -> None:
    errors = []
    for seed in range(40):
        one = vector(seed)
        errors.append(float(of(one).square().sum() / one.square().sum()) - 1)
    assert abs(sum(errors) / len(errors)) < 3 * 2**0.5 / 16 / 40**0.5


def test_layers_are_sketched_each_in_its_own_way() -> None:
    values = vector(0)
    assert not torch.equal(of(values), of(values, layer="relu4_1"))


def test_a_sketch_is_the_same_for_ever() -> None:
    """Libraries hold what an earlier impasto made."""
    found = of(torch.arange(1.0, 41.0), length=8)
    assert found.tolist() == [23.0, -20.0, 27.0, 53.0, 45.0, -21.0, -11.0, 16.0]


def test_every_number_counts_once_with_a_sign_of_its_own() -> None:
    signs = []
    for place in range(400):
        (own,) = of(torch.eye(400)[place], length=16).nonzero()
        signs.append(float(of(torch.eye(400)[place], length=16)[own]))
    assert set(signs) == {-1.0, 1.0}
    assert abs(sum(signs)) < 3 * 20


@pytest.mark.parametrize(("height", "width"), [(1, 20_000), (2000, 10)])
def test_a_thread_of_pixels_is_refused_before_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    monkeypatch.setattr(module, "signature", None)
    picture = Picture(torch.zeros(1, 3, height, width), name="thread.png")
    with pytest.raises(PictureError, match=rf"thread\.png: {width}×{height} is too narrow to be looked at: crop it"):
        sketch_of(LITE, picture, plan(LITE))


def test_a_picture_of_which_next_to_nothing_is_visible_is_refused(lively_encoder: VGG) -> None:
    image = Image.new("RGBA", (1500, 1500), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 1))
    with pytest.raises(PictureError, match="dot: too little of it is visible"):
        sketch_of(lively_encoder, read_picture(image, name="dot"), plan(lively_encoder))


def test_numbers_that_are_none_do_not_get_into_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "signature", lambda *_: {"relu1_1": torch.full((5,), torch.nan)})
    with pytest.raises(PictureError):
        sketch_of(LITE, Picture(torch.zeros(1, 3, 8, 8)), {"relu1_1": 5})

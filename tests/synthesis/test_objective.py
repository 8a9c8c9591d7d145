"""The objective: a weighted sum over one pass of the encoder."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from impasto.encoders.vgg import VGG
from impasto.errors import UsageError
from impasto.losses import ContentLoss, Features, GramLoss, Smoothness, moments
from impasto.losses.smoothness import smoothness
from impasto.synthesis import Objective, Term
from impasto.synthesis.objective import encode


def picture(seed: int = 0) -> Tensor:
    return torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(seed))


class Watched(nn.Module):
    """An encoder that notes what it is asked for."""

    def __init__(self, encoder: VGG) -> None:
        super().__init__()
        self.encoder = encoder
        self.asked: list[list[str]] = []

    def forward(self, picture: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        self.asked.append(list(layers))
        return self.encoder(picture, self.asked[-1])


class Told:
    """A loss that keeps the features it is given."""

    layers = ("relu2_1",)

    def __call__(self, features: Features, picture: Tensor) -> Tensor:
        self.features = dict(features)
        return features["relu2_1"].float().mean()


def terms_of(encoder: VGG) -> list[Term]:
    target = encoder(picture(1), ["relu1_1", "relu2_1", "relu4_2"])
    return [
        Term("content", ContentLoss(target, {"relu4_2": 1}), 1.5),
        Term("style", GramLoss(moments(target), {"relu1_1": 1, "relu2_1": 2}), 20),
        Term("smoothness", Smoothness(), 3),
    ]


def test_total_is_the_sum_of_strength_times_loss(lively_encoder: VGG) -> None:
    terms = terms_of(lively_encoder)
    total, losses = Objective(lively_encoder, terms)(picture())
    features = lively_encoder(picture(), ["relu1_1", "relu2_1", "relu4_2"])
    assert list(losses) == ["content", "style", "smoothness"]
    for term in terms:
        assert_close(losses[term.name], term.loss(features, picture()), rtol=1e-4, atol=0)
    assert_close(total, 1.5 * losses["content"] + 20 * losses["style"] + 3 * losses["smoothness"])


def test_the_encoder_runs_once_for_all_layers(lively_encoder: VGG) -> None:
    watched = Watched(lively_encoder)
    Objective(watched, terms_of(lively_encoder))(picture())  # type: ignore[arg-type]
    assert watched.asked == [["relu1_1", "relu2_1", "relu4_2"]]


def test_terms_of_strength_0_are_neither_read_nor_reported(lively_encoder: VGG) -> None:
    watched = Watched(lively_encoder)
    content, style, smooth = terms_of(lively_encoder)
    objective = Objective(watched, [Term("content", content.loss, 0.0), style, smooth])  # type: ignore[arg-type]
    assert set(objective(picture())[1]) == {"style", "smoothness"}
    assert watched.asked == [["relu1_1", "relu2_1"]]


def test_other_strengths_replace_those_of_the_terms_they_name(lively_encoder: VGG) -> None:
    total, losses = Objective(lively_encoder, terms_of(lively_encoder))(picture(), {"style": 0.5, "content": 0})
    assert_close(total, 0.5 * losses["style"] + 3 * losses["smoothness"])


def test_a_strength_of_no_term_is_refused(lively_encoder: VGG) -> None:
    with pytest.raises(
        UsageError, match=r"strength of stile: no such loss \(did you mean style\?\); there are content"
    ):
        Objective(lively_encoder, terms_of(lively_encoder))(picture(), {"stile": 1.0})


def test_the_gradient_is_the_sum_of_those_of_the_terms(lively_encoder: VGG) -> None:
    terms = terms_of(lively_encoder)
    at = picture().requires_grad_()
    (whole,) = torch.autograd.grad(Objective(lively_encoder, terms)(at)[0], at)
    parts = [torch.autograd.grad(Objective(lively_encoder, [term])(at)[0], at)[0] for term in terms]
    assert_close(whole, sum(parts), rtol=1e-3, atol=1e-6)


def test_losses_on_pixels_need_no_encoder(lively_encoder: VGG) -> None:
    total, losses = Objective(lively_encoder, [Term("smoothness", Smoothness(), 2.0)])(picture())
    assert_close(losses["smoothness"], smoothness(picture()))
    assert_close(total, 2 * losses["smoothness"])


def test_bfloat16_is_for_the_encoder_alone(lively_encoder: VGG) -> None:
    told = Told()
    terms = [*terms_of(lively_encoder), Term("told", told, 1.0)]
    at = picture().requires_grad_()
    total, losses = Objective(lively_encoder, terms, bfloat16=True)(at)
    assert told.features["relu2_1"].dtype == torch.bfloat16
    assert {total.dtype, *(loss.dtype for loss in losses.values())} == {torch.float32}
    total.backward()
    assert at.grad is not None
    assert at.grad.dtype == torch.float32
    exact = Objective(lively_encoder, terms)(picture())[1]
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(exact[name].item(), rel=0.1)


def test_without_bfloat16_features_are_float32_and_channels_last(lively_encoder: VGG) -> None:
    features = encode(lively_encoder, picture(), ["relu2_1"])["relu2_1"]
    assert features.dtype == torch.float32
    assert features.is_contiguous(memory_format=torch.channels_last)

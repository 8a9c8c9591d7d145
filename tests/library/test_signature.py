"""Signatures: Gram matrices of what lies within a picture, and their inner products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.encoders.vgg import VGG
from impasto.library.signature import packed, products, signature
from impasto.losses.gram import gram
from impasto.pictures.picture import Picture

LAYERS = ("relu1_1", "relu2_1", "relu3_1")


def smooth(height: int, width: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.library.signature.SIDE", 64)


def test_inner_products_are_those_of_the_matrices() -> None:
    a, b = (torch.rand(5, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    a, b = a + a.T, b + b.T
    assert len(packed(a)) == 15
    assert float(packed(a) @ packed(b)) == pytest.approx(float((a * b).sum()), rel=1e-6)


def test_nothing_beyond_the_border_counts(lively_encoder: VGG) -> None:
    """The same picture in surroundings of its own: the positions that see it alone have the same features."""
    whole = smooth(128, 128)
    found = signature(lively_encoder, Picture(whole[..., 32:96, 32:96].contiguous()), LAYERS)
    features = lively_encoder(whole, LAYERS)
    for layer, border in zip(LAYERS, (1, 2, 3), strict=True):  # fields of 3, 10 and 24 pixels, 1, 2 and 4 apart
        stride = lively_encoder.geometry[layer].stride
        inside = slice(32 // stride + border, 96 // stride - border)
        assert_close(found[layer], packed(gram(features[layer][..., inside, inside])[0]), rtol=1e-4, atol=1e-5)


def test_size_does_not_matter_much(lively_encoder: VGG) -> None:
    coarse = smooth(64, 64)
    fine = torch.nn.functional.interpolate(coarse, scale_factor=3, mode="bicubic").clamp(0, 1)
    found, larger = (signature(lively_encoder, Picture(one), LAYERS) for one in (coarse, fine))
    other = signature(lively_encoder, Picture(smooth(64, 64, 1)), LAYERS)
    for layer in LAYERS:
        assert (found[layer] - larger[layer]).norm() < 0.2 * (found[layer] - other[layer]).norm()


def test_what_is_transparent_does_not_count(lively_encoder: VGG) -> None:
    alpha = torch.zeros(1, 1, 64, 64)
    alpha[..., :40] = 1
    one, other = smooth(64, 64), smooth(64, 64, 1)
    mixed = torch.where(alpha > 0, one, other)
    for layer in LAYERS:
        found, same = (signature(lively_encoder, Picture(pixels, alpha), LAYERS)[layer] for pixels in (one, mixed))
        plain = signature(lively_encoder, Picture(mixed), LAYERS)[layer]
        assert (found - same).norm() < 0.3 * (found - plain).norm()  # the rim of a receptive field may see over


@pytest.mark.parametrize(("height", "width"), [(300, 16), (8, 8), (40, 900)])
def test_any_shape_has_one(lively_encoder: VGG, height: int, width: int) -> None:
    found = signature(lively_encoder, Picture(smooth(height, width)), LAYERS)
    assert all(bool(vector.isfinite().all()) and float(vector.norm()) > 0 for vector in found.values())


def test_layers_count_alike(lively_encoder: VGG) -> None:
    works = [signature(lively_encoder, Picture(smooth(64, 64, seed)), LAYERS) for seed in range(4)]
    content = signature(lively_encoder, Picture(smooth(64, 64, 9)), LAYERS)
    found = products(works, content)
    for layer in LAYERS:
        assert np.trace(found[layer].works) == pytest.approx(4)
        unit = sum(float(work[layer].double().square().sum()) for work in works) / 4
        assert found[layer].works[1, 2] == pytest.approx(float(works[1][layer] @ works[2][layer]) / unit, rel=1e-5)
        assert found[layer].with_content[3] == pytest.approx(float(works[3][layer] @ content[layer]) / unit, rel=1e-5)
        assert found[layer].content == pytest.approx(float(content[layer].square().sum()) / unit, rel=1e-5)
    both = found["relu1_1"] + found["relu2_1"]
    np.testing.assert_allclose(both.works, found["relu1_1"].works + found["relu2_1"].works)
    assert both.content == found["relu1_1"].content + found["relu2_1"].content

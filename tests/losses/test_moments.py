"""Raw moments: known examples, masks, mixtures, precision."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.testing import assert_close

from impasto.losses import Moments, mixture, moments
from impasto.losses.moments import affine, moment_sums


def features(seed: int, height: int = 16, width: int = 16, channels: int = 5) -> Tensor:
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed)) + 1


def moments_of(values: Tensor, where: Tensor | None = None) -> Moments:
    return moments({"layer": values}, where=None if where is None else {"layer": where})["layer"]


def test_moments_of_a_known_example() -> None:
    found = moments_of(torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]]))
    assert_close(found.mean, torch.tensor([[2.0, 2.0]]))
    assert_close(found.second, torch.tensor([[[5.0, 6.0], [6.0, 8.0]]]))
    assert_close(found.covariance, torch.tensor([[[1.0, 2.0], [2.0, 4.0]]]))


def test_masked_moments_are_those_of_the_positions_left() -> None:
    where = torch.zeros(1, 1, 16, 16)
    where[..., 2:9, 3:12] = 0.4
    masked, cut = moments_of(features(0), where), moments_of(features(0)[..., 2:9, 3:12])
    assert_close(masked.mean, cut.mean)
    assert_close(masked.covariance, cut.covariance)


def test_moments_are_float32_even_from_bfloat16() -> None:
    half = torch.cat([torch.zeros(1, 1, 256, 256), torch.ones(1, 1, 256, 256)], dim=3).bfloat16()
    found = moments_of(half)
    assert found.mean.dtype == found.second.dtype == torch.float32
    assert_close(found.mean, torch.tensor([[0.5]]))
    assert_close(found.covariance, torch.tensor([[[0.25]]]))


@pytest.mark.parametrize(("kind", "soft_error"), [(torch.bfloat16, 1e-4), (torch.float32, 1e-6)])
def test_sums_are_as_precise_as_float32(kind: torch.dtype, soft_error: float) -> None:
    values = features(0, height=128, width=128, channels=64).abs().to(kind)
    for ours, exact in zip(moment_sums(values), moment_sums(values.double()), strict=True):
        assert (ours - exact).norm() < 1e-6 * exact.norm()
    rows = values.double().flatten(2)
    assert_close(moment_sums(values.double())[1], rows @ rows.mT)
    where = torch.linspace(0, 1, 128).expand(1, 1, 128, 128)
    ours, exact = moment_sums(values, where)[1], moment_sums(values.double(), where.double())[1]
    assert (ours - exact).norm() < soft_error * exact.norm()


@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="PyTorch before 2.9")
def test_only_bfloat16_features_are_multiplied_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul, seen = torch.backends.mkldnn.matmul, []
    before = matmul.fp32_precision
    addmm_ = Tensor.addmm_

    def noting(sums: Tensor, *factors: Tensor) -> Tensor:
        seen.append(matmul.fp32_precision)
        return addmm_(sums, *factors)

    monkeypatch.setattr(Tensor, "addmm_", noting)
    moments_of(features(0).bfloat16())
    moments_of(features(0))
    assert seen == ["bf16", before]
    assert matmul.fp32_precision == before != "bf16"


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_bfloat16_features_are_those_of_float32_nearly(weighted: bool) -> None:
    half = features(0, channels=32).abs().bfloat16()
    where = torch.linspace(0, 1, 256).view(1, 1, 16, 16) if weighted else None
    gradients = []
    for values in (half, half.float()):
        values = values.requires_grad_()
        found = moments_of(values, where)
        gradients.append(torch.autograd.grad((found.second.square().sum() + found.mean.sum()), values)[0])
    assert gradients[0].dtype == torch.bfloat16
    assert (gradients[0].float() - gradients[1]).norm() < 0.005 * gradients[1].norm()


def test_a_mixture_has_the_moments_of_the_collage() -> None:
    left, right = features(0, width=4), features(1, width=12)
    mixed = mixture([moments({"a": left}), moments({"a": right})], [0.25, 0.75])["a"]
    whole = moments_of(torch.cat([left, right], dim=3))
    assert_close(mixed.mean, whole.mean)
    assert_close(mixed.second, whole.second)


@pytest.mark.parametrize("narrowest", [1, 2, 32])
@pytest.mark.parametrize("block", [1, 5, 100])
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_those_of_all_positions_and_so_are_gradients(
    weighted: bool, block: int, narrowest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("impasto.losses.moments")
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "NARROWEST", narrowest)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    where = torch.rand(2, 1, 4, 3, generator=generator, dtype=torch.float64) if weighted else None
    first, second, count = moment_sums(values, where)
    weights = torch.ones(2, 1, 4, 3, dtype=torch.float64) if where is None else where
    assert_close(first, torch.einsum("bchw,bxhw->bc", values, weights))
    assert_close(second, torch.einsum("bchw,bdhw,bxhw->bcd", values, values, weights))
    assert_close(count, weights.sum((2, 3)))
    tilt = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)  # a gradient that is not symmetric

    def tilted(values: Tensor) -> Tensor:
        first, second, _ = moment_sums(values, where)
        return (second * tilt).sum() + (first * tilt[:, 0]).sum()

    assert gradcheck(tilted, (values,))


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_an_affine_map_of_rows(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values, matrix, offset = (torch.randn(*size, generator=generator) for size in ((rows, 3), (3, 3), (3,)))
    assert_close(affine(values, matrix, offset), values @ matrix + offset)

"""Frugal operations give what PyTorch's own do, and their gradients, and keep less."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.encoders.frugal import convolve, crop, rectified_max_pool

LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def plain_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: str) -> Tensor:
    alike = {"zeros": "constant"}
    if padding in ("circular-x", "circular-y"):
        modes = ("circular", "replicate") if padding == "circular-x" else ("replicate", "circular")
        x = F.pad(F.pad(x, (1, 1, 0, 0), mode=modes[0]), (0, 0, 1, 1), mode=modes[1])
    elif padding != "none":
        x = F.pad(x, (1, 1, 1, 1), mode=alike.get(padding, padding))
    return F.conv2d(x, weight, bias)


def assert_same(ours: Callable[[Tensor], Tensor], reference: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Equal results, and equal gradients for random gradients of the result."""
    a, b = (x.clone(memory_format=torch.preserve_format).requires_grad_() for _ in range(2))
    result, expected = ours(a), reference(b)
    torch.testing.assert_close(result, expected)
    upstream = torch.randn_like(expected)
    result.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("padding", ["replicate", "reflect", "circular", "circular-x", "circular-y", "zeros", "none"])
@pytest.mark.parametrize(("height", "width"), [(9, 7), (4, 3)])
def test_a_convolution_and_its_gradient(padding: str, layout: torch.memory_format, height: int, width: int) -> None:
    x = torch.randn(2, 4, height, width, dtype=torch.float64).contiguous(memory_format=layout)
    weight, bias = torch.randn(5, 4, 3, 3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    assert_same(lambda v: convolve(v, weight, bias, padding), lambda v: plain_convolution(v, weight, bias, padding), x)


@pytest.mark.parametrize("padding", ["replicate", "reflect", "circular", "circular-x", "zeros", "none"])
def test_a_convolution_that_is_trained(padding: str) -> None:
    """Its own gradient, and that of what goes in, of which the same is used elsewhere, too."""
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    weight = torch.randn(5, 4, 3, 3, dtype=torch.float64).requires_grad_()
    assert_same(
        lambda v: convolve(v, weight, None, padding) + v.sum(),
        lambda v: plain_convolution(v, weight, None, padding) + v.sum(),
        x,
    )
    gradients = []
    for way in (plain_convolution, convolve):
        weight.grad = None
        way(x, weight, None, padding).square().sum().backward()
        gradients.append(weight.grad)
    torch.testing.assert_close(*gradients)


def test_a_single_position_has_nothing_to_reflect() -> None:
    with pytest.raises(ValueError, match="1×3 positions have nothing to reflect"):
        convolve(torch.randn(1, 2, 3, 1), torch.randn(3, 2, 3, 3), None, "reflect")


def test_a_single_position_is_padded_too() -> None:
    x = torch.randn(1, 2, 1, 1, dtype=torch.float64)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    for padding in ("replicate", "circular", "zeros"):
        assert_same(
            lambda v, p=padding: convolve(v, weight, None, p),  # type: ignore[misc]
            lambda v, p=padding: plain_convolution(v, weight, None, p),  # type: ignore[misc]
            x,
        )


def test_a_readout_is_a_convolution_of_one_position() -> None:
    x = torch.randn(1, 4, 5, 6, dtype=torch.float64)
    weight, bias = torch.randn(7, 4, 1, 1, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    assert_same(lambda v: convolve(v, weight, bias, "none"), lambda v: F.conv2d(v, weight, bias), x)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("height", "width"), [(8, 6), (9, 7), (2, 3), (1, 4)])
def test_pooling_and_its_gradient(layout: torch.memory_format, height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64).contiguous(memory_format=layout)
    if height < 2:
        assert rectified_max_pool(x).shape == (2, 3, 0, 2)
        return
    assert_same(rectified_max_pool, lambda v: F.max_pool2d(F.relu(v), 2), x)


def test_of_equal_maxima_the_first_takes_the_gradient() -> None:
    x = torch.tensor([[1.0, 1, 2, 3], [1, 1, 3, 3]], dtype=torch.float64)[None, None]
    assert_same(rectified_max_pool, lambda v: F.max_pool2d(F.relu(v), 2), x)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cropping_and_its_gradient(layout: torch.memory_format) -> None:
    place = slice(1, 4), slice(2, 7)
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64).to(memory_format=layout)
    assert_same(lambda x: crop(x, *place), lambda x: x[..., *place], x)


def test_the_gradient_of_a_crop_lies_as_features_do() -> None:
    x = torch.randn(1, 3, 5, 8).to(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(crop(x, slice(1, 4), slice(2, 7)).sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_weights_learn_when_they_are_asked_to() -> None:
    x, bias = torch.randn(1, 2, 5, 5), torch.zeros(3, requires_grad=True)
    ours, reference = (torch.ones(3, 2, 3, 3, requires_grad=True) for _ in range(2))
    convolve(x, ours, bias, "replicate").square().sum().backward()
    plain_convolution(x, reference, bias, "replicate").square().sum().backward()
    torch.testing.assert_close(ours.grad, reference.grad)


def test_no_input_is_kept() -> None:
    """What autograd saves of a convolution and a pooling, in bytes per position and channel of the input."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    x = torch.randn(1, 16, 64, 64, requires_grad=True)
    weight = torch.randn(16, 16, 3, 3)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        rectified_max_pool(convolve(x, weight, None, "replicate"))
    per_value = sum(t.numel() * t.element_size() for t in kept if t is not weight) / x.numel()
    assert 0 < per_value <= 1


def test_numbers_that_are_none_stay_so() -> None:
    x = torch.full((1, 1, 4, 4), torch.nan)
    assert rectified_max_pool(x).isnan().all()

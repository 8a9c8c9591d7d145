"""The matting Laplacian: what is locally affine in the content is free, in float32, in tiles and under masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.encoders import VGG
from impasto.encoders.tiling import Tile, tiles
from impasto.losses.matting import EPSILON, MattingLoss, quadratic_form, window_roots

LEVIN = 1e-7
"""The ε of the papers, where rounding is most dangerous."""


def noise(seed: int, height: int = 9, width: int = 11) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grey(picture: Tensor) -> Tensor:
    return picture.mean(1, keepdim=True).expand_as(picture)


def laplacian(content: Tensor, epsilon: float) -> Tensor:
    """Levin, Lischinski, Weiss (2008), eq. 12, as the matrix that it is."""
    height, width = content.shape[-2:]
    colours = content[0].flatten(1).T.numpy()
    numbers = np.arange(height * width).reshape(height, width)
    matrix = np.zeros((height * width, height * width))
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            window = numbers[row - 1 : row + 2, column - 1 : column + 2].ravel()
            centred = colours[window] - colours[window].mean(0)
            covariance = centred.T @ centred / 9 + epsilon / 9 * np.eye(3)
            affinity = (1 + centred @ np.linalg.inv(covariance) @ centred.T) / 9
            matrix[np.ix_(window, window)] += np.eye(9) - affinity
    return torch.from_numpy(matrix)


def value_and_product(content: Tensor, picture: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    roots, contrast = window_roots(content, epsilon)
    return quadratic_form(picture, content, roots, torch.ones_like(contrast))


def loss_and_gradient(loss: MattingLoss, picture: Tensor) -> tuple[Tensor, Tensor]:
    picture = picture.clone().requires_grad_()
    value = loss({}, picture)
    value.backward()  # type: ignore[no-untyped-call]
    assert picture.grad is not None
    return value.detach(), picture.grad


def sky(height: int = 40, width: int = 60) -> Tensor:
    """A dusk whose neighbours differ by less than a step of 8 bits."""
    down, right = torch.linspace(0, 1, height).double()[:, None], torch.linspace(0, 1, width).double()
    red, green, blue = 0.4 + 0.2 * down, 0.5 + 0.1 * down + 0.03 * right**2, 0.7 - 0.1 * down * right
    return torch.stack([channel.expand(height, width) for channel in (red, green, blue)])[None]


@pytest.mark.parametrize("epsilon", [LEVIN, EPSILON, 1e-2])
@pytest.mark.parametrize(
    "content", [noise(0), noise(0).mean(1, keepdim=True).expand(1, 3, -1, -1)], ids=["rgb", "grey"]
)
def test_the_windows_are_levins_matrix(content: Tensor, epsilon: float) -> None:
    matrix, picture = laplacian(content, epsilon), noise(1)
    value, product = value_and_product(content, picture, epsilon)
    channels = picture[0].flatten(1)
    assert_close(product[0].flatten(1), channels @ matrix, rtol=0, atol=1e-8)
    assert_close(value, (channels @ matrix * channels).sum(), rtol=1e-8, atol=0)


def test_the_gradient_is_that_of_the_loss() -> None:
    loss = MattingLoss(noise(0, 6, 5), where=noise(2, 6, 5)[:, :1])
    assert torch.autograd.gradcheck(lambda x: loss({}, x), noise(1, 6, 5).requires_grad_())


def test_the_loss_is_relative_to_the_contents_contrast() -> None:
    content, picture = noise(0), noise(1)
    patches = torch.nn.functional.unfold(content, 3).view(3, 9, -1)
    contrast = (patches - patches.mean(1, keepdim=True)).square().sum()
    assert_close(MattingLoss(content)({}, picture), value_and_product(content, picture, EPSILON)[0] / contrast)


def test_affine_functions_of_the_content_are_free_and_others_are_not() -> None:
    content, colours = noise(0), torch.tensor([[0.5, 0.2, -0.3], [-0.6, 0.1, 0.4], [0.0, 0.9, 0.2]]).double()
    toned = torch.einsum("ck,bkhw->bchw", colours, content) + 0.2
    assert MattingLoss(content, epsilon=LEVIN)({}, toned) < 1e-7
    assert MattingLoss(content)({}, toned) < 1e-4
    assert 0.1 < MattingLoss(content)({}, noise(1)) < 1
    assert MattingLoss(content)({}, toned.roll(1, 3)) > 0.1


def test_a_flat_picture_has_no_gradient() -> None:
    value, gradient = loss_and_gradient(MattingLoss(noise(0).float()), torch.full((1, 3, 9, 11), 0.3))
    assert value == 0
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("epsilon", [LEVIN, EPSILON])
@pytest.mark.parametrize("tones", ["rgb", "grey"])
def test_float32_is_enough_for_a_smooth_sky(tones: str, epsilon: float) -> None:
    content = (sky() if tones == "rgb" else grey(sky())).float()
    picture = (sky().flip(3) ** 2).float()
    value, gradient = loss_and_gradient(MattingLoss(content, epsilon=epsilon), picture)
    exact, exact_gradient = loss_and_gradient(MattingLoss(content.double(), epsilon=epsilon), picture.double())
    assert value.dtype == gradient.dtype == torch.float32
    assert abs(value - exact) < 1e-2 * exact
    assert (gradient - exact_gradient).norm() < 1e-2 * exact_gradient.norm()


def test_float32_is_enough_for_a_black_and_white_photograph() -> None:
    """With a trace of colour, of the size of ε, that must not drown beside its contrasts."""
    content, picture = (0.9 * grey(noise(0)).round() + 3e-4 * noise(2)).float(), noise(1).float()
    value, gradient = loss_and_gradient(MattingLoss(content, epsilon=LEVIN), picture)
    exact, exact_gradient = loss_and_gradient(MattingLoss(content.double(), epsilon=LEVIN), picture.double())
    assert abs(value - exact) < 2e-3 * exact
    assert (gradient - exact_gradient).norm() < 2e-3 * exact_gradient.norm()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("layers", [(), ("relu3_1",)])
def test_tiles_add_up(lively_encoder: VGG, layers: tuple[str, ...], weighted: bool) -> None:
    height, width = 97, 130
    where = noise(2, height, width)[:, :1] if weighted else None
    loss, picture = MattingLoss(noise(0, height, width), where), noise(1, height, width)
    whole, whole_gradient = loss_and_gradient(loss, picture)
    total, gradient = torch.zeros((), dtype=torch.float64), torch.zeros_like(picture)
    parts = tiles(lively_encoder, layers, height, width, 24)
    assert len(parts) > 12
    for tile in parts:
        part = tile.of(picture).clone().requires_grad_()
        (error,) = loss.sums({}, part, tile)
        tile.add(torch.autograd.grad(loss.of_sums((error,)), part)[0], gradient)
        total += error.detach()
    assert_close(loss.of_sums((total,)), whole, rtol=1e-9, atol=0)
    assert (gradient - whole_gradient).abs().max() <= 1e-9 * whole_gradient.abs().max()


def test_a_core_without_windows_adds_nothing(lively_encoder: VGG) -> None:
    picture = noise(1, 33, 20)
    loss = MattingLoss(noise(0, 33, 20))
    narrow = Tile(33, 20, (32, 33), (0, 20), (31, 33), (0, 20), {})
    part = narrow.of(picture).clone().requires_grad_()
    (error,) = loss.sums({}, part, narrow)
    assert error == 0
    assert torch.autograd.grad(error, part)[0].abs().max() == 0


def test_hidden_pixels_have_no_influence() -> None:
    where = torch.ones(1, 1, 9, 11, dtype=torch.float64)
    where[..., 6:] = 0
    hidden = where.expand(1, 3, -1, -1) == 0
    other_content, other_picture = noise(0).where(~hidden, noise(3)), noise(1).where(~hidden, noise(4))
    value, gradient = loss_and_gradient(MattingLoss(noise(0), where), noise(1))
    assert_close(value, MattingLoss(other_content, where)({}, other_picture))
    assert_close(value, MattingLoss(noise(0)[..., :6])({}, noise(1)[..., :6]))
    assert gradient[hidden].abs().max() == 0
    assert gradient[..., :6].abs().min() > 0


def test_a_strength_means_the_same_at_every_size() -> None:
    def smooth(seed: int, size: int) -> Tensor:
        return torch.nn.functional.interpolate(noise(seed, 24, 24), (size, size), mode="bicubic")

    losses = [float(MattingLoss(grey(smooth(0, size)))({}, smooth(1, size))) for size in (96, 192, 384)]
    assert max(losses) < 1.2 * min(losses)


def test_the_height_of_a_band_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    roots, contrast = window_roots(noise(0, 23, 7), EPSILON)
    monkeypatch.setattr("impasto.losses.matting.BAND", 4)
    assert_close(window_roots(noise(0, 23, 7), EPSILON), (roots, contrast), rtol=0, atol=0)


@pytest.mark.parametrize("windows", [1, 15, 16, 1000])  # of bands of 1, 3, 3 and all rows
def test_how_many_windows_are_looked_at_together_changes_nothing(monkeypatch: pytest.MonkeyPatch, windows: int) -> None:
    content, picture = noise(0, 24, 7), noise(1, 24, 7)
    roots, _ = window_roots(content, EPSILON)
    where = noise(2, 22, 5)[:, :1]
    value, product = quadratic_form(picture, content, roots, where)
    monkeypatch.setattr("impasto.losses.matting.WINDOWS", windows)
    assert_close(quadratic_form(picture, content, roots, where), (value, product))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 8), (8, 2), (2, 2)])
def test_a_picture_without_windows_has_no_loss(height: int, width: int) -> None:
    value, gradient = loss_and_gradient(MattingLoss(noise(0, height, width)), noise(1, height, width))
    assert value == 0
    assert gradient.abs().max() == 0


def test_a_flat_or_hidden_content_gives_a_finite_loss() -> None:
    flat, hidden = torch.full((1, 3, 9, 11), 0.5), torch.zeros(1, 1, 9, 11)
    assert MattingLoss(flat)({}, noise(1).float()).isfinite()
    assert MattingLoss(noise(0).float(), hidden)({}, noise(1).float()) == 0


def test_the_loss_reads_no_layers_and_holds_the_content_fixed() -> None:
    content = noise(0).requires_grad_()
    loss = MattingLoss(content)
    assert loss.layers == ()
    assert not loss({}, noise(1)).requires_grad

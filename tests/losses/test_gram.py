"""Gram matrices: known examples, and the equalities that make them a statistic of positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.losses import GramLoss, moments
from impasto.losses.gram import gram

PICTURE = torch.zeros(1, 3, 8, 8)
ONE = {"relu1_1": 1.0}


def features(seed: int, height: int = 6, width: int = 8, batch: int = 1, channels: int = 5) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))


def test_gram_of_a_known_example() -> None:
    first, second = [[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, -1.0]]
    assert_close(gram(torch.tensor([[first, second]])), torch.tensor([[[30.0, -2.0], [-2.0, 2.0]]]) / 4)


def test_gram_of_a_collage_is_the_weighted_sum() -> None:
    left, right = features(0, width=3), features(1, width=9)
    assert_close(gram(torch.cat([left, right], dim=3)), 3 / 12 * gram(left) + 9 / 12 * gram(right))


def test_gram_does_not_depend_on_the_order_of_positions() -> None:
    shuffled = features(0).flatten(2)[..., torch.randperm(48, generator=torch.Generator().manual_seed(0))]
    assert_close(gram(shuffled.view(1, 5, 4, 12)), gram(features(0)))


def test_gram_is_per_picture_and_never_across_the_batch() -> None:
    batch = features(0, batch=3)
    assert_close(gram(batch), torch.cat([gram(one.unsqueeze(0)) for one in batch]))


def test_gram_follows_the_order_of_channels() -> None:
    order = [3, 0, 4, 1, 2]
    assert_close(gram(features(0)[:, order]), gram(features(0))[:, order][:, :, order])


def test_masked_gram_is_that_of_the_positions_left() -> None:
    where = torch.zeros(1, 1, 6, 8)
    where[..., 1:4, 2:7] = 1
    assert_close(gram(features(0), where), gram(features(0)[..., 1:4, 2:7]))


def test_soft_mask_weighs_positions() -> None:
    where = torch.cat([torch.full((1, 1, 6, 2), 0.25), torch.full((1, 1, 6, 6), 0.75)], dim=3)
    left, right = gram(features(0)[..., :2]), gram(features(0)[..., 2:])
    assert_close(gram(features(0), where), (0.25 * 2 * left + 0.75 * 6 * right) / (0.25 * 2 + 0.75 * 6))


def test_masked_gram_does_not_depend_on_how_much_counts() -> None:
    where = torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(3))
    assert_close(gram(features(0), 0.01 * where), gram(features(0), where))
    assert_close(gram(features(0), torch.full((1, 1, 6, 8), 0.3)), gram(features(0)))


def test_masks_are_per_picture() -> None:
    batch, where = features(0, batch=2), torch.rand(2, 1, 6, 8, generator=torch.Generator().manual_seed(3))
    alone = [gram(batch[i : i + 1], where[i : i + 1]) for i in range(2)]
    assert_close(gram(batch, where), torch.cat(alone))


@pytest.mark.parametrize("masked", [False, True])
def test_channels_last_and_contiguous_agree(masked: bool) -> None:
    where = torch.rand(2, 1, 6, 8, generator=torch.Generator().manual_seed(3)) if masked else None
    batch = features(0, batch=2)
    assert_close(gram(batch.contiguous(memory_format=torch.channels_last), where), gram(batch, where))


def test_gram_is_summed_in_float32_even_from_bfloat16() -> None:
    # 2 × 65536 equal products: in bfloat16 the sum would stick at 256
    ones = torch.ones(1, 2, 256, 512, dtype=torch.bfloat16)
    assert gram(ones).dtype == torch.float32
    assert_close(gram(ones), torch.ones(1, 2, 2))
    where = torch.ones(1, 1, 256, 512)
    assert_close(gram(ones, where), torch.ones(1, 2, 2))


def test_style_of_the_style_itself_is_0_and_of_nothing_1() -> None:
    loss = GramLoss(moments({"relu1_1": features(0)}), ONE)
    assert loss({"relu1_1": features(0)}, PICTURE) == 0
    assert loss({"relu1_1": torch.zeros(1, 5, 6, 8)}, PICTURE) == pytest.approx(1)


def test_style_loss_of_a_known_example() -> None:
    style, picture = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)
    assert GramLoss(moments({"relu1_1": style}), ONE)({"relu1_1": picture}, PICTURE) == pytest.approx(1 + 16)


@pytest.mark.parametrize("factor", [1e-2, 30.0])
def test_style_loss_does_not_depend_on_the_size_of_activations(factor: float) -> None:
    plain = GramLoss(moments({"relu1_1": features(0)}), ONE)({"relu1_1": features(1)}, PICTURE)
    scaled = GramLoss(moments({"relu1_1": factor * features(0)}), ONE)({"relu1_1": factor * features(1)}, PICTURE)
    assert scaled == pytest.approx(float(plain), rel=1e-5)


def test_style_loss_does_not_depend_on_the_size_of_either_picture() -> None:
    plain = GramLoss(moments({"relu1_1": features(0)}), ONE)({"relu1_1": features(1)}, PICTURE)
    style, picture = features(0).repeat(1, 1, 2, 3), features(1).repeat(1, 1, 4, 1)
    assert GramLoss(moments({"relu1_1": style}), ONE)({"relu1_1": picture}, PICTURE) == pytest.approx(
        float(plain), rel=1e-5
    )


def test_layers_are_averaged_with_weights_of_sum_1_and_those_of_weight_0_not_read() -> None:
    style, picture = ({"a": features(s), "b": features(s + 1, channels=7)} for s in (0, 2))
    loss = GramLoss(moments(style), {"a": 2.0, "b": 6.0, "relu9_9": 0.0})
    parts = [float(GramLoss(moments(style), {layer: 1.0})(picture, PICTURE)) for layer in ("a", "b")]
    assert loss.layers == ("a", "b")
    assert loss(picture, PICTURE) == pytest.approx(0.25 * parts[0] + 0.75 * parts[1])


def test_hidden_positions_of_style_and_picture_do_not_count() -> None:
    style_where, where = torch.zeros(1, 1, 6, 8), torch.zeros(1, 1, 6, 8)
    style_where[..., :3], where[..., 5:] = 1, 1
    masked = GramLoss(moments({"relu1_1": features(0)}, where={"relu1_1": style_where}), ONE, {"relu1_1": where})
    cut = GramLoss(moments({"relu1_1": features(0)[..., :3]}), ONE)
    picture = features(1).requires_grad_()
    loss = masked({"relu1_1": picture}, PICTURE)
    assert loss.item() == pytest.approx(cut({"relu1_1": features(1)[..., 5:]}, PICTURE).item(), rel=1e-5)
    loss.backward()
    assert picture.grad is not None
    assert picture.grad[..., :5].abs().max() == 0
    assert picture.grad[..., 5:].abs().max() > 0

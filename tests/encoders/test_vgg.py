"""The trunk: geometry, what it computes and what it leaves out, paddings and poolings, normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impasto.encoders.vgg import (
    RARELY_ACTIVE,
    VGG,
    Configuration,
    layer_geometry,
    measure_mean_activations,
    normalise_activations,
)
from impasto.errors import UsageError

SLIM = Configuration("slim", (3, 4, 5, 6, 7))


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def trunk(configuration: Configuration = SLIM, dtype: torch.dtype = torch.float64) -> VGG:
    encoder = VGG(configuration).to(dtype).requires_grad_(False)
    for convolution in encoder.convolutions.values():
        nn.init.kaiming_normal_(convolution.weight)
        nn.init.uniform_(convolution.bias, 0.0, 0.2)  # keeps narrow layers alive
    return encoder


def picture(height: int = 32, width: int = 32, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, dtype=torch.float64)


def test_vgg19_geometry_is_the_known_one() -> None:
    geometry = layer_geometry(Configuration("vgg19", (64, 128, 256, 512, 512)))
    assert len(geometry) == 16
    known = {"relu1_1": (64, 1, 3), "relu1_2": (64, 1, 5), "relu2_1": (128, 2, 10), "relu3_1": (256, 4, 24)}
    known |= {"relu4_1": (512, 8, 68), "relu5_1": (512, 16, 156), "relu5_4": (512, 16, 252)}
    for layer, (channels, stride, field) in known.items():
        assert (geometry[layer].channels, geometry[layer].stride, geometry[layer].receptive_field) == (
            channels,
            stride,
            field,
        )


@pytest.mark.parametrize("layer", ["relu1_2", "relu2_1", "relu3_1", "relu4_1", "relu5_1"])
def test_receptive_field_is_where_the_gradient_is_not_zero(layer: str) -> None:
    configuration = Configuration("positive", (2,) * 5, padding="none", pooling="average")
    encoder = trunk(configuration)
    for convolution in encoder.convolutions.values():
        convolution.weight.abs_()  # nothing is cut off or cancelled, so every pixel seen has a gradient
    encoder.mean.zero_()
    field = encoder.geometry[layer].receptive_field
    x = (picture(256, 256) + 0.1).requires_grad_()
    features = encoder(x, [layer])[layer]
    middle = features.shape[-1] // 2
    features[0, :, middle, middle].sum().backward()
    assert x.grad is not None
    rows = x.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    columns = x.grad.abs().sum(dim=(0, 1, 2)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == field
    assert int(columns.max() - columns.min()) + 1 == field
    smallest = torch.rand(1, 3, field, field, dtype=torch.float64)
    assert encoder(smallest, [layer])[layer].shape[-2:] == (1, 1)


def test_every_layer_has_its_channels_and_its_stride() -> None:
    encoder = trunk()
    for layer, features in encoder(picture(48, 64, batch=2), encoder.layers).items():
        place = encoder.geometry[layer]
        assert features.shape == (2, place.channels, 48 // place.stride, 64 // place.stride)
        assert features.min() >= 0


def test_convolutions_of_a_block_may_differ_in_width() -> None:
    encoder = VGG(Configuration("uneven", (4, (6, 3)), (2, 2)))
    assert [encoder.channels(layer) for layer in encoder.layers] == [4, 4, 6, 3]
    features = encoder(torch.rand(1, 3, 8, 8), ["relu2_1", "relu2_2"])
    assert [tuple(f.shape[1:]) for f in features.values()] == [(6, 4, 4), (3, 4, 4)]
    assert Configuration.from_json(encoder.configuration.to_json()) == encoder.configuration


def test_only_the_layers_asked_for_come_back() -> None:
    assert list(trunk()(picture(), ["relu3_1", "relu1_2"])) == ["relu1_2", "relu3_1"]
    assert trunk()(picture(), []) == {}


def test_nothing_beyond_the_deepest_layer_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = trunk()
    computed = []
    convolve = encoder._convolve
    monkeypatch.setattr(encoder, "_convolve", lambda x, layer: (computed.append(layer), convolve(x, layer))[1])
    encoder(picture(), ["relu1_1", "relu2_1"])
    assert computed == ["relu1_1", "relu1_2", "relu2_1"]


@pytest.mark.parametrize("vary", [lambda e: e.with_pooling("average"), lambda e: e.with_padding("circular")])
def test_variations_share_their_weights_and_leave_the_original_alone(vary) -> None:  # type: ignore[no-untyped-def]
    encoder = trunk()
    x = picture()
    before = encoder(x, ["relu3_1"])["relu3_1"]
    twin = vary(encoder)
    assert not torch.equal(twin(x, ["relu3_1"])["relu3_1"], before)
    assert torch.equal(encoder(x, ["relu3_1"])["relu3_1"], before)
    for own, shared in zip(encoder.parameters(), twin.parameters(), strict=True):
        assert own.data_ptr() == shared.data_ptr()
    assert twin.configuration != encoder.configuration


def test_average_pooling_is_the_mean_of_four_doubled() -> None:
    encoder = trunk().with_pooling("average")
    x = picture()
    features = encoder(x, ["relu1_2", "relu2_1"])
    shallow = features["relu1_2"].unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
    pooled = F.pad(2 * shallow.mean(dim=(3, 5)), (1, 1, 1, 1), mode="replicate")
    convolution = encoder.convolution("relu2_1")
    expected = F.relu(F.conv2d(pooled, convolution.weight, convolution.bias))
    torch.testing.assert_close(features["relu2_1"], expected)


def test_max_pooling_takes_the_largest_of_four() -> None:
    encoder = trunk()
    features = encoder(picture(), ["relu1_2", "relu2_1"])
    shallow = features["relu1_2"].unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
    pooled = F.pad(shallow.amax(dim=(3, 5)), (1, 1, 1, 1), mode="replicate")
    convolution = encoder.convolution("relu2_1")
    torch.testing.assert_close(features["relu2_1"], F.relu(F.conv2d(pooled, convolution.weight, convolution.bias)))


def test_circular_padding_rolls_with_the_picture() -> None:
    encoder = trunk().with_padding("circular")
    x = picture(64, 96)
    features = encoder(x, encoder.layers)
    rolled = encoder(x.roll((32, -16), dims=(2, 3)), encoder.layers)
    for layer, place in encoder.geometry.items():
        expected = features[layer].roll((32 // place.stride, -16 // place.stride), dims=(2, 3))
        torch.testing.assert_close(rolled[layer], expected)


@pytest.mark.parametrize(("padding", "axis"), [("circular-x", 3), ("circular-y", 2)])
def test_padding_may_be_circular_along_one_axis(padding: str, axis: int) -> None:
    encoder = trunk().with_padding(padding)  # type: ignore[arg-type]
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    at = encoder(picture, ["relu2_2"])["relu2_2"]
    rolled = [encoder(picture.roll(8, one), ["relu2_2"])["relu2_2"].roll(-4, one) for one in (axis, 5 - axis)]
    assert torch.allclose(rolled[0], at, atol=1e-5)
    assert not torch.allclose(rolled[1], at, atol=1e-3)


def test_paddings_differ_only_within_half_a_receptive_field_of_the_border() -> None:
    encoder = trunk()
    x = picture(96, 96)
    reference = encoder(x, ["relu3_1"])["relu3_1"]
    margin = -(-encoder.geometry["relu3_1"].receptive_field // 2 // encoder.geometry["relu3_1"].stride)
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    for padding in ("reflect", "zeros", "circular"):
        other = encoder.with_padding(padding)(x, ["relu3_1"])["relu3_1"]
        torch.testing.assert_close(other[inner], reference[inner])
        assert not torch.allclose(other, reference)


def test_replicate_padding_leaves_a_plain_picture_plain() -> None:
    features = trunk()(torch.full((1, 3, 32, 32), 0.4, dtype=torch.float64), ["relu5_1"])["relu5_1"]
    torch.testing.assert_close(features, features[..., :1, :1].expand_as(features))


def test_bgr_trunk_sees_the_channels_flipped() -> None:
    rgb = trunk(Configuration("rgb", (4,), (1,), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)))
    bgr = VGG(Configuration("bgr", (4,), (1,), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), channel_order="BGR"))
    bgr.double().load_state_dict(rgb.state_dict())
    x = picture()
    assert torch.equal(bgr(x, ["relu1_1"])["relu1_1"], rgb(x[:, [2, 1, 0]], ["relu1_1"])["relu1_1"])


def test_pictures_are_normalised_by_mean_and_deviation() -> None:
    encoder = trunk(Configuration("one", (3,), (1,), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125)))
    convolution = encoder.convolution("relu1_1")
    convolution.weight.zero_()
    convolution.bias.zero_()
    for channel in range(3):
        convolution.weight[channel, channel, 1, 1] = 1.0
    features = encoder(torch.ones(1, 3, 4, 4, dtype=torch.float64), ["relu1_1"])["relu1_1"]
    assert features[0, :, 0, 0].tolist() == pytest.approx([0.9 / 0.5, 0.8 / 0.25, 0.7 / 0.125], rel=1e-6)


def test_normalised_activations_have_mean_one_and_only_a_factor_a_channel() -> None:
    encoder = trunk()
    pictures = [picture(64, 64, batch=2), picture(64, 64, batch=2)]
    x = picture(64, 64)
    before = encoder(x, encoder.layers)
    means = measure_mean_activations(encoder, pictures)
    normalise_activations(encoder, means)
    after = encoder(x, encoder.layers)
    for layer, mean in measure_mean_activations(encoder, pictures).items():
        alive = means[layer] > RARELY_ACTIVE * means[layer].mean()
        assert alive.any()
        torch.testing.assert_close(mean[alive], torch.ones_like(mean[alive]), rtol=1e-5, atol=0)
        factor = means[layer].clamp(min=RARELY_ACTIVE * float(means[layer].mean())).double().view(-1, 1, 1)
        torch.testing.assert_close(after[layer] * factor, before[layer], rtol=1e-5, atol=1e-9)


def test_a_readout_is_a_map_of_its_layer_that_the_trunk_does_not_see() -> None:
    encoder = trunk(replace(SLIM, readouts={"relu2_1": 4, "relu3_4": 9}))
    x = picture()
    read, plain = encoder(x, encoder.layers), encoder.without_readouts()(x, encoder.layers)
    for layer in encoder.layers:
        expected = F.relu(encoder.readouts[layer](plain[layer])) if layer in {"relu2_1", "relu3_4"} else plain[layer]
        torch.testing.assert_close(read[layer], expected)
    assert encoder.with_padding("zeros").readouts["relu2_1"] is encoder.readouts["relu2_1"]


def test_readouts_stay_the_same_when_activations_are_normalised() -> None:
    encoder = trunk(replace(SLIM, readouts={"relu2_2": 4}))
    x = picture(64, 64)
    before = encoder(x, ["relu2_2"])["relu2_2"]
    normalise_activations(encoder, measure_mean_activations(encoder, [x]))
    torch.testing.assert_close(encoder(x, ["relu2_2"])["relu2_2"], before)
    mean = encoder.without_readouts()(x, ["relu2_2"])["relu2_2"].mean((0, 2, 3))
    torch.testing.assert_close(mean, torch.ones_like(mean))


def test_a_dead_channel_survives_normalisation() -> None:
    encoder = trunk()
    encoder.convolution("relu2_1").bias[0] = -1e6
    normalise_activations(encoder, measure_mean_activations(encoder, [picture(64, 64)]))
    features = encoder(picture(64, 64), encoder.layers)
    assert all(f.isfinite().all() for f in features.values())
    assert features["relu2_1"][0, 0].max() == 0


def test_a_dead_layer_survives_normalisation() -> None:
    encoder = trunk()
    encoder.convolution("relu2_1").bias.data.fill_(-1e6)
    encoder.convolution("relu2_2").bias.data.fill_(-1e6)
    normalise_activations(encoder, measure_mean_activations(encoder, [picture(64, 64)]))
    assert all(f.isfinite().all() for f in encoder(picture(64, 64), encoder.layers).values())


def test_mean_activations_are_means_over_pictures_and_positions() -> None:
    encoder = trunk()
    first, second = picture(), picture()
    expected = (encoder(first, ["relu2_1"])["relu2_1"] + encoder(second, ["relu2_1"])["relu2_1"]).mean(
        dim=(0, 2, 3)
    ) / 2
    torch.testing.assert_close(measure_mean_activations(encoder, [first, second])["relu2_1"].double(), expected)


def test_unknown_layer_names_the_encoder_its_layers_and_a_near_match() -> None:
    with pytest.raises(UsageError, match=r"^relu4_5: no such layer; slim has relu1_1 … relu5_4 \(did you mean relu4_"):
        trunk()(picture(), ["relu1_1", "relu4_5"])


def test_deepest_layer_and_smallest_side() -> None:
    encoder = trunk()
    assert encoder.deepest(["relu2_1", "relu4_2", "relu4_1"]) == "relu4_2"
    assert encoder.smallest_side(["relu2_1", "relu4_2"]) == 16
    features = encoder(picture(16, 16), ["relu4_2"])["relu4_2"]
    assert features.shape[-2:] == (2, 2)


def test_configuration_comes_back_from_its_json() -> None:
    configuration = Configuration("x", (1, 2), (3, 1), channel_order="BGR", padding="circular", pooling="average")
    assert Configuration.from_json(configuration.to_json()) == configuration


@pytest.mark.parametrize("text", ["", "[1]", "7", '{"widths": [1]}', '{"name": "x", "widths": [1], "depth": 3}'])
def test_other_json_is_no_configuration(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Configuration.from_json(text)

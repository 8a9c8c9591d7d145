"""Two trunks as one encoder: the first for its own layers, the second for those after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from impasto.encoders import load_encoder
from impasto.encoders.storage import HEADER, save_encoder
from impasto.encoders.tiling import tiles, times_the_work
from impasto.encoders.vgg import (
    VGG,
    Configuration,
    Padding,
    branching_point,
    joined,
    layer_geometry,
    measure_mean_activations,
    normalise_activations,
)
from impasto.encoders.weights import weights_checksum
from impasto.errors import UsageError, WeightsError
from impasto.synthesis.objective import encode_core

FIRST = Configuration("two", (4, 6), (2, 1), channel_order="BGR", readouts={"relu2_1": 9})
BELOW = Configuration("two", (3, 5, 7), (2, 2, 1), mean=(0.1, 0.2, 0.3), readouts={"relu3_1": 8})
BRANCH = Configuration("branch", (5, 7), (2, 1), mean=(0.1, 0.2, 0.3), readouts={"relu3_1": 8}, first_block=2)
"""A second trunk that shares the first block."""
ALL = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1")


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def trunk(configuration: Configuration) -> VGG:
    encoder = VGG(configuration, branching_point(FIRST, configuration.first_block)).double().requires_grad_(False)
    for convolution in (*encoder.convolutions.values(), *encoder.readouts.values()):
        nn.init.kaiming_normal_(convolution.weight)
        nn.init.uniform_(convolution.bias, 0.0, 0.2)
    return encoder


@pytest.fixture
def both() -> tuple[VGG, VGG, VGG]:
    """The two trunks, and the encoder that they make together."""
    first, below = trunk(FIRST), trunk(BELOW)
    return first, below, joined(first, below)


def picture(height: int = 24, width: int = 32) -> Tensor:
    return torch.rand(1, 3, height, width, dtype=torch.float64)


def test_each_layer_is_that_of_its_trunk(both: tuple[VGG, VGG, VGG]) -> None:
    first, below, encoder = both
    x = picture()
    features = encoder(x, ALL)
    own, deeper = first(x, first.layers), below(x, below.layers)
    assert encoder.layers == ALL
    for layer in ALL:
        expected = own[layer] if layer in first.layers else deeper[layer]
        assert torch.equal(features[layer], expected)
        assert features[layer].shape[1] == encoder.channels(layer)
    assert encoder.geometry == layer_geometry(BELOW) | layer_geometry(FIRST)
    assert encoder(x, ["relu3_1"]).keys() == {"relu3_1"}
    assert encoder(x, ["relu1_2"]).keys() == {"relu1_2"}
    assert encoder(x, []) == {}


def test_the_second_trunk_goes_on_where_the_first_ends(both: tuple[VGG, VGG, VGG]) -> None:
    first, below, _ = both
    with pytest.raises(UsageError, match="two: the second trunk must go on after relu3_1, where the first ends"):
        joined(below, first)


def branching() -> tuple[VGG, VGG, VGG]:
    """Two trunks that share the first block, and the encoder that they make together."""
    first, below = trunk(FIRST), trunk(BRANCH)
    return first, below, joined(first, below)


def test_a_trunk_that_branches_off_sees_the_features_before_its_first_block() -> None:
    first, below, encoder = branching()
    x = picture()
    pooled = F.max_pool2d(first(x, ["relu1_2"])["relu1_2"], 2)
    torch.testing.assert_close(first.before(2, x), pooled)
    convolution = below.convolution("relu2_1")
    own = F.relu(F.conv2d(F.pad(pooled, (1, 1, 1, 1), mode="replicate"), convolution.weight, convolution.bias))
    torch.testing.assert_close(below.after(pooled, ["relu2_1"])["relu2_1"], own)
    features = encoder(x, ALL)
    assert torch.equal(features["relu3_1"], below.after(first.before(2, x), ["relu3_1"])["relu3_1"])
    for layer in ("relu1_1", "relu1_2", "relu2_1"):
        assert torch.equal(features[layer], first(x, [layer])[layer])
    assert encoder.geometry["relu3_1"] == replace(layer_geometry(BELOW)["relu3_1"], channels=7)
    for alone in ALL:
        assert torch.equal(encoder(x, [alone])[alone], features[alone])


def test_what_both_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, below, encoder = branching()
    assert encoder.activations(["relu3_1"]) == 4 + 4 + below.activations(["relu3_1"])
    assert encoder.activations(["relu1_1", "relu3_1"]) == encoder.activations(["relu3_1"])
    assert encoder.activations(["relu2_1", "relu3_1"]) == encoder.activations(["relu3_1"]) + (6 + 9) / 4
    computed = []
    convolve = encoder._convolve
    monkeypatch.setattr(encoder, "_convolve", lambda x, layer: (computed.append(layer), convolve(x, layer))[1])
    for layers, own in ((["relu3_1"], ["relu1_1", "relu1_2"]), (ALL, ["relu1_1", "relu1_2", "relu2_1"])):
        computed.clear()
        encoder(picture(), layers)
        assert computed == own


def test_mean_activations_of_a_trunk_that_branches_off_become_1() -> None:
    first, below, encoder = branching()
    pictures = [picture() for _ in range(3)]
    before = encoder(pictures[0], ["relu3_1"])["relu3_1"]
    normalise_activations(below, measure_mean_activations(below, pictures, first))
    for mean in measure_mean_activations(below, pictures, first).values():
        torch.testing.assert_close(mean[mean > 0.5], torch.ones_like(mean[mean > 0.5]))
    torch.testing.assert_close(encoder(pictures[0], ["relu3_1"])["relu3_1"], before)


def test_what_branches_off_does_not_see_that_the_first_is_normalised() -> None:
    encoder, x = branching()[-1], picture()
    before = encoder(x, ["relu3_1"])["relu3_1"]
    shared = encoder(x, ["relu1_2"])["relu1_2"]
    normalise_activations(encoder, measure_mean_activations(encoder, [x]))
    assert not torch.allclose(encoder(x, ["relu1_2"])["relu1_2"], shared)
    torch.testing.assert_close(encoder(x, ["relu3_1"])["relu3_1"], before)


def test_a_trunk_that_branches_off_another_layer_is_refused() -> None:
    wider = VGG(BRANCH, replace(branching_point(FIRST, 2), channels=9))
    with pytest.raises(UsageError, match="branch: the second trunk goes on after a layer that the first does not have"):
        joined(trunk(FIRST), wider)
    with pytest.raises(UsageError, match="must go on after relu2_1, where the first ends"):
        joined(trunk(FIRST), trunk(replace(BRANCH, convolutions=(1,), widths=(5,), readouts={})))


def test_what_branches_off_after_the_last_block_has_the_features_of_the_whole_in_tiles() -> None:
    end = replace(BRANCH, widths=(7,), convolutions=(1,), first_block=3)
    encoder, x = joined(trunk(FIRST), trunk(end)), picture(64, 96)
    for layers in (["relu3_1"], ["relu1_1", "relu3_1"], ["relu2_1", "relu3_1"]):
        whole = encoder(x, layers)
        for tile in tiles(encoder, layers, 64, 96, 32):
            for layer, values in encode_core(encoder, tile.of(x), layers, tile).items():
                torch.testing.assert_close(values, whole[layer][(..., *tile.place(layer))])


def test_both_are_where_the_trunks_are() -> None:
    assert joined(trunk(FIRST).to("meta"), trunk(BRANCH).to("meta")).device.type == "meta"


def test_the_gradient_is_that_of_both(both: tuple[VGG, VGG, VGG]) -> None:
    first, below, encoder = both

    def gradient(*parts: tuple[VGG, str]) -> Tensor:
        x = picture_of_ones().requires_grad_()
        sum((one(x, [layer])[layer].square().sum() for one, layer in parts), start=torch.zeros(())).backward()
        assert x.grad is not None
        return x.grad

    together = gradient((encoder, "relu2_1"), (encoder, "relu3_1"))
    torch.testing.assert_close(together, gradient((first, "relu2_1"), (below, "relu3_1")))


def picture_of_ones() -> Tensor:
    return torch.linspace(0, 1, 3 * 24 * 32, dtype=torch.float64).view(1, 3, 24, 32)


def test_another_pooling_and_padding_are_both_trunks(both: tuple[VGG, VGG, VGG]) -> None:
    first, below, encoder = both
    x = picture()
    for varied, one, other in (
        (encoder.with_pooling("average"), first.with_pooling("average"), below.with_pooling("average")),
        (encoder.with_padding("circular"), first.with_padding("circular"), below.with_padding("circular")),
        (encoder.without_readouts(), first.without_readouts(), below.without_readouts()),
    ):
        assert varied.configuration == joined(one, other).configuration
        assert torch.equal(varied(x, ["relu2_1"])["relu2_1"], one(x, ["relu2_1"])["relu2_1"])
        assert torch.equal(varied(x, ["relu3_1"])["relu3_1"], other(x, ["relu3_1"])["relu3_1"])
    assert not torch.equal(encoder(x, ALL)["relu3_1"], encoder.with_pooling("average")(x, ALL)["relu3_1"])


def test_what_is_computed_is_what_layers_need(both: tuple[VGG, VGG, VGG]) -> None:
    first, below, encoder = both
    assert first.activations(["relu2_1"]) == 4 + 4 + (6 + 9) / 4
    assert below.activations(["relu3_1"]) == 3 + 3 + 5 / 4 + 5 / 4 + (7 + 8) / 16
    for layers in (["relu2_1"], ["relu3_1"], ["relu1_1", "relu3_1"], []):
        own, deeper = ([layer for layer in layers if (layer in first.layers) == is_first] for is_first in (True, False))
        assert encoder.activations(layers) == first.activations(own) + below.activations(deeper)


@pytest.mark.parametrize("padding", ["replicate", "circular"])
@pytest.mark.parametrize("below", [BELOW, BRANCH], ids=lambda one: one.name)
def test_tiles_have_the_features_of_the_whole(below: Configuration, padding: Padding) -> None:
    encoder = joined(trunk(FIRST), trunk(below)).with_padding(padding)
    layers = ["relu2_1", "relu3_1"]
    x = picture(64, 96)
    whole = encoder(x, layers)
    parts = tiles(encoder, layers, 64, 96, 32)
    assert len(parts) > 1
    for tile in parts:
        for layer, values in encode_core(encoder, tile.of(x), layers, tile).items():
            torch.testing.assert_close(values, whole[layer][(..., *tile.place(layer))])


@pytest.mark.parametrize("height", [64, 71])
def test_tiles_that_share_a_beginning_have_the_gradients_of_the_whole(height: int) -> None:
    encoder, layers = branching()[-1], ["relu1_1", "relu2_1", "relu3_1"]
    x = picture(height, 96).requires_grad_()
    whole = encoder(x, layers)
    wanted = {layer: torch.rand_like(values) for layer, values in whole.items()}
    (gradient,) = torch.autograd.grad(sum((whole[layer] * wanted[layer]).sum() for layer in layers), x)
    in_tiles = torch.zeros_like(x)
    for tile in tiles(encoder, layers, height, 96, 32):
        part = tile.of(x.detach()).requires_grad_()
        core = encode_core(encoder, part, layers, tile)
        assert core.keys() == set(layers)
        loss = sum((core[layer] * wanted[layer][(..., *tile.place(layer))]).sum() for layer in layers)
        tile.add(torch.autograd.grad(loss, part)[0], in_tiles)
    torch.testing.assert_close(in_tiles, gradient)


def test_what_is_shared_is_seen_once_with_the_larger_halo(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, layers = branching()[-1], ["relu2_1", "relu3_1"]
    seen = {}
    convolve = encoder._convolve
    monkeypatch.setattr(
        encoder, "_convolve", lambda x, layer: (seen.update({layer: x.shape[-1]}), convolve(x, layer))[1]
    )
    (tile, *_) = parts = tiles(encoder, layers, 32, 64, 32)
    encode_core(encoder, tile.of(picture(32, 64)), layers, tile)
    assert seen == {"relu1_1": 32 + 12, "relu1_2": 32 + 12, "relu2_1": (32 + 6) / 2}
    work = (8 + encoder.below.activations(["relu3_1"])) * (32 + 12) + (6 + 9) / 4 * (32 + 6)
    assert times_the_work(encoder, layers, parts) == pytest.approx(1.5 * work / (32 * encoder.activations(layers)))


def test_each_trunk_sees_no_more_of_a_tile_than_it_needs(both: tuple[VGG, VGG, VGG]) -> None:
    encoder, layers = both[-1], ["relu2_1", "relu3_1"]
    seen = {}
    encoder.register_forward_pre_hook(lambda _, given: seen.update({given[1]: tuple(given[0].shape[-2:])}))
    (tile, *_) = parts = tiles(encoder, layers, 32, 64, 32)
    encode_core(encoder, tile.of(picture(32, 64)), layers, tile)
    assert seen == {("relu2_1",): (32, 32 + 6), ("relu3_1",): (32, 32 + 12)}
    first, below = (encoder.activations(own) for own in encoder.by_trunk(layers))
    seen_by_both = (first * (32 + 6) + below * (32 + 12)) / (first + below)
    assert times_the_work(encoder, layers, parts) == pytest.approx(1.5 * seen_by_both / 32)


@pytest.mark.parametrize("below", [BELOW, BRANCH], ids=lambda one: one.name)
def test_both_trunks_are_in_the_file(below: Configuration, tmp_path: Path) -> None:
    encoder = joined(trunk(FIRST), trunk(below))
    save_encoder(encoder, tmp_path / "two.safetensors", dtype=torch.float32)
    again = load_encoder(tmp_path / "two.safetensors")
    assert again.configuration == encoder.configuration
    x = picture().float()
    for layer, values in encoder.float()(x, ALL).items():
        torch.testing.assert_close(again(x, [layer])[layer], values)
    assert weights_checksum(again) == weights_checksum(encoder)
    with torch.no_grad():
        assert again.below is not None
        again.below.convolution("relu3_1").weight[0] += 1
    assert weights_checksum(again) != weights_checksum(encoder)


@pytest.mark.parametrize(
    ("below", "sentence"),
    [
        (replace(BELOW, widths=(3, 5), convolutions=(2, 1), readouts={}), "impossible below"),  # nothing deeper
        (
            replace(BELOW, widths=(3, 5, 7), convolutions=(3, 2, 1), readouts={}),
            "impossible below",
        ),  # relu1_3 is not in the first
        (replace(BRANCH, first_block=0), "impossible below"),
        (replace(BELOW, padding="odd"), "impossible below"),
        (replace(BELOW, below=BELOW), "impossible below"),
        (
            replace(BELOW, widths=(3, 5, 8)),
            r"below.conv3_1.weight has the shape \(7, 5, 3, 3\), expected \(8, 5, 3, 3\)",
        ),
    ],
)
def test_a_file_with_an_impossible_second_trunk(
    both: tuple[VGG, VGG, VGG], tmp_path: Path, below: Configuration, sentence: str
) -> None:
    path = tmp_path / "two.safetensors"
    save_encoder(both[-1], path)
    save_file(load_file(path), path, {HEADER: replace(FIRST, below=below).to_json()})
    with pytest.raises(WeightsError, match=sentence):
        load_encoder(path)


def test_a_mean_may_be_a_list() -> None:
    listed = trunk(replace(BELOW, mean=[0.1, 0.2, 0.3]))  # type: ignore[arg-type]
    told = trunk(BELOW)
    told.load_state_dict(listed.state_dict())
    x = picture()
    assert torch.equal(listed(x, ["relu2_1"])["relu2_1"], told(x, ["relu2_1"])["relu2_1"])

"""Channels are evened out over dead leaves, and the original VGG-19 is what it was."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from impasto.encoders import VGG, load_encoder, normalise_on, originals
from impasto.encoders.dead_leaves import dead_leaves
from impasto.encoders.vgg import measure_mean_activations
from miniature import tiny_encoder

pytestmark = pytest.mark.usefixtures("cache")


def test_normalise_on_makes_means_one_unless_a_channel_is_rare() -> None:
    pictures = [dead_leaves(3, size=64)]
    encoder = tiny_encoder()
    means = measure_mean_activations(encoder, pictures)["relu1_1"]
    rare = 1.01 * float(means.min() / means.median())
    normalise_on(encoder, pictures, rare=rare)
    after = measure_mean_activations(encoder, pictures)["relu1_1"]
    expected = torch.ones(4)
    expected[means.argmin()] = 1 / 1.01
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=0)


def test_dead_leaves_are_pictures_and_repeatable() -> None:
    first = dead_leaves(5, size=64)
    assert first.shape == (1, 3, 64, 64)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert first.std() > 0.05
    assert torch.equal(first, dead_leaves(5, size=64))
    assert not torch.equal(first, dead_leaves(6, size=64))


TEACHER = Path(os.environ.get("IMPASTO_TEST_DATA", "nowhere")) / "teachers" / "vgg19-to-relu3_4.safetensors"
REAL = pytest.mark.skipif(not TEACHER.is_file(), reason="needs IMPASTO_TEST_DATA with teachers/")


@pytest.fixture
def teacher(tmp_path: Path) -> VGG:
    configuration = replace(originals.CONFIGURATIONS["vgg19-caffe"], widths=(64, 128, 256), convolutions=(2, 2, 4))
    path = tmp_path / "caffe.safetensors"
    save_file(load_file(TEACHER), path, {"impasto": configuration.to_json()})
    return load_encoder(path, padding="zeros")


@REAL
def test_the_original_vgg19_gives_its_known_features(teacher: VGG) -> None:
    weights = load_file(TEACHER)
    plain = nn.Sequential()
    channels = 3
    for block, (width, count) in enumerate([(64, 2), (128, 2), (256, 4)], 1):
        if block > 1:
            plain.append(nn.MaxPool2d(2))
        for i in range(1, count + 1):
            convolution = nn.Conv2d(channels, width, 3, padding=1)
            convolution.load_state_dict({k: weights[f"conv{block}_{i}.{k}"] for k in ("weight", "bias")})
            plain.extend([convolution, nn.ReLU()])
            channels = width
    picture = dead_leaves(0, size=96)
    bgr = picture[:, [2, 1, 0]] * 255 - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    with torch.no_grad():
        expected, found = plain(bgr), teacher(picture, ["relu3_4"])["relu3_4"]
    assert float((found - expected).norm() / expected.norm()) < 1e-4


@REAL
def test_dead_leaves_move_the_original_vgg19_as_photographs_do(teacher: VGG) -> None:
    image = pytest.importorskip("PIL.Image")
    photos = []
    for path in sorted((TEACHER.parents[1] / "photos").glob("kodim*"))[:5]:
        photo = image.open(path).convert("RGB").resize((192, 192))
        photos.append(torch.frombuffer(bytearray(photo.tobytes()), dtype=torch.uint8).view(1, 192, 192, 3))
    on_photos = measure_mean_activations(teacher, [p.permute(0, 3, 1, 2) / 255 for p in photos])
    on_leaves = measure_mean_activations(teacher, [dead_leaves(seed, size=192) for seed in range(5)])
    for layer in teacher.layers:
        ratio = (on_leaves[layer] / on_photos[layer]).clamp_min(1e-6).log2()
        assert abs(float(ratio.median())) < 1
        assert float((ratio - ratio.median()).abs().median()) < 0.6  # half of the channels within a factor 1.5

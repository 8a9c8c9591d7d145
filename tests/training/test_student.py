"""Students of training: what they are grown from, exported to and revived from stays the same function."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from impasto.encoders.vgg import VGG, Configuration
from muon import orthogonalised
from student import Moments, Student, adopt, encoder_of, grow, sparse, strongest_channels, student_of, unit_of

TARGETS = {"relu1_1": 5, "relu1_2": 5, "relu2_1": 16}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def shallow(*widths: int | tuple[int, ...]) -> Configuration:
    return Configuration("shallow", widths, (2, 1), padding="replicate")


def lively(student: Student) -> Student:
    """With statistics and shifts that are not those of the beginning."""
    for norm in student.trunk.norms.values():
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, 0.0, 0.5)
    for head in student.heads.values():
        nn.init.uniform_(head.bias, 0.0, 0.5)
    return student.eval()


@pytest.fixture
def student() -> Student:
    return lively(Student(shallow(6, 8), TARGETS))


@pytest.fixture
def crops() -> Tensor:
    return torch.rand(4, 3, 40, 40)


def moments_of(student: Student, crops: Tensor) -> dict[str, Moments]:
    with torch.no_grad():
        answers = student(crops, TARGETS)
    return {
        layer: (a.mean((0, 2, 3), keepdim=True), a.std((0, 2, 3), keepdim=True) + 0.1) for layer, a in answers.items()
    }


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for layer in one:
        torch.testing.assert_close(one[layer], other[layer], **CLOSE)


@torch.no_grad()
def test_normalisations_are_folded_into_the_convolutions(student: Student, crops: Tensor) -> None:
    same(student.trunk.folded()(crops, student.trunk.layers), student.features(crops))


@torch.no_grad()
def test_a_wider_student_begins_as_the_one_it_is_grown_from(student: Student, crops: Tensor) -> None:
    wider = lively(Student(shallow((8, 10), 12), TARGETS))
    grow(wider, student.state_dict())
    same(wider(crops, TARGETS), student(crops, TARGETS))


@torch.no_grad()
def test_a_narrower_student_keeps_the_channels_that_are_read(student: Student, crops: Tensor) -> None:
    unread = [1, 4]
    for reader in (student.heads["relu1_2"], student.trunk.convolution("relu2_1")):
        reader.weight[:, unread] = 0
    narrower = lively(Student(shallow((6, 4), 8), TARGETS))
    grow(narrower, student.state_dict())
    same(narrower(crops, TARGETS), student(crops, TARGETS))


@torch.no_grad()
def test_an_exported_encoder_reads_what_the_student_predicts(student: Student, crops: Tensor) -> None:
    moments = moments_of(student, crops)
    mean, std = moments["relu2_1"]
    mean[0, 3] = 0.0
    encoder = encoder_of(student, moments, {"relu2_1": 8})
    kept = strongest_channels(moments["relu2_1"], 8)
    assert len(kept) == 8
    assert 3 not in kept
    predicted = student(crops, ["relu2_1"])["relu2_1"] * std / unit_of(mean)
    read = sparse("relu2_1", encoder(crops, ["relu2_1"])["relu2_1"])
    torch.testing.assert_close(read, predicted[:, kept], **CLOSE)


@torch.no_grad()
def test_a_student_is_revived_from_its_export(student: Student, crops: Tensor) -> None:
    for layer in ("relu1_1", "relu1_2"):
        student.heads[layer].bias += 20.0  # never rectified, so that least squares find what is not exported
    moments = moments_of(student, crops)
    answers = student(crops, TARGETS)
    encoder = encoder_of(student, moments, {"relu2_1": 8})
    revived = student_of(encoder, None, moments, [(crops, answers)])(crops, TARGETS)
    exported = strongest_channels(moments["relu2_1"], 8)
    same(*({**found, "relu2_1": found["relu2_1"][:, exported]} for found in (revived, answers)))


def branch(seen: VGG) -> Student:
    deep = Configuration("deep", (8, 8), (1, 1), padding="replicate", first_block=2)
    return lively(Student(deep, {"relu3_1": 4}, seen))


@torch.no_grad()
def test_a_student_adopts_a_trunk_that_knows_as_much(student: Student, crops: Tensor) -> None:
    first = student.trunk.folded()
    follower = branch(first)
    before = follower(crops, ["relu3_1"])
    turned = VGG(first.configuration).eval()
    turned.convolutions.load_state_dict(first.convolutions.state_dict())
    order = torch.randperm(6)
    for parameter in turned.convolution("relu1_2").parameters():
        parameter.copy_(parameter[order].clone())
    adopt(follower, turned, [torch.rand(8, 3, 40, 40)])
    assert follower.first is turned
    same(follower(crops, ["relu3_1"]), before)


def test_the_update_of_muon_is_nearly_orthogonal() -> None:
    for shape in ((24, 60), (60, 24)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert float(values.min()) > 0.6
        assert float(values.max()) < 1.3

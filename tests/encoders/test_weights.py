"""Weights from the package and from files: what is saved is loaded, and what does not serve is named."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from impasto.encoders import VGG, load_encoder, save_encoder, weights_checksum
from impasto.errors import UsageError, WeightsError
from miniature import TINY, tiny_encoder

pytestmark = pytest.mark.usefixtures("cache")


def test_lite_is_the_default_and_ready_to_use(packaged: Path) -> None:
    save_encoder(tiny_encoder(), packaged)
    encoder = load_encoder()
    assert not encoder.training
    for parameter in encoder.parameters():
        assert not parameter.requires_grad
        assert parameter.dtype == torch.float32
    assert encoder.convolution("relu2_2").weight.is_contiguous(memory_format=torch.channels_last)
    features = encoder(torch.rand(1, 3, 16, 16), ["relu2_2"])["relu2_2"]
    assert features.shape == (1, 6, 8, 8)


def test_a_missing_packaged_file_is_said(packaged: Path) -> None:
    with pytest.raises(WeightsError, match=r"^lite: its weights are missing from this installation"):
        load_encoder("lite")


def test_what_is_saved_is_what_is_loaded(tiny_file: Path) -> None:
    encoder, saved = load_encoder(tiny_file), tiny_encoder()
    assert encoder.configuration == TINY
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(encoder(x, ["relu2_2"]), saved(x, ["relu2_2"]))
    assert list(load_file(tiny_file)) == [
        f"conv{b}_{i}.{k}" for b in (1, 2) for i in (1, 2) for k in ("bias", "weight")
    ]


def test_readouts_are_saved_and_loaded(tmp_path: Path) -> None:
    saved = VGG(replace(TINY, readouts={"relu1_2": 4, "relu2_1": 9}))
    save_encoder(saved, tmp_path / "x.safetensors", dtype=torch.float32)
    encoder = load_encoder(tmp_path / "x.safetensors")
    assert encoder.configuration == saved.configuration
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(encoder(x, encoder.layers), saved(x, saved.layers))
    assert load_file(tmp_path / "x.safetensors")["readout2_1.weight"].shape == (9, 6, 1, 1)


def test_a_missing_readout_is_named(tmp_path: Path) -> None:
    header = replace(TINY, readouts={"relu2_1": 9}).to_json()
    with pytest.raises(WeightsError, match=r"x.safetensors: readout2_1.weight is missing$"):
        load_encoder(write(tmp_path / "x.safetensors", header))


def test_files_are_float16_unless_said_otherwise(tmp_path: Path) -> None:
    save_encoder(tiny_encoder(), tmp_path / "x.safetensors")
    assert {t.dtype for t in load_file(tmp_path / "x.safetensors").values()} == {torch.float16}
    for name, tensor in load_encoder(tmp_path / "x.safetensors").convolutions.state_dict().items():
        assert torch.equal(tensor, tiny_encoder().convolutions.state_dict()[name].half().float())


def test_pooling_and_padding_are_chosen_at_loading(tiny_file: Path) -> None:
    assert load_encoder(tiny_file).configuration.padding == "replicate"
    encoder = load_encoder(tiny_file, pooling="average", padding="none")
    assert (encoder.configuration.pooling, encoder.configuration.padding) == ("average", "none")
    assert load_encoder(str(tiny_file), device=torch.device("cpu")).device.type == "cpu"


def test_loading_leaves_the_random_state_alone(tiny_file: Path) -> None:
    before = torch.random.get_rng_state()
    load_encoder(tiny_file)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"name": "vgg91"},
            r"^vgg91: no such encoder \(did you mean vgg19\?\); there are lite, vgg19, vgg19-caffe, or",
        ),
        ({"name": Path("weights.pth")}, r"^weights.pth: no such encoder; there are .* a path ending in .safetensors$"),
        ({"pooling": "averge"}, r"^pooling averge: unknown \(did you mean average\?\); there are max, average$"),
        (
            {"padding": "mirror"},
            r"^padding mirror: unknown; there are replicate, reflect, zeros, circular, circular-x, circular-y, none$",
        ),
    ],
)
def test_wrong_use_is_explained(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_encoder(**settings)


def test_a_missing_file_with_its_neighbour(tiny_file: Path) -> None:
    with pytest.raises(WeightsError, match=r"tinny.safetensors: no such file \(did you mean tiny.safetensors\?\)$"):
        load_encoder(tiny_file.with_name("tinny.safetensors"))


def write(path: Path, header: str | None, **changes: Tensor | None) -> Path:
    """The tiny encoder's file with another header, and tensors replaced (`conv1_1_weight`) or left out (None)."""
    tensors: dict[str, Tensor | None] = dict(tiny_encoder().convolutions.state_dict())
    tensors |= {"".join(name.rpartition("_")[0]) + "." + name.rpartition("_")[2]: t for name, t in changes.items()}
    metadata = {"made": "by a test"} | ({} if header is None else {"impasto": header})
    save_file({name: t.clone() for name, t in tensors.items() if t is not None}, path, metadata)
    return path


def test_a_file_without_the_header_says_which(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r'x.safetensors: its header lacks "impasto", the JSON of .*save_encoder$'):
        load_encoder(write(tmp_path / "x.safetensors", None))


@pytest.mark.parametrize(
    "change",
    [
        {"widths": "many"},
        {"widths": 7},
        {"widths": [4, -6]},
        {"widths": [4]},
        {"widths": [4.0, 6.0]},
        {"widths": []},
        {"widths": [4, []]},
        {"widths": [4, [6, -6]]},
        {"widths": [[4], 6]},
        {"convolutions": [2, 2, 2]},
        {"first_block": 0},
        {"first_block": 2},
        {"first_block": "2"},
        {"std": [0, 1, 1]},
        {"mean": [0, 1]},
        {"mean": [0, float("nan"), 1]},
        {"channel_order": "GBR"},
        {"padding": "mirror"},
        {"pooling": None},
        {"name": 7},
        {"readouts": {"relu9_1": 4}},
        {"readouts": {"relu1_1": 0}},
        {"readouts": {"relu1_1": "4"}},
        {"readouts": ["relu1_1"]},
        {"readouts": "relu1_1"},
    ],
)
def test_an_impossible_configuration_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    header = json.dumps(json.loads(TINY.to_json()) | change)
    too_few = change in ({"widths": [4]}, {"widths": [[4], 6]})
    field = "convolutions" if too_few else next(iter(change))
    with pytest.raises(WeightsError, match=rf"has an impossible {field} \("):
        load_encoder(write(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize("header", ["", "{", "[]", "{}", '{"name": "x", "widths": [4, 6], "depth": 1}', "[" * 9999])
def test_a_header_that_is_no_configuration(tmp_path: Path, header: str) -> None:
    with pytest.raises(WeightsError, match=r'x.safetensors: "impasto" in its header is no configuration'):
        load_encoder(write(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv2_1_weight": None}, r"x.safetensors: conv2_1.weight is missing$"),
        ({"conv1_2_bias": torch.zeros(5)}, r"conv1_2.bias has the shape \(5,\), expected \(4,\)$"),
        ({"conv1_1_weight": torch.zeros(4, 3, 5, 5)}, r"conv1_1.weight has the shape .* expected \(4, 3, 3, 3\)$"),
        ({"conv1_1_bias": torch.full((4,), torch.nan)}, r"conv1_1.bias has values that are no finite numbers$"),
        ({"conv1_1_bias": torch.zeros(4, dtype=torch.int32)}, r"conv1_1.bias has values that are no finite numbers$"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, change: dict[str, Tensor | None], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_encoder(write(tmp_path / "x.safetensors", TINY.to_json(), **change))


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_truncated_file_is_recognised(tiny_file: Path, length: int) -> None:
    tiny_file.write_bytes(tiny_file.read_bytes()[:length])
    with pytest.raises(WeightsError, match=r"tiny.safetensors: not a whole safetensors file"):
        load_encoder(tiny_file)


def test_a_file_of_something_else_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    torch.save({"conv1_1.weight": torch.zeros(4, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match=r"x.safetensors: not a whole safetensors file"):
        load_encoder(path)


def test_a_failed_save_leaves_the_old_file_and_no_scratch(tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny_file.read_bytes()

    def full(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WeightsError, match=r"tiny.safetensors: cannot be written \(No space left on device\)$"):
        save_encoder(tiny_encoder(seed=1), tiny_file)
    monkeypatch.undo()
    assert tiny_file.read_bytes() == before
    assert [p.name for p in tiny_file.parent.iterdir()] == [tiny_file.name]


def test_a_weight_too_large_for_half_precision_is_not_saved(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    encoder.convolution("relu1_2").weight.data[0, 0, 0, 0] = 1e5
    with pytest.raises(WeightsError, match=r"conv1_2.weight has values that do not fit into float16; not saved$"):
        save_encoder(encoder, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_checksum_is_of_the_weights_alone(tiny_file: Path) -> None:
    digest = hashlib.sha256()
    for name, tensor in tiny_encoder().convolutions.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    assert weights_checksum(tiny_encoder()) == digest.hexdigest()
    assert weights_checksum(load_encoder(tiny_file, pooling="average")) == digest.hexdigest()  # channels last, too
    changed = tiny_encoder()
    changed.convolution("relu2_2").bias.data[-1] += 1e-3  # type: ignore[union-attr]
    assert weights_checksum(changed) != digest.hexdigest()
    read = VGG(replace(TINY, readouts={"relu2_1": 9}))
    before = weights_checksum(read)
    read.readouts["relu2_1"].bias.data[0] += 1e-3  # type: ignore[union-attr, operator, index]
    assert weights_checksum(read) != before

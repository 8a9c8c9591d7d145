"""Where weights come from: the package, a file, a download; and what each says when it cannot serve."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from flaky_server import FlakyServer
from impasto.encoders import (
    ENCODERS,
    VGG,
    Configuration,
    catalogue,
    encoder_status,
    load_encoder,
    normalise_on,
    originals,
    save_encoder,
    storage,
    weights_checksum,
)
from impasto.encoders.dead_leaves import dead_leaves
from impasto.encoders.vgg import RARELY_ACTIVE, measure_mean_activations
from impasto.errors import UsageError, WeightsError

TINY = Configuration("tiny", (4, 6), (2, 2), mean=(0.4, 0.5, 0.6), channel_order="BGR")


def tiny_encoder(configuration: Configuration = TINY, seed: int = 0) -> VGG:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VGG(configuration)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_encoder(tiny_encoder(), path, dtype=torch.float32)
    return path


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "packaged.safetensors"
    monkeypatch.setattr(catalogue, "packaged_weights", lambda: path)
    return path


# --- the package and files -----------------------------------------------------------------------------------------


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


# --- downloads and their conversion --------------------------------------------------------------------------------


@dataclass
class Published:
    """A stand-in for VGG-19's file on a server: torchvision's names, tiny widths."""

    server: FlakyServer
    source: catalogue.Source

    def publish(self, body: bytes) -> None:
        self.server.body = body
        self.source = replace(self.source, sha256=hashlib.sha256(body).hexdigest()[:8], size=len(body))
        catalogue.SOURCES["vgg19"] = self.source


def state_dict(**changes: Tensor | None) -> dict[str, Tensor]:
    """The tiny encoder's weights under torchvision's names (`features_0_weight` …), and a classifier nobody needs."""
    weights = tiny_encoder().convolutions.state_dict()
    places = {"conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7}  # written out: the test's own knowledge
    state: dict[str, Tensor | None] = OrderedDict()
    for name, place in places.items():
        for kind in ("weight", "bias"):
            state[f"features.{place}.{kind}"] = weights[f"{name}.{kind}"]
    state["classifier.0.weight"] = torch.zeros(10, 6)
    state |= {name.replace("_", "."): t for name, t in changes.items()}
    return OrderedDict((name, t) for name, t in state.items() if t is not None)


def pth(state: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@pytest.fixture
def published(server: FlakyServer, monkeypatch: pytest.MonkeyPatch) -> Published:
    source = catalogue.Source("vgg19", server.url, sha256="", size=0)
    monkeypatch.setitem(catalogue.SOURCES, "vgg19", source)
    monkeypatch.setitem(originals.CONFIGURATIONS, "vgg19", TINY)
    monkeypatch.setattr(originals, "CALIBRATION_SEEDS", range(2))
    monkeypatch.setattr("impasto.encoders.download.PAUSES", (0.0, 0.0))
    stand_in = Published(server, source)
    stand_in.publish(pth(state_dict()))
    return stand_in


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_download_is_converted_once_and_the_original_deleted(published: Published, cache: Path, legacy: bool) -> None:
    published.publish(pth(state_dict(), legacy=legacy))
    heard: list[tuple[int, int]] = []
    first = load_encoder("vgg19", observer=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (published.source.size,) * 2
    assert {p.name for p in cache.glob("*") if p.suffix != ".lock"} == {published.source.converted.name}
    assert {t.dtype for t in load_file(published.source.converted).values()} == {torch.float32}
    again = load_encoder("vgg19")
    assert len(published.server.ranges) == 1
    assert weights_checksum(again) == weights_checksum(first)


def test_conversion_changes_features_by_a_factor_a_channel_and_evens_them_out(published: Published) -> None:
    raw, converted = tiny_encoder(), load_encoder("vgg19")
    x = dead_leaves(99, size=64)
    before, after = raw(x, raw.layers), converted(x, raw.layers)
    calibration = [dead_leaves(0), dead_leaves(1)]
    measured = measure_mean_activations(raw, calibration)
    for layer, mean in measure_mean_activations(converted, calibration).items():
        means = measured[layer]
        factor = means.clamp_min(originals.RARE * float(means.median()))
        factor = factor.clamp_min(RARELY_ACTIVE * float(factor.mean()))
        common = means == factor
        assert common.sum() >= 2
        torch.testing.assert_close(mean[common], torch.ones_like(mean[common]), rtol=1e-4, atol=0)
        assert (mean[~common] < 1).all()
        torch.testing.assert_close(after[layer] * factor.view(-1, 1, 1), before[layer], rtol=1e-4, atol=1e-6)


def test_an_original_put_into_the_cache_is_taken(published: Published, cache: Path) -> None:
    cache.mkdir()
    (cache / "weights.pth").write_bytes(published.server.body)
    assert encoder_status("vgg19").present
    load_encoder("vgg19")
    assert published.server.ranges == []
    assert not (cache / "weights.pth").exists()


def test_a_wrong_original_in_the_cache_is_refused_but_not_deleted(published: Published, cache: Path) -> None:
    cache.mkdir()
    (cache / "weights.pth").write_bytes(b"something else")
    with pytest.raises(
        WeightsError, match=r"weights.pth: not the file expected \(its sha256 .*; delete it, or replace"
    ):
        load_encoder("vgg19")
    assert (cache / "weights.pth").read_bytes() == b"something else"


def test_offline_is_one_sentence_with_what_to_do(published: Published, cache: Path) -> None:
    published.source = replace(published.source, url="https://vgg.invalid/models/vgg19-dcbb9e9d.pth", size=574_673_361)
    catalogue.SOURCES["vgg19"] = published.source
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.getaddrinfo", _no_names)
        with pytest.raises(WeightsError) as caught:
            load_encoder("vgg19")
    assert str(caught.value) == (
        "vgg19: its weights (548 MB) could not be downloaded (no network); "
        "download https://vgg.invalid/models/vgg19-dcbb9e9d.pth elsewhere and put it at "
        f"{cache}/vgg19-dcbb9e9d.pth, or use --encoder lite, which needs no download"
    )


def _no_names(*args: object, **settings: object) -> None:
    import socket

    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Malice:
    """Pickled, it writes a file on whoever unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_a_malicious_file_runs_nothing(published: Published, tmp_path: Path, form: str) -> None:
    marker = tmp_path / "owned"
    state = state_dict() | {"extra": Malice(marker)}
    body = pickle.dumps(state["extra"]) if form == "bare pickle" else pth(state, legacy=form == "legacy")
    published.publish(body)
    with pytest.raises(WeightsError, match=r"weights.pth: not a file of plain weights; nothing in it was run$"):
        load_encoder("vgg19")
    assert not marker.exists()
    if form == "bare pickle":
        pickle.loads(body)  # noqa: S301 - the malice works, so its absence above means something
        assert marker.exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (state_dict(features_5_weight=None), r"weights.pth: features.5.weight \(conv2_1.weight\) is missing$"),
        (
            state_dict(features_7_bias=torch.zeros(7)),
            r"weights.pth: conv2_2.bias has the shape \(7,\), expected \(6,\)$",
        ),
        ([torch.zeros(3)], r"weights.pth: holds no weights by name$"),
    ],
)
def test_an_original_that_does_not_fit_is_explained(published: Published, state: object, message: str) -> None:
    published.publish(pth(state))
    with pytest.raises(WeightsError, match=message):
        load_encoder("vgg19")


def test_two_at_once_download_once(published: Published) -> None:
    def get(_: int) -> Path:
        return originals.converted_weights(published.source, TINY)

    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(get, range(4)))
    assert paths == {published.source.converted}
    assert len(published.server.ranges) == 1
    storage.read_encoder(published.source.converted)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(published: Published, cache: Path) -> None:
    cache.mkdir()
    (cache / "weights.pth.part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"^vgg19: no room in .*cache for its weights \(0 MB\); set IMPASTO_CACHE"):
        load_encoder("vgg19")


def test_a_cache_that_cannot_be_made_is_one_sentence(published: Published, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(
        WeightsError, match=r"^vgg19: its weights cannot be kept in .*cache \(File exists\); set IMPASTO_"
    ):
        load_encoder("vgg19")


def test_a_damaged_conversion_says_how_to_mend_it(published: Published) -> None:
    load_encoder("vgg19")
    published.source.converted.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"not a whole safetensors file .*; delete it and it is made again$"):
        load_encoder("vgg19")


def test_the_published_sources_are_https_with_checksums() -> None:
    assert set(catalogue.SOURCES) == set(originals.CONFIGURATIONS) == set(ENCODERS) - {"lite"}
    for name, source in catalogue.SOURCES.items():
        assert source.name == name
        assert source.url.startswith("https://")
        assert len(source.sha256) >= 8
        assert source.sha256 in source.original.name
    assert catalogue.SOURCES["vgg19"].converted != catalogue.SOURCES["vgg19-caffe"].converted


def test_the_original_vgg19_sees_bgr_from_0_to_255_without_its_mean_colour() -> None:
    encoder = VGG(replace(originals.CONFIGURATIONS["vgg19-caffe"], widths=(3,), convolutions=(1,)))
    convolution = encoder.convolution("relu1_1")
    convolution.weight.data.zero_()
    convolution.bias.data.fill_(200.0)  # type: ignore[union-attr]  # lifts everything over the rectifier
    for channel in range(3):
        convolution.weight.data[channel, channel, 1, 1] = 1.0
    colour = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    seen = encoder(colour, ["relu1_1"])["relu1_1"][0, :, 0, 0] - 200
    assert seen.tolist() == pytest.approx([204 - 103.939, 102 - 116.779, 51 - 123.68], abs=1e-3)


def test_torchvision_numbers_the_layers_of_vgg19_so() -> None:
    names = originals._torchvision_names(originals.CONFIGURATIONS["vgg19"])
    expected = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert [int(theirs.split(".")[1]) for theirs in names.values()][::2] == expected
    assert names["conv5_4.bias"] == "features.34.bias"


# --- status --------------------------------------------------------------------------------------------------------


def test_status_of_each_kind(packaged: Path, published: Published, tiny_file: Path) -> None:
    assert not encoder_status("lite").present
    save_encoder(tiny_encoder(), packaged)
    lite = encoder_status("lite")
    assert (lite.present, lite.path, lite.size) == (True, packaged, packaged.stat().st_size)
    assert lite.description == ENCODERS["lite"]

    absent = encoder_status("vgg19")
    assert (absent.present, absent.path, absent.size) == (False, None, published.source.size)
    assert published.server.ranges == []
    load_encoder("vgg19")
    present = encoder_status("vgg19")
    assert (present.present, present.path) == (True, published.source.converted)
    assert present.size == published.source.converted.stat().st_size

    assert encoder_status(tiny_file).size == tiny_file.stat().st_size
    assert not encoder_status("nowhere.safetensors").present
    with pytest.raises(UsageError, match="did you mean lite"):
        encoder_status("light")


def test_the_cache_is_the_systems_unless_chosen(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert catalogue.cache_folder() == cache
    monkeypatch.setenv("IMPASTO_CACHE", "~/elsewhere")
    assert catalogue.cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("IMPASTO_CACHE")
    assert catalogue.cache_folder().parts[-1] in ("impasto", "Cache")


def test_status_needs_no_torch() -> None:
    code = "import sys, impasto.encoders as e; e.encoder_status('vgg19'); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


# --- normalisation and real weights --------------------------------------------------------------------------------


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

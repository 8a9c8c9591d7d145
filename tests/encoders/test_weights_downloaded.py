"""Weights that are downloaded: converted once, never run, and what each encoder's status says of them."""

from __future__ import annotations

import hashlib
import io
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
from safetensors.torch import load_file
from torch import Tensor

from flaky_server import FlakyServer
from impasto.encoders import (
    ENCODERS,
    VGG,
    catalogue,
    encoder_status,
    load_encoder,
    originals,
    save_encoder,
    storage,
    weights_checksum,
)
from impasto.encoders.dead_leaves import dead_leaves
from impasto.encoders.vgg import RARELY_ACTIVE, measure_mean_activations
from impasto.errors import UsageError, WeightsError
from miniature import TINY, tiny_encoder

pytestmark = pytest.mark.usefixtures("cache")


# Downloads and their conversion


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


# Status


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

"""What tests of encoders share: a server, a cache of their own, and places for weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import torch

from flaky_server import FlakyServer
from impasto.encoders import catalogue, save_encoder
from miniature import tiny_encoder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    flaky = FlakyServer(bytes(i * i % 251 for i in range(1_000_000)))
    thread = Thread(target=flaky.http.serve_forever, args=(0.01,))
    thread.start()
    yield flaky
    flaky.http.shutdown()
    thread.join()
    flaky.http.server_close()


@pytest.fixture
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

"""A studio for tests of the interface: two small pictures and an encoder that takes no time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from impasto.cli import main
from impasto.encoders import VGG, Configuration, save_encoder
from miniature import lively
from studio import FAST, WORKS, Command, Shown, paint

settings.register_profile("impasto", deadline=None)  # a busy machine is no failure
settings.load_profile("impasto")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "tiny.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_encoder(VGG(Configuration("tiny", (4, 6, 8, 8, 8), (2, 2, 4, 4, 1))), path)
    return path


@pytest.fixture(scope="session")
def lively_encoder() -> VGG:
    """A trunk as small as that of `tiny_encoder`, in memory, in which every layer is active."""
    return lively(Configuration("lively", (4, 6, 8, 8, 8), (2, 2, 4, 4, 1)))


@pytest.fixture(scope="session")
def lively_path(lively_encoder: VGG, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    path = tmp_path_factory.mktemp("encoder") / "lively.safetensors"
    save_encoder(lively_encoder, path, dtype=torch.float32)
    return path


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's place for temporary files, as far as this test goes: empty, and nobody else's."""
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    return place


@pytest.fixture
def studio(tmp_path: Path, temporary: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: harbour.jpg 64×48, starry.jpg 60×60 and tiny.safetensors."""
    paint(tmp_path / "harbour.jpg", 64, 48)
    paint(tmp_path / "starry.jpg", 60, 60, seed=1)
    os.link(tiny_encoder, tmp_path / "tiny.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def impasto(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, in this process."""

    def run(*words: object) -> Shown:
        capsys.readouterr()
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Shown(code, out, err)

    return run


@pytest.fixture
def transfer(studio: Path, impasto: Command) -> Command:
    """`impasto transfer harbour.jpg starry.jpg`, made fast, with further words."""

    def run(*words: object, content: object = "harbour.jpg", style: object = "starry.jpg") -> Shown:
        given = [str(word) for word in words]
        fast = [w for pair in zip(FAST[::2], FAST[1::2], strict=True) if pair[0] not in given for w in pair]
        return impasto("transfer", content, style, *fast, *given)

    return run


@pytest.fixture(scope="session")
def brief_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trunk of two layers as a file, both active: small pictures are enough for it."""
    path = tmp_path_factory.mktemp("encoder") / "brief.safetensors"
    save_encoder(lively(Configuration("brief", (4, 6), (1, 1))), path, dtype=torch.float32)
    return path


@pytest.fixture
def gallery(tmp_path: Path, brief_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: works/ink/ and works/wash/ with three pictures and two, and brief.safetensors."""
    monkeypatch.setattr("impasto.library.signature.SIDE", 64)
    monkeypatch.setattr("impasto.pictures.atomic.os.fsync", lambda _: None)  # no power cuts here
    for seed, name in enumerate(WORKS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        paint(tmp_path / name, 64, 48, seed)
    os.link(brief_path, tmp_path / "brief.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path

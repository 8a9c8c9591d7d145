"""The machine: devices that are there, and memory that is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from impasto import machine
from impasto.encoders.vgg import VGG
from impasto.errors import OutOfMemoryError, UsageError
from impasto.machine import (
    Machine,
    bytes_per_pixel,
    choose_device,
    devices,
    explained_memory,
    free_memory,
    peak_memory,
    require_memory,
)

CPU = torch.device("cpu")
LAYERS = ("relu1_1", "relu4_2")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def advised_size(error: BaseException) -> int:
    assert "\n" not in str(error)
    return int(str(error).partition("--size ")[2].split()[0])


def test_the_cpu_is_always_there() -> None:
    assert devices()[-1] == "cpu"
    assert choose_device("cpu") == CPU


def test_auto_is_the_fastest_kind_at_hand(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("auto") == torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")


def test_cuda_is_the_first_of_several(two_gpus: None) -> None:
    assert choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["cuda:2", "mps", "gpu", "CPU", "tpu", ""])
def test_a_device_that_is_not_there_is_told_what_is(two_gpus: None, name: str) -> None:
    with pytest.raises(UsageError, match=r"no such device here; this machine has cuda:0, cuda:1, cpu$"):
        choose_device(name)


def test_nothing_falls_back_from_a_device_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match="cuda: no such device here"):
        Machine.choose("cuda")


def test_precision_is_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for pays in (True, False):
        monkeypatch.setattr(machine, "bfloat16_pays", lambda device, p=pays: p)
        assert Machine.choose("cpu", "auto").bfloat16 is pays
        assert Machine.choose("cpu", "float32").bfloat16 is False
        assert Machine.choose("cpu", "bfloat16").bfloat16 is True


def test_threads_are_as_asked_for_and_told(threads: None) -> None:
    assert Machine.choose("cpu", "float32", threads=1).describe() == "cpu (1 thread)"
    assert torch.get_num_threads() == 1
    assert Machine.choose("cpu", "bfloat16", threads=2).describe() == "cpu (2 threads, bfloat16)"


def test_memory_is_counted_in_bytes() -> None:
    assert free_memory(CPU) > 1 << 20
    assert 1 << 24 < peak_memory(CPU) < 1 << 44


def test_the_estimate_grows_with_the_depth_and_not_with_further_shallow_layers(lively_encoder: VGG) -> None:
    assert bytes_per_pixel(lively_encoder, ["relu1_1"]) < bytes_per_pixel(lively_encoder, ["relu2_1"])
    assert bytes_per_pixel(lively_encoder, ["relu2_1"]) == bytes_per_pixel(lively_encoder, ["relu1_1", "relu2_1"])


def test_what_fits_is_let_through_with_its_estimate(lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda device: 1 << 40)
    needed = require_memory(lively_encoder, LAYERS, 100, 200, CPU)
    assert needed == pytest.approx(20_000 * bytes_per_pixel(lively_encoder, LAYERS), abs=1)


@pytest.mark.parametrize(("height", "width"), [(4096, 4096), (1000, 8000), (8000, 3000)])
@pytest.mark.parametrize("free", [10**8, 10**9])
def test_what_does_not_fit_names_the_size_that_does(
    lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch, height: int, width: int, free: int
) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda device: free)
    with pytest.raises(OutOfMemoryError, match=rf"^size {max(height, width)} needs about .* GB") as error:
        require_memory(lively_encoder, LAYERS, height, width, CPU)
    size = advised_size(error.value)
    scale = size / max(height, width)
    require_memory(lively_encoder, LAYERS, round(height * scale), round(width * scale), CPU)
    larger = 1.1 * scale  # and not a far smaller one
    with pytest.raises(OutOfMemoryError):
        require_memory(lively_encoder, LAYERS, round(height * larger), round(width * larger), CPU)


CPU_FAILURE = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000000 bytes. Error code 12 (Cannot allocate memory)"
)
WINDOWS_FAILURE = "[enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory: you tried"


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError(CPU_FAILURE),
        RuntimeError(WINDOWS_FAILURE),
        RuntimeError("MPS backend out of memory (MPS allocated: 18.11 GB, max allowed: 18.13 GB)."),
        MemoryError(),
    ],
)
def test_an_allocators_failure_becomes_a_size_that_is_smaller(lively_encoder: VGG, failure: Exception) -> None:
    with (
        pytest.raises(OutOfMemoryError, match=r"^size 2048 ran out of memory; it needs about") as error,
        explained_memory(lively_encoder, LAYERS, 2048, 1024, CPU),
    ):
        raise failure
    assert 16 <= advised_size(error.value) < 2048
    assert error.value.__cause__ is failure


def test_the_cpus_own_allocator_is_understood(lively_encoder: VGG) -> None:
    with pytest.raises(OutOfMemoryError), explained_memory(lively_encoder, LAYERS, 2048, 1024, CPU):
        torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("no"), UsageError("no")])
def test_other_errors_are_let_through(lively_encoder: VGG, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explained_memory(lively_encoder, LAYERS, 64, 64, CPU):
        raise error
    assert caught.value is error


def test_work_that_fits_is_left_alone(lively_encoder: VGG) -> None:
    with explained_memory(lively_encoder, LAYERS, 64, 64, CPU):
        assert torch.ones(3).sum() == 3


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_cuda_is_described_and_measured() -> None:
    chosen = Machine.choose("cuda", "float32")
    assert chosen.describe().startswith("cuda:0 (")
    before = peak_memory(chosen.device)
    kept = torch.ones(1 << 22, device=chosen.device)
    assert peak_memory(chosen.device) >= max(before, kept.nbytes)
    assert free_memory(chosen.device) > 1 << 20


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_cudas_own_allocator_is_understood(lively_encoder: VGG) -> None:
    device = torch.device("cuda:0")
    with pytest.raises(OutOfMemoryError), explained_memory(lively_encoder, LAYERS, 2048, 1024, device):
        torch.empty(1 << 50, dtype=torch.uint8, device=device)


@pytest.mark.mps
@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")
def test_mps_is_described_and_measured() -> None:
    chosen = Machine.choose("mps", "float32")
    assert chosen.describe().startswith("mps (")
    assert free_memory(chosen.device) > 1 << 20

"""The machine: devices that are there, and memory that is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from impasto import machine
from impasto.encoders.tiling import activations_of_tile
from impasto.encoders.vgg import VGG
from impasto.errors import OutOfMemoryError, UsageError
from impasto.machine import (
    APPETITES,
    BYTES_OF_A_PICTURE,
    BYTES_OF_LIBRARIES,
    SHARE_OF_BUDGET,
    Machine,
    budget,
    choose_device,
    core_side,
    devices,
    estimated_memory,
    explained_memory,
)
from impasto.memory import free_memory, parse_memory, peak_memory

CPU = torch.device("cpu")
HERE = Machine(CPU, bfloat16=False)
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


def free(monkeypatch: pytest.MonkeyPatch, amount: float) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda device: round(amount))


def bytes_of_one_piece(encoder: VGG, height: int, width: int, kind: str = "float32") -> float:
    return APPETITES[kind].whole * encoder.activations(LAYERS) * height * width


def bytes_of_a_tile(encoder: VGG, height: int, width: int, core: int) -> float:
    appetite = APPETITES["float32"]
    return appetite.kernels + appetite.tiled * activations_of_tile(encoder, LAYERS, height, width, core)


def test_the_estimate_grows_with_the_depth_and_not_with_further_shallow_layers(
    lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1 << 40)
    shallow, deep, both = (
        estimated_memory(lively_encoder, layers, 100, 200, budget(HERE))
        for layers in (["relu1_1"], ["relu2_1"], ["relu1_1", "relu2_1"])
    )
    assert shallow < deep == both


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_what_fits_is_done_in_one_piece(lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    free(monkeypatch, 1 << 40)
    allowed = budget(replace(HERE, bfloat16=kind == "bfloat16"))
    assert core_side(lively_encoder, LAYERS, 100, 200, allowed) is None
    expected = 20_000 * BYTES_OF_A_PICTURE + bytes_of_one_piece(lively_encoder, 100, 200, kind)
    assert estimated_memory(lively_encoder, LAYERS, 100, 200, allowed) == pytest.approx(expected, abs=1)


def test_what_does_not_fit_goes_in_the_largest_tiles_that_do(
    lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    height, width = 2000, 3000
    some = bytes_of_one_piece(lively_encoder, height, width) / 4
    picture = BYTES_OF_A_PICTURE * height * width
    free(monkeypatch, (picture + some) / 0.9)
    core = core_side(lively_encoder, LAYERS, height, width, budget(HERE))
    assert core is not None
    assert core % 8 == 0
    taken, more = (bytes_of_a_tile(lively_encoder, height, width, side) for side in (core, core + 8))
    assert taken <= some < more
    assert estimated_memory(lively_encoder, LAYERS, height, width, budget(HERE)) == pytest.approx(
        picture + taken, abs=1
    )


def test_a_smaller_kind_of_number_leaves_room_for_larger_tiles(
    lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1.6e9)
    large, larger = (
        core_side(lively_encoder, LAYERS, 4000, 3000, budget(replace(HERE, bfloat16=small))) for small in (False, True)
    )
    assert large is not None
    assert larger is not None
    assert large < larger


def test_a_budget_counts_what_is_used_already(lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 1 << 40)
    monkeypatch.setattr(machine, "used_memory", lambda device: 300_000_000)
    whole = bytes_of_one_piece(lively_encoder, 1000, 1000) + BYTES_OF_A_PICTURE * 1000 * 1000
    enough, short = (
        Machine(CPU, bfloat16=False, memory=round((300e6 + BYTES_OF_LIBRARIES + share * whole) / SHARE_OF_BUDGET))
        for share in (1.01, 0.99)
    )
    assert core_side(lively_encoder, LAYERS, 1000, 1000, budget(enough)) is None
    assert core_side(lively_encoder, LAYERS, 1000, 1000, budget(short)) is not None


def test_what_libraries_keep_beside_is_not_there_for_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 1e9)
    monkeypatch.setattr(machine, "used_memory", lambda device: 300_000_000)
    assert budget(HERE).amount - budget(HERE, kernels=10**8).amount == 10**8
    assert budget(HERE, kernels=10**10).amount == 0
    allowed = replace(HERE, memory=600_000_000)
    assert budget(allowed).amount - budget(allowed, kernels=10**7).amount == 10**7
    assert budget(allowed, kernels=10**7).used == 300_000_000 + BYTES_OF_LIBRARIES + 10**7


@pytest.mark.parametrize(("height", "width"), [(4096, 4096), (1000, 8000), (8000, 3000)])
@pytest.mark.parametrize("amount", [6e7, 3e8])
def test_what_does_not_even_fit_in_tiles_names_the_size_that_does(
    lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch, height: int, width: int, amount: float
) -> None:
    free(monkeypatch, amount)
    with pytest.raises(OutOfMemoryError, match=rf"^size {max(height, width)} needs at least .* [GM]B") as error:
        estimated_memory(lively_encoder, LAYERS, height, width, budget(HERE))
    assert "close other programs" in str(error.value)
    scale = advised_size(error.value) / max(height, width)
    estimated_memory(lively_encoder, LAYERS, round(height * scale), round(width * scale), budget(HERE))
    larger = 1.2 * scale  # and not a far smaller one
    with pytest.raises(OutOfMemoryError):
        estimated_memory(lively_encoder, LAYERS, round(height * larger), round(width * larger), budget(HERE))


def test_what_the_work_holds_leaves_less_for_tiles(lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 700_000_000)
    plain, more = (budget(HERE, held) for held in (BYTES_OF_A_PICTURE, BYTES_OF_A_PICTURE + 40))
    sides = [core_side(lively_encoder, LAYERS, 2000, 2000, one) for one in (plain, more)]
    assert sides[0] is not None
    assert sides[1] is not None
    assert sides[0] > sides[1]
    with pytest.raises(OutOfMemoryError) as error:
        core_side(lively_encoder, LAYERS, 2300, 2300, more)
    assert advised_size(error.value) < 2300


def test_too_small_a_budget_names_one_that_is_not(lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "used_memory", lambda device: 300_000_000)
    poor = Machine(CPU, bfloat16=False, memory=1_000_000)
    with pytest.raises(OutOfMemoryError, match=r"beside the 400 MB of impasto itself: allow --memory \d+MB$") as error:
        estimated_memory(lively_encoder, LAYERS, 512, 512, budget(poor))
    enough = replace(poor, memory=parse_memory(str(error.value).rpartition(" ")[2]))
    assert estimated_memory(lively_encoder, LAYERS, 512, 512, budget(enough)) > 0


def test_a_budget_that_a_smaller_picture_fits_names_its_size(
    lively_encoder: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1 << 40)
    some = Machine(CPU, bfloat16=False, memory=parse_memory("3GB"))
    with pytest.raises(OutOfMemoryError, match=r": use --size \d+ or allow --memory \d+\.\dGB$") as error:
        estimated_memory(lively_encoder, LAYERS, 9000, 9000, budget(some))
    size = advised_size(error.value)
    assert estimated_memory(lively_encoder, LAYERS, size, size, budget(some)) > 0


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
        pytest.raises(OutOfMemoryError, match=r"^size 2048 ran out of memory; it needs at least") as error,
        explained_memory(lively_encoder, LAYERS, 2048, 1024, budget(HERE)),
    ):
        raise failure
    assert 16 <= advised_size(error.value) < 2048
    assert error.value.__cause__ is failure


def test_the_cpus_own_allocator_is_understood(lively_encoder: VGG) -> None:
    with pytest.raises(OutOfMemoryError), explained_memory(lively_encoder, LAYERS, 2048, 1024, budget(HERE)):
        torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("no"), UsageError("no")])
def test_other_errors_are_let_through(lively_encoder: VGG, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explained_memory(lively_encoder, LAYERS, 64, 64, budget(HERE)):
        raise error
    assert caught.value is error


def test_work_that_fits_is_left_alone(lively_encoder: VGG) -> None:
    with explained_memory(lively_encoder, LAYERS, 64, 64, budget(HERE)):
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
    chosen = Machine.choose("cuda", "float32")
    with pytest.raises(OutOfMemoryError), explained_memory(lively_encoder, LAYERS, 2048, 1024, budget(chosen)):
        torch.empty(1 << 50, dtype=torch.uint8, device=chosen.device)


@pytest.mark.mps
@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")
def test_mps_is_described_and_measured() -> None:
    chosen = Machine.choose("mps", "float32")
    assert chosen.describe().startswith("mps (")
    assert free_memory(chosen.device) > 1 << 20

"""Memory: amounts in words, what is in use, what is given back."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from impasto import memory
from impasto.errors import UsageError
from impasto.memory import free_memory, parse_memory, peak_memory, release_memory, sparing, used_memory

CPU = torch.device("cpu")


def test_memory_is_counted_in_bytes() -> None:
    assert free_memory(CPU) > 1 << 20
    assert 1 << 24 < peak_memory(CPU) < 1 << 44
    assert 1 << 24 < used_memory(CPU) < 1 << 44


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4GB", 4e9),
        ("500 MB", 5e8),
        ("2.5g", 2.5e9),
        ("3000kb", 3e6),
        (12_000_000, 12e6),
        ("1T", 1e12),
        ("1e9", 1e9),
        ("2GiB", 2**31),
        ("1.5 Mi", 1.5 * 2**20),
    ],
)
def test_amounts_of_memory(text: str | int, expected: float) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-4GB", "4 giga", "0", "512", "0.1KB", "1e-3", "99999999TB", 0, -1])
def test_no_amounts_of_memory(text: str | int) -> None:
    with pytest.raises(UsageError, match=f"^memory {re.escape(str(text))}: needs an amount of at least 1MB"):
        parse_memory(text)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system is not asked")
def test_freed_memory_goes_back_to_the_system() -> None:
    pieces = [torch.ones(25_000) for _ in range(2000)]  # 100 kB each, 200 MB in all
    kept = pieces[::100]
    del pieces
    before = used_memory(CPU)
    release_memory()
    assert used_memory(CPU) < before - 100_000_000
    assert all(bool((piece == 1).all()) for piece in kept)


KEEPING = """
import torch
from impasto.memory import kept_memory, used_memory
cpu = torch.device("cpu")
def grown():
    torch.ones(50_000_000)
    return used_memory(cpu) - before
before = used_memory(cpu)
with kept_memory():
    print(grown())
print(used_memory(cpu) - before)
print(grown())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system is not asked")
def test_freed_memory_is_kept_for_what_comes_next_and_given_back_at_the_end() -> None:
    """Of 200 MB that are freed at once; in a process of its own, whose heap nothing has divided."""
    done = subprocess.run([sys.executable, "-c", KEEPING], check=True, capture_output=True, text=True)
    meanwhile, after, later = map(int, done.stdout.split())
    assert meanwhile > 150_000_000
    assert max(after, later) < 50_000_000


def test_memory_is_given_back_around_parts_and_where_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    used = iter([100, 110, 111, 100, 109])
    monkeypatch.setattr(memory, "release_memory", lambda: told.append("released"))
    monkeypatch.setattr(memory, "used_memory", lambda device: next(used))
    told.extend(sparing("abcde"))
    assert told == ["released", "a", "b", "c", "released", "d", "e", "released"]

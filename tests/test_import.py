"""`import impasto` and the first words of the command cost nothing; what is promised can be got."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import impasto
from impasto import library

HEAVY = {"torch", "numpy", "PIL", "pydantic", "matplotlib", "scipy", "kornia", "pyarrow"}


def loaded_after(code: str) -> set[str]:
    """The heavy packages that a fresh Python has loaded after some code."""
    tail = f"\nimport sys; sys.stderr.write(' '.join({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("code", ["import impasto; impasto.__version__", "from impasto import library"])
def test_importing_impasto_imports_nothing_heavy(code: str) -> None:
    assert loaded_after(f"{code}; dir()") == set()


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(word: str) -> None:
    assert loaded_after(f"from impasto.cli import main; main([{word!r}])") == set()


def test_errors_can_be_caught_without_torch() -> None:
    assert loaded_after("from impasto import ImpastoError, UsageError") == set()


@pytest.mark.parametrize("package", [impasto, library])
def test_all_names_can_be_got_and_no_others(package: ModuleType) -> None:
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert dir(package) == sorted(package.__all__)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'trasfer'"):
        package.trasfer  # noqa: B018


def test_version_is_the_package_s() -> None:
    assert impasto.__version__ == importlib.metadata.version("impasto")


def test_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "impasto", "resume", "nothing"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "nothing: no such checkpoint\n")


def test_a_reader_that_goes_away_gets_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "impasto", "info"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert "Traceback" not in done.stderr
    assert done.returncode != 0

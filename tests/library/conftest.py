"""A library for the tests of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from impasto.library.changes import commit, create_library
from impasto.library.store import Library
from shelf import MANIFEST, adding, skipped


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Works w0 to w2, and a file that is none."""
    empty = create_library(tmp_path / "art.library", MANIFEST)
    return commit(empty, adding(0, 1, 2, skipped={"/odd.png": skipped("/odd.png")}))

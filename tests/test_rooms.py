"""The rooms of the house: each imports only from those before it, and nobody from the command line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import impasto

HOUSE = Path(impasto.__file__).parent
ROOMS = (
    "lazy",
    "errors",
    "memory",
    "pictures",
    "encoders",
    "machine",
    "losses",
    "synthesis",
    "motion",
    "library",
    "origins",
    "methods",
)
"""What comes after them is the interface."""


def imported(tree: ast.AST) -> Iterator[str]:
    """The rooms from which code imports when it runs; what is for type checkers alone does not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "impasto":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("impasto."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("impasto."))
        yield from imported(node)


def imports_of(path: Path) -> set[str]:
    return {*imported(ast.parse(path.read_text(encoding="utf-8")))}


def files_of(room: str) -> list[Path]:
    return [HOUSE / f"{room}.py"] if (HOUSE / f"{room}.py").exists() else [*(HOUSE / room).rglob("*.py")]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_those_before_it(room: str) -> None:
    allowed = {*ROOMS[: ROOMS.index(room) + 1]}
    beyond = {str(path.relative_to(HOUSE)): found for path in files_of(room) if (found := imports_of(path) - allowed)}
    assert beyond == {}


def test_nobody_imports_the_command_line() -> None:
    importers = [path.name for path in HOUSE.rglob("*.py") if "cli" in imports_of(path)]
    assert importers == ["__main__.py"]


def test_imports_are_found_wherever_they_are() -> None:
    code = """
if TYPE_CHECKING:
    from impasto.results import Result
from impasto import jobs
import impasto.sets
def late():
    from impasto.library.store import Library
"""
    assert {*imported(ast.parse(code))} == {"jobs", "sets", "library"}

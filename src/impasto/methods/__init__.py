"""The published methods: one file each, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from impasto.errors import UsageError, near_match

if TYPE_CHECKING:
    from impasto.methods.settings import Settings
    from impasto.methods.work import Work


@dataclass(frozen=True)
class Method:
    """A method by name. Its module `impasto.methods.<name>` holds the function of that name and its settings model.

    `inputs` are the roles of the pictures that it needs, in the order in which people name them.
    """

    name: str
    summary: str
    inputs: tuple[str, ...]

    @property
    def settings(self) -> type[Settings]:
        model: type[Settings] = getattr(self._module(), f"{self.name.capitalize()}Settings")
        return model

    @property
    def function(self) -> Callable[..., Work]:
        function: Callable[..., Work] = getattr(self._module(), self.name)
        return function

    def _module(self) -> object:
        return import_module(f"impasto.methods.{self.name}")


METHODS = {
    method.name: method
    for method in (Method("transfer", "Repaint a photograph in the manner of a painting.", ("content", "style")),)
}


def find_method(name: str) -> Method:
    """The method of that name; raises `UsageError`."""
    if name not in METHODS:
        raise UsageError(f"{name}: no such method{near_match(name, METHODS)}; there are {', '.join(METHODS)}")
    return METHODS[name]

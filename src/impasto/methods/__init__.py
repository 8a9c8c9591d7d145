"""The published methods: one file each, and one line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from impasto.errors import UsageError, near_match

if TYPE_CHECKING:
    from impasto.machine import Machine
    from impasto.methods.settings import Settings
    from impasto.methods.work import Work
    from impasto.pictures.picture import Picture


def numbered(role: str, count: int) -> list[str]:
    """`style`, `style2`, `style3` …: the roles of so many pictures of a kind."""
    return [role if number == 1 else f"{role}{number}" for number in range(1, count + 1)]


@dataclass(frozen=True)
class Method:
    """A method by name. Its module `impasto.methods.<name>` holds the function of that name and its settings model.

    `inputs` are the roles of the pictures that it needs, in the order in which people name them. If `several`, there
    may be more of the last one: `style`, `style2`, `style3` …, which the function takes as one list, `styles`.
    """

    name: str
    summary: str
    inputs: tuple[str, ...]
    several: bool = False
    moving: bool = False
    """Whether the first input is a film."""

    def roles(self, count: int) -> tuple[str, ...]:
        """The roles of so many pictures; raises `UsageError` if there are too few or too many."""
        if count < len(self.inputs) or (count > len(self.inputs) and not self.several):
            raise UsageError(self.takes(count))
        return (*self.inputs[:-1], *numbered(self.inputs[-1], count - len(self.inputs) + 1))

    def takes(self, given: int) -> str:
        """`transfer takes one content and one or more style pictures, 1 was given`."""
        roles = [f"one {role}" for role in self.inputs[:-1]]
        roles.append(f"one or more {self.inputs[-1]} pictures" if self.several else f"one {self.inputs[-1]} picture")
        count = "none was" if given == 0 else f"{given} {'was' if given == 1 else 'were'}"
        return f"{self.name} takes {' and '.join(roles)}, {count} given"

    def is_input(self, role: str) -> bool:
        """Whether this is the role of an input, and not of a picture that the settings name."""
        return role in self.inputs or self._is_one_of_several(role)

    def begin(
        self, pictures: Mapping[str, Picture], settings: Settings, machine: Machine, known: dict[Any, Any]
    ) -> Work:
        """Apply the method to pictures by role; those that the settings name go in as one mapping, `pictures`.

        `known` is what the method found out about these inputs before, and where it keeps what it finds out now.
        """
        inputs: dict[str, Any] = {role: picture for role, picture in pictures.items() if role in self.inputs}
        if self.several:
            alike = [picture for role, picture in pictures.items() if self._is_one_of_several(role)]
            inputs[f"{self.inputs[-1]}s"] = alike
            del inputs[self.inputs[-1]]
        named = {role: picture for role, picture in pictures.items() if not self.is_input(role)}
        return self.function(**inputs, settings=settings, machine=machine, pictures=named, known=known)

    def _is_one_of_several(self, role: str) -> bool:
        return self.several and bool(re.fullmatch(rf"{self.inputs[-1]}([2-9]|[1-9]\d+)?", role))

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
    for method in (
        Method("transfer", "Repaint a photograph in the manner of paintings.", ("content", "style"), several=True),
        Method(
            "blend",
            "Repaint a photograph in the style that many works share.",
            ("content", "style"),
            several=True,
        ),
        Method(
            "semantic",
            "Repaint a photograph so that skin is painted like skin and sky like sky.",
            ("content", "style"),
            several=True,
        ),
        Method("doodle", "Make a painting of a doodle in a few colours.", ("layout", "style"), several=True),
        Method(
            "film",
            "Repaint a film in the manner of paintings, without flicker.",
            ("content", "style"),
            several=True,
            moving=True,
        ),
        Method("texture", "Make more of a texture, of any size, seamless if wanted.", ("texture",), several=True),
    )
}


def find_method(name: str) -> Method:
    """The method of that name; raises `UsageError`."""
    if name not in METHODS:
        raise UsageError(f"{name}: no such method{near_match(name, METHODS)}; there are {', '.join(METHODS)}")
    return METHODS[name]

"""What settings of all methods have in common: fields that describe themselves, errors in the user's words."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from impasto.errors import UsageError, near_match
from impasto.methods import numbered

Group = Literal["picture", "style", "content", "time", "maps", "regions", "colour", "optimisation", "machine"]


def setting(default: Any, group: Group, description: str, *, common: bool = False, **constraints: Any) -> Any:
    """A field of a `Settings` model. `description` gives unit and range; `common` ones come first in the help."""
    extra: dict[str, Any] = {"group": group, "common": common}
    return Field(default=default, description=description, json_schema_extra=extra, **constraints)


class Settings(BaseModel):
    """Settings of a method: immutable, complete, and all that is needed beside the inputs to make a result again.

    `presets` are named sets of values; one is applied under the values given explicitly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    picture_fields: ClassVar[Mapping[str, str]] = {}
    """Fields that name further pictures, and their role; of several, the second one's is the role with a 2 …."""

    unseen: ClassVar[frozenset[str]] = frozenset()
    """Fields of a method that another one has taken over, with one possible value here: help does not show them."""

    map_roles: ClassVar[frozenset[str]] = frozenset()
    """Roles of pictures that are maps: they may have any number of channels."""

    def is_map(self, role: str) -> bool:
        """Whether the picture of a role, or of several like it, is a map."""
        return role.rstrip("0123456789") in self.map_roles

    @property
    def pictures(self) -> dict[str, str]:
        """Paths of further pictures that these settings name, by role."""
        found: dict[str, str] = {}
        for field, role in self.picture_fields.items():
            value = getattr(self, field)
            paths = (value,) if isinstance(value, str) else value or ()
            named = [path for word in paths for path in self._paths_in(field, word)]
            found |= dict(zip(numbered(role, len(named)), named, strict=True))
        return {role: path for role, path in found.items() if path}

    @property
    def files(self) -> dict[str, Path]:
        """Paths of other files that these settings name, by field."""
        return {}

    def unusual(self, names: Iterable[str]) -> list[str]:
        """Those of some fields that are not as they are by default."""
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]

    def _paths_in(self, field: str, word: str) -> list[str]:
        """The paths in a word of a field that names pictures."""
        return [self._path_of(field, word)]

    def _path_of(self, field: str, word: str) -> str:
        """The path in a word of a field that names a picture; empty where it means something else."""
        return word

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Settings from values, a preset's where none is given; raises `UsageError` in one sentence."""
        try:
            return cls(**cls._preset_values(values) | values)
        except ValidationError as error:
            raise UsageError(_sentence(cls, error.errors())) from None

    def changed(self, **values: Any) -> Self:
        """A copy with other values; a preset named among them replaces all that any preset sets."""
        kept = self.model_dump()
        if "preset" in values:
            of_presets = {name for preset in self.presets.values() for name in preset}
            kept = {name: value for name, value in kept.items() if name not in of_presets}
        return type(self).of(**kept | values)

    @classmethod
    def _preset_values(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return dict(cls.presets.get(str(values.get("preset")), {}))


def _sentence(model: type[Settings], errors: Sequence[ErrorDetails]) -> str:
    """What is wrong first: `style_strength: -1 is not allowed, it should be at least 0`."""
    error = errors[0]
    if not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{name}: no such setting{near_match(name, model.model_fields)}"
    value, shown = error["input"], _cut(repr(error["input"]))
    known = _choices(model.model_fields[name].annotation)
    near = near_match(str(value), known)
    if error["type"] == "literal_error":
        return f"{name}: no such choice as {shown}{near}; choose from {', '.join(known)}"
    alternatives = f" or {' or '.join(known)}{near}" if known else ""
    return f"{name}: {shown} is not allowed, it {_reason(error)}{alternatives}"


def _reason(error: ErrorDetails) -> str:
    """`should be at least 0`: pydantic's reasons, shorter and without its words for types."""
    kind = error["type"]
    if kind in _REASONS:
        limits = {name: limit for name, limit in error.get("ctx", {}).items() if isinstance(limit, int | float)}
        whole = {name: int(limit) if limit == int(limit) else limit for name, limit in limits.items()}
        return f"should be {_REASONS[kind].format(**whole)}"
    return error["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


_REASONS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_too_short": "the name of a file",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}


def _choices(annotation: Any) -> list[str]:
    """The words that a (union with a) Literal allows."""
    if typing.get_origin(annotation) is Literal:
        return [str(word) for word in typing.get_args(annotation)]
    return [word for part in typing.get_args(annotation) for word in _choices(part)]


def _parse_layers(value: Any) -> Any:
    """Layer weights from `"relu1_1,relu2_1:0.5"`, a list of such words, or a mapping as it is."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Iterable):
        raise ValueError("needs layers like relu1_1 or relu1_1:0.5")
    weights: dict[str, float] = {}
    for word in (word.strip() for part in value for word in str(part).split(",")):
        layer, _, weight = (part.strip() for part in word.partition(":"))
        if layer in weights:
            raise ValueError(f"should name {layer} once")
        try:
            weights[layer] = float(weight or 1)
        except ValueError:
            layer = ""
        if not layer:
            raise ValueError(f"needs layers like relu1_1 or relu1_1:0.5{_apart(word, value)}")
    return weights


def _apart(word: str, value: Any) -> str:
    """`, not ':2'` of a word that is only a part of what was given, all of which is said anyway."""
    return "" if value in (word, [word]) else f", not {_cut(repr(word))}"


def _check_weights(weights: dict[str, float]) -> dict[str, float]:
    if any(weight < 0 for weight in weights.values()) or not sum(weights.values()) > 0:
        raise ValueError("needs weights of at least 0, and one above 0")
    return weights


def _parse_pairs(value: Any) -> Any:
    """Values by name from `"sky:0.5,ground:2"`, a list of such words, or a mapping as it is."""
    if isinstance(value, Mapping):
        return {str(name): one if isinstance(one, float) else str(one) for name, one in value.items()}
    pairs: dict[str, str] = {}
    for word in words_of(value):
        name, _, one = (part.strip() for part in word.rpartition(":"))
        if not name or not one:
            raise ValueError(f"needs pairs like sky:2{_apart(word, value)}")
        if name in pairs:
            raise ValueError(f"should name {name} once")
        pairs[name] = one
    return pairs


def words_of(value: Any) -> list[str]:
    """The words of `"a,b"`, or of a sequence of texts as they are."""
    return [word.strip() for word in value.split(",")] if isinstance(value, str) else [str(one) for one in value]


def _check_words(words: tuple[str, ...]) -> tuple[str, ...]:
    if not all(words):
        raise ValueError("needs words with commas between them, none of them empty")
    return words


def _parse_numbers(value: Any) -> Any:
    """Numbers from `"0.3,0.7"`, or a sequence of them as it is."""
    return words_of(value) if isinstance(value, str) else value


def _check_shares(shares: tuple[float, ...]) -> tuple[float, ...]:
    if any(share < 0 for share in shares) or not 0 < sum(shares) < math.inf:
        raise ValueError("needs numbers of at least 0, and one above 0")
    return shares


Proportions = Annotated[tuple[float, ...], BeforeValidator(_parse_numbers), AfterValidator(_check_shares)]
"""One number for each of several pictures; only their proportions count."""

Layers = Annotated[dict[str, float], BeforeValidator(_parse_layers), AfterValidator(_check_weights)]
"""Weights by layer; only their proportions count."""

Strength = Annotated[float, Field(ge=0, le=1000)]
"""A factor of a loss."""

Strengths = Annotated[dict[str, Strength], BeforeValidator(_parse_pairs)]
"""Strengths by name."""

Named = Annotated[dict[str, str], BeforeValidator(_parse_pairs)]
"""Words by name."""

Words = Annotated[tuple[str, ...], BeforeValidator(words_of), AfterValidator(_check_words)]
"""Several words."""

Paths = Words
"""Paths of several pictures of a kind."""

"""What settings of all methods have in common: fields that describe themselves, errors in the user's words."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from impasto.errors import UsageError, near_match

Group = Literal["picture", "style", "content", "optimisation", "machine"]


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

    @property
    def pictures(self) -> dict[str, str]:
        """Paths of further pictures that these settings name, by role."""
        return {}

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Settings from values, a preset's where none is given; raises `UsageError` in one sentence."""
        try:
            return cls(**cls._preset_values(values) | values)
        except ValidationError as error:
            raise UsageError(_sentence(cls, error.errors()[0])) from None

    def changed(self, **values: Any) -> Self:
        """A copy with other values; a preset named among them brings all of its own."""
        return type(self).of(**self.model_dump() | type(self)._preset_values(values) | values)

    @classmethod
    def _preset_values(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return dict(cls.presets.get(str(values.get("preset")), {}))


def _sentence(model: type[Settings], error: ErrorDetails) -> str:
    """`style_strength: -1 is not allowed, it should be greater than or equal to 0`."""
    name = str(error["loc"][0]) if error["loc"] else model.__name__
    if error["type"] == "extra_forbidden":
        return f"{name}: no such setting{near_match(name, model.model_fields)}"
    value = error["input"]
    if error["type"] == "literal_error":
        known = _choices(model.model_fields[name].annotation)
        return f"{name}: no such choice as {value!r}{near_match(str(value), known)}; choose from {', '.join(known)}"
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{name}: {value!r} is not allowed, it {reason}"


def _choices(annotation: Any) -> list[str]:
    """The words that a (union with a) Literal allows."""
    if typing.get_origin(annotation) is Literal:
        return [str(word) for word in typing.get_args(annotation)]
    return [word for part in typing.get_args(annotation) for word in _choices(part)]


def _parse_layers(value: Any) -> Any:
    """Layer weights from `"relu1_1,relu2_1:0.5"`, a list of such words, or a mapping as it is."""
    if isinstance(value, Mapping):
        return dict(value)
    words = value.split(",") if isinstance(value, str) else [w for part in value for w in str(part).split(",")]
    weights = {}
    for word in words:
        layer, _, weight = word.strip().partition(":")
        try:
            weights[layer] = float(weight or 1)
        except ValueError:
            raise ValueError(f"needs layers like relu1_1 or relu1_1:0.5, not {word!r}") from None
    return weights


def _check_weights(weights: dict[str, float]) -> dict[str, float]:
    if any(weight < 0 for weight in weights.values()) or not sum(weights.values()) > 0:
        raise ValueError("needs weights of at least 0, and one above 0")
    return weights


Layers = Annotated[dict[str, float], BeforeValidator(_parse_layers), AfterValidator(_check_weights)]
"""Weights by layer; only their proportions count."""

"""Settings: presets, layers, and what is wrong said in one sentence of the user's words."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from impasto.errors import UsageError
from impasto.methods.settings import Group
from impasto.methods.style import GRAM_LAYERS, WASSERSTEIN_LAYERS
from impasto.methods.transfer import TransferSettings


def refused(**values: Any) -> str:
    with pytest.raises(UsageError) as error:
        TransferSettings.of(**values)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TransferSettings().size = 64


def test_a_preset_applies_under_the_values_given() -> None:
    bold = TransferSettings.of(preset="bold")
    mine = TransferSettings.of(preset="bold", style_strength=1.5)
    preset = TransferSettings.presets["bold"]
    assert bold.preset == "bold"
    assert {name: getattr(bold, name) for name in preset} == preset
    assert mine.style_strength == 1.5
    assert mine.style_scale == preset["style_scale"]


@pytest.mark.parametrize("preset", TransferSettings.presets)
def test_every_preset_is_valid_and_can_be_chosen(preset: str) -> None:
    assert TransferSettings.of(preset=preset).preset == preset


def test_every_choice_of_preset_exists() -> None:
    assert set(get_args(TransferSettings.model_fields["preset"].annotation)) == set(TransferSettings.presets)


def test_changed_keeps_the_rest() -> None:
    settings = TransferSettings.of(size=100, style_layers="relu1_1:2", seed=3)
    changed = settings.changed(seed=4)
    assert changed.seed == 4
    assert changed.model_dump() | {"seed": 3} == settings.model_dump()
    assert settings.seed == 3


def test_a_preset_named_in_a_change_brings_its_values() -> None:
    changed = TransferSettings.of(size=100, style_strength=9.0).changed(preset="bold", content_strength=2.0)
    assert changed.style_strength == TransferSettings.presets["bold"]["style_strength"]
    assert (changed.size, changed.content_strength) == (100, 2.0)


def test_a_change_is_checked_too() -> None:
    with pytest.raises(UsageError, match="steps: 0 is not allowed"):
        TransferSettings().changed(steps=0)


def test_settings_survive_a_round_trip_through_plain_values() -> None:
    settings = TransferSettings.of(preset="bold", size="full", style_layers="relu1_1,relu2_1:0.5", start="a.png")
    assert TransferSettings.of(**settings.model_dump()) == settings
    assert TransferSettings.model_validate_json(settings.model_dump_json()) == settings


def test_numbers_may_come_as_words() -> None:
    settings = TransferSettings.of(size="640", style_strength="2.5")
    assert (settings.size, settings.style_strength) == (640, 2.5)
    assert TransferSettings.of(size="full").size == "full"


@pytest.mark.parametrize(
    "layers", ["relu1_1,relu2_1:0.5", " relu1_1 , relu2_1 : 0.5 ", ["relu1_1", "relu2_1:0.5"], ("relu1_1,relu2_1:0.5",)]
)
def test_layers_may_be_words(layers: Any) -> None:
    assert TransferSettings.of(style_layers=layers).style_layer_weights == {"relu1_1": 1.0, "relu2_1": 0.5}


def test_layers_may_be_a_mapping() -> None:
    assert TransferSettings.of(content_layers={"relu3_1": 2}).content_layers == {"relu3_1": 2.0}


def test_the_style_loss_chooses_the_layers_unless_they_are_given() -> None:
    assert TransferSettings(style_loss="gram").style_layer_weights == GRAM_LAYERS
    assert TransferSettings().style_layer_weights == WASSERSTEIN_LAYERS
    assert TransferSettings.of(style_loss="wasserstein", style_layers="relu1_1").style_layer_weights == {"relu1_1": 1.0}


def test_a_start_that_is_no_word_is_the_path_of_a_picture() -> None:
    assert TransferSettings().pictures == {}
    assert TransferSettings(start="noise").pictures == {}
    assert TransferSettings(start="sea.jpg").pictures == {"start": "sea.jpg"}


@pytest.mark.parametrize("name", TransferSettings.model_fields)
def test_every_setting_describes_itself(name: str) -> None:
    field = TransferSettings.model_fields[name]
    assert field.description
    assert field.description[0].isupper() or field.description[0] == "`"
    assert field.description.endswith(".")
    assert isinstance(field.json_schema_extra, dict)
    assert field.json_schema_extra["group"] in get_args(Group)


def test_an_unknown_setting_is_named_with_a_near_match() -> None:
    assert refused(style_strenght=1) == "style_strenght: no such setting (did you mean style_strength?)"
    assert refused(wibble=1) == "wibble: no such setting"


def test_a_wrong_choice_is_named_with_a_near_match_and_all_choices() -> None:
    assert refused(style_loss="gramm") == (
        "style_loss: no such choice as 'gramm' (did you mean gram?); choose from gram, wasserstein, patches"
    )
    assert refused(preset="blod").startswith("preset: no such choice as 'blod' (did you mean bold?); choose from")
    assert refused(optimiser=3) == "optimiser: no such choice as 3; choose from adam, lbfgs"
    assert refused(preset=["bold"]).startswith("preset: no such choice as ['bold']")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "nan is not allowed, it should be a finite number"),
        (float("inf"), "inf is not allowed, it should be a finite number"),
        (float("-inf"), "-inf is not allowed, it should be a finite number"),
        (-0.5, "-0.5 is not allowed, it should be at least 0"),
        (1e9, "1000000000.0 is not allowed, it should be at most 1000"),
        ("strong", "'strong' is not allowed, it should be a number"),
        (None, "None is not allowed, it should be a number"),
    ],
)
@pytest.mark.parametrize("name", ["style_strength", "content_strength", "smoothness"])
def test_impossible_strengths_are_refused(name: str, value: Any, reason: str) -> None:
    assert refused(**{name: value}) == f"{name}: {reason}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("ful", "'ful' is not allowed, it should be a whole number or full (did you mean full?)"),
        (0, "0 is not allowed, it should be at least 16 or full"),
        (True, "True is not allowed, it should be at least 16 or full"),
        (70_000, "70000 is not allowed, it should be at most 65536 or full"),
        (100.5, "100.5 is not allowed, it should be a whole number or full"),
        (None, "None is not allowed, it should be a whole number or full"),
    ],
)
def test_an_impossible_size_is_one_clear_sentence(value: Any, reason: str) -> None:
    assert refused(size=value) == f"size: {reason}"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"steps": 0}, "steps: 0 is not allowed, it should be at least 1"),
        ({"average": 1}, "average: 1 is not allowed, it should be below 1"),
        ({"learning_rate": 0}, "learning_rate: 0 is not allowed, it should be above 0"),
        ({"style_scale": 0.01}, "style_scale: 0.01 is not allowed, it should be at least 0.05"),
        ({"seed": -1}, "seed: -1 is not allowed, it should be at least 0"),
        ({"seed": 1.5}, "seed: 1.5 is not allowed, it should be a whole number"),
        ({"start": 3}, "start: 3 is not allowed, it should be text"),
    ],
)
def test_a_value_out_of_range_is_told_the_range(values: dict[str, Any], reason: str) -> None:
    assert refused(**values) == reason


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ("relu1_1:x", "needs layers like relu1_1 or relu1_1:0.5"),
        ("", "needs layers like relu1_1 or relu1_1:0.5"),
        ("relu1_1,,relu2_1", "needs layers like relu1_1 or relu1_1:0.5, not ''"),
        (":2", "needs layers like relu1_1 or relu1_1:0.5"),
        (5, "needs layers like relu1_1 or relu1_1:0.5"),
        ("relu1_1,relu1_1:2", "should name relu1_1 once"),
        ("relu1_1:-1", "needs weights of at least 0, and one above 0"),
        ("relu1_1:0,relu2_1:0", "needs weights of at least 0, and one above 0"),
        ([], "needs weights of at least 0, and one above 0"),
        ({}, "needs weights of at least 0, and one above 0"),
        ("relu1_1:nan", "should be a finite number"),
        ("relu1_1:inf", "should be a finite number"),
        ({"relu1_1": "much"}, "should be a number"),
    ],
)
@pytest.mark.parametrize("name", ["style_layers", "content_layers"])
def test_bad_layers_are_refused(name: str, layers: Any, reason: str) -> None:
    message = refused(**{name: layers})
    assert message.startswith(f"{name}: ")
    assert message.endswith(f"is not allowed, it {reason}")


def test_strengths_that_are_all_0_are_refused() -> None:
    message = refused(style_strength=0, content_strength=0, smoothness=0)
    assert message == "style_strength, content_strength and smoothness are all 0: one of them must act"
    assert TransferSettings.of(style_strength=0, content_strength=0).smoothness > 0


def test_a_value_of_a_thousand_words_is_cut_short() -> None:
    assert len(refused(size="9" * 5000)) < 250
    assert len(refused(style_layers="relu1_1:" + "x" * 5000)) < 300


def test_shares_are_read_from_words_and_numbers() -> None:
    assert TransferSettings.of(style_weights="0.3, 0.7").style_weights == (0.3, 0.7)
    assert TransferSettings.of(style_weights=[1, 2]).style_weights == (1.0, 2.0)


@pytest.mark.parametrize("given", ["", "a,b", "1,,2", "-1,2", "0,0", [], "nan,1"])
def test_shares_that_are_none_are_one_sentence(given: object) -> None:
    with pytest.raises(UsageError, match=r"^style_weights: "):
        TransferSettings.of(style_weights=given)

"""What is style: settings of style losses, and the loss of what is painted in some styles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import model_validator
from torch import Tensor

from impasto.errors import UsageError, counted
from impasto.losses import GramLoss, MixedLoss, Moments, Shares, StyleLoss, WassersteinLoss, Weights, mixture
from impasto.methods.settings import Layers, Proportions, Settings, setting
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize, resize_squares

STYLE = {"gram": 20.0, "wasserstein": 16.0, "patches": 4.0}
"""Strengths behind strengths: what 1 stands for, calibrated by eye and number (docs/decisions/0002-calibration.md)."""

WASSERSTEIN_LAYERS = {"relu1_1": 8.0, "relu2_1": 4.0, "relu3_1": 4.0, "relu4_1": 2.0, "relu5_1": 1.0}
GRAM_LAYERS = dict.fromkeys(WASSERSTEIN_LAYERS, 1.0)
LAYERS: Mapping[str, Mapping[str, float]] = {
    "wasserstein": WASSERSTEIN_LAYERS,
    "gram": GRAM_LAYERS,
    "patches": {"relu3_1": 1.0, "relu4_1": 1.0},
}
"""Those of each style loss, if no others are given."""


def statistics() -> Any:
    """The setting `style_loss` of methods that compare no patches."""
    text = "What of the style is compared: its distribution, or channels active together (gram)."
    return setting("wasserstein", "style", text)


class StyleSettings(Settings):
    """What of the styles is compared, and how several are mixed."""

    style_loss: Literal["gram", "wasserstein", "patches"] = setting(
        "wasserstein",
        "style",
        "What of the style is compared: its distribution, channels active together (gram) or patches with their like.",
    )
    style_weights: Proportions | None = setting(
        None, "style", "Shares of several styles, one for each: 0.3,0.7 (default: equal)."
    )
    mix: Literal["targets", "losses"] = setting(
        "targets", "style", "Several styles: `targets` is the style of a picture made of them all, `losses` their mean."
    )
    style_layers: Layers | None = setting(
        None,
        "style",
        "Layers that carry the style, with weights: relu1_1,relu3_1:0.5 (default: relu1_1 … relu5_1; of patches: "
        "relu3_1 and relu4_1).",
    )

    pixel_art: bool = setting(
        False, "style", "The styles are pixel art: enlarged, as by a style scale of 4, their pixels stay squares."
    )

    @model_validator(mode="after")
    def _has_shares(self) -> Self:
        if self.style_loss == "patches" and (self.style_weights is not None or self.mix != "targets"):
            raise ValueError("style_weights and mix: patches come from the style they are most like: leave them out")
        return self

    def style_at(self, style: Picture, height: int, width: int) -> Tensor:
        """A style's pixels `(1, 3, H, W)` at another size."""
        return (resize_squares if self.pixel_art else resize)(style.pixels, height, width)

    @property
    def style_layer_weights(self) -> dict[str, float]:
        """The style layers, or the default ones of the style loss."""
        if self.style_layers is not None:
            return self.style_layers
        return dict(LAYERS[self.style_loss])

    def shares(self, count: int) -> tuple[float, ...]:
        """The shares of so many styles, of sum 1; raises `UsageError` for a wrong number of weights."""
        weights = self.style_weights or (1.0,) * count
        if len(weights) != count:
            raise UsageError(
                f"style_weights: {counted(len(weights), 'weight')} for {counted(count, 'style')}: give one for each"
            )
        return tuple(weight / sum(weights) for weight in weights)


def style_loss(
    targets: Sequence[Mapping[str, Moments]],
    shares: Shares,
    settings: StyleSettings,
    where: Weights | None = None,
) -> StyleLoss:
    """The loss of what is painted, there, in styles of these moments and shares, which sum to 1."""
    kind = GramLoss if settings.style_loss == "gram" else WassersteinLoss
    weights = settings.style_layer_weights
    if settings.mix == "targets" or isinstance(shares, Mapping):
        return kind(mixture(targets, shares), weights, where)
    return MixedLoss([kind(target, weights, where) for target in targets], shares)

"""Losses: each knows its target and says how far a picture's features are from it, as a relative error."""

from impasto.losses.base import Features, Loss, SumLoss, Sums, Weights, normalised_weights
from impasto.losses.content import ContentLoss
from impasto.losses.gram import GramLoss
from impasto.losses.matting import MattingLoss
from impasto.losses.mixed import MixedLoss, RegionsLoss
from impasto.losses.moments import Moments, Shares, mixture, moments, moments_of_parts
from impasto.losses.patches import PatchLoss
from impasto.losses.pixels import PixelLoss
from impasto.losses.smoothness import Smoothness
from impasto.losses.style import StyleLoss
from impasto.losses.temporal import TemporalLoss, long_term
from impasto.losses.wasserstein import WassersteinLoss

__all__ = [
    "ContentLoss",
    "Features",
    "GramLoss",
    "Loss",
    "MattingLoss",
    "MixedLoss",
    "Moments",
    "PatchLoss",
    "PixelLoss",
    "RegionsLoss",
    "Shares",
    "Smoothness",
    "StyleLoss",
    "SumLoss",
    "Sums",
    "TemporalLoss",
    "WassersteinLoss",
    "Weights",
    "long_term",
    "mixture",
    "moments",
    "moments_of_parts",
    "normalised_weights",
]

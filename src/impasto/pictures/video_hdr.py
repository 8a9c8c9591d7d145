"""Colours of films made for brighter or more colourful screens (HDR, wide gamut), as a screen of sRGB shows them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18
"""Numbers of ITU-T H.273 for the curves of ITU-R BT.2100."""

_REFERENCE_WHITE = 203.0
"""Candela per square metre of a white sheet in such a film (ITU-R BT.2408)."""
_PEAK = 1000.0
"""Candela per square metre of its brightest lights: what HLG is meant for, and most films in PQ are made on."""
_KNEE = 0.5
"""Up to this share of reference white lights stay as they are."""
_TO_BT709 = {  # from linear light of other primaries, by their numbers: BT.2020, and P3 with the white of sRGB
    9: np.array(
        [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
        np.float32,
    ),
    12: np.array(
        [[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]], np.float32
    ),
}
_BT2020 = 9
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_LUMINANCE_BT2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)


def is_beyond_srgb(primaries: int, curve: int) -> bool:
    """Whether colours of these primaries and this curve have to be converted."""
    return curve in (PQ, HLG) or primaries in _TO_BT709


def to_srgb(colours: NDArray[np.float32], primaries: int, curve: int) -> NDArray[np.float32]:
    """Colours `(H, W, 3)` in 0..1, encoded by this curve, in sRGB.

    Lights of HDR above half of reference white are compressed, so that its brightest ones are white; what sRGB cannot
    show becomes less colourful, of the same luminance. Curves of SDR are taken for that of sRGB, as players do.
    """
    light: NDArray[np.float32]
    if curve == PQ:
        light = _light_of_pq(colours) / _REFERENCE_WHITE
    elif curve == HLG:
        light = _light_of_hlg(colours) / _REFERENCE_WHITE
    else:
        light = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4).astype(np.float32)
    hdr = curve in (PQ, HLG)
    if hdr and primaries not in (1, *_TO_BT709):
        primaries = _BT2020
    if primaries in _TO_BT709:
        light = _in_gamut(light @ _TO_BT709[primaries].T)
    if hdr:
        light = _dimmed(light)
    light = light.clip(0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return encoded.astype(np.float32)


def _light_of_pq(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """In candela per square metre (BT.2100, table 4)."""
    root = colours ** (32 / 2523)
    light: NDArray[np.float32] = ((root - 3424 / 4096).clip(0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
    return 10_000 * light


def _light_of_hlg(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """In candela per square metre, on a screen of 1000 (BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(colours <= 0.5, colours**2 / 3, (np.exp((colours - c) / a) + b) / 12)
    light: NDArray[np.float32] = _PEAK * (scene @ _LUMINANCE_BT2020)[..., None] ** np.float32(0.2) * scene
    return light


def _in_gamut(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Towards the grey of the same luminance, until nothing is negative."""
    grey = (light @ _LUMINANCE)[..., None]
    lowest = light.min(axis=-1, keepdims=True)
    share = np.where(lowest < 0, grey / np.maximum(grey - lowest, 1e-9), 1)
    inside: NDArray[np.float32] = grey + share * (light - grey)
    return inside


def _dimmed(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lights in units of reference white, of the same hue, in 0..1: compressed above the knee by Reinhard's curve.

    Source: Reinhard et al. 2002, Photographic tone reproduction for digital images, eq. 4.
    """
    brightest = light.max(axis=-1, keepdims=True)
    most = (_PEAK / _REFERENCE_WHITE - _KNEE) / (1 - _KNEE)
    excess = ((brightest - _KNEE) / (1 - _KNEE)).clip(0, most)
    shown = np.minimum(brightest, _KNEE) + (1 - _KNEE) * excess * (1 + excess / most**2) / (1 + excess)
    dimmed: NDArray[np.float32] = light * (shown / np.maximum(brightest, 1e-9))
    return dimmed

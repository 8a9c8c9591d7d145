"""Films for brighter or more colourful screens, as a screen of sRGB shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.pictures.files import to_array
from impasto.pictures.film import open_film
from impasto.pictures.video_hdr import HLG, PQ, to_srgb
from reels import chart, fields, frame_of_planes, limited_yuv

BT709, BT2020, P3, SRGB_CURVE = 1, 9, 12, 13
WHITE = 0.3127, 0.3290
CHROMATICITIES = {  # x, y of red, green and blue: ITU-T H.273, table 2
    BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}


def encoded(light: NDArray[Any]) -> NDArray[Any]:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def decoded(values: NDArray[Any]) -> NDArray[Any]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_xyz(primaries: int) -> NDArray[Any]:
    """From linear light, by the definition in SMPTE RP 177."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in CHROMATICITIES[primaries]]).T
    white = np.array([WHITE[0] / WHITE[1], 1, (1 - sum(WHITE)) / WHITE[1]])
    return columns * np.linalg.solve(columns, white)


def converted(values: Any, primaries: int, curve: int) -> NDArray[Any]:
    """Of values `(N, 3)`."""
    return to_srgb(np.array(values, np.float32)[None], primaries, curve)[0]


@pytest.mark.parametrize(("curve", "signal"), [(PQ, 0.5806), (HLG, 0.75)])
def test_both_curves_mean_the_same_white(curve: int, signal: float) -> None:
    """203 cd/m² are 58 % in PQ and 75 % in HLG (ITU-R BT.2408, table 1); above half of it light is compressed."""
    most = 2 * (1000 / 203 - 0.5)
    shown = 0.5 + 0.5 * (1 + 1 / most**2) / 2
    assert converted([[signal] * 3], BT2020, curve) == pytest.approx(encoded(np.full((1, 3), shown)), abs=1e-3)


@pytest.mark.parametrize(("candela", "signal"), [(0, 0), (0.1, 0.0623), (1, 0.1499), (10, 0.2997), (100, 0.5081)])
def test_dark_and_middle_lights_of_pq_stay_as_they_are(candela: float, signal: float) -> None:
    wanted = encoded(np.full((1, 3), candela / 203))
    assert converted([[signal] * 3], BT2020, PQ) == pytest.approx(wanted, abs=1e-3)


def test_the_brightest_lights_are_white_and_all_below_keep_their_order() -> None:
    levels = np.linspace(0, 1, 257)
    for curve, brightest in ((PQ, 0.7518), (HLG, 1)):
        shown = converted(np.repeat(levels[:, None], 3, 1), BT2020, curve)
        rising = levels <= brightest
        assert (np.diff(shown[rising, 0]) > 0).all()
        assert shown[~rising] == pytest.approx(1, abs=1e-4)
        assert shown[levels <= brightest - 0.1].max() < 0.99


@pytest.mark.parametrize("primaries", [BT2020, P3])
def test_colours_of_srgb_survive_other_primaries(primaries: int) -> None:
    wanted = fields(chart()).reshape(-1, 3) / 255
    there = np.linalg.solve(to_xyz(primaries), to_xyz(BT709)) @ decoded(wanted).T
    assert converted(encoded(there.T.clip(0)), primaries, SRGB_CURVE) == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize("primaries", [BT2020, P3])
def test_colours_that_srgb_lacks_keep_their_luminance(primaries: int) -> None:
    """As far as they are not too bright for it."""
    values = np.array([[0.5, 0.05, 0.05], [0.05, 0.5, 0.05], [0.05, 0.05, 0.5]])
    shown = converted(values, primaries, SRGB_CURVE)
    luminance = (to_xyz(primaries) @ decoded(values).T)[1], (to_xyz(BT709) @ decoded(shown).T)[1]
    assert luminance[1] == pytest.approx(luminance[0], rel=1e-3)
    assert shown.argmax(1).tolist() == [0, 1, 2]
    assert shown.min() < 1e-3


def test_bright_colours_keep_their_hue() -> None:
    light = decoded(converted([[0.85, 0.7, 0.6]], BT709, PQ))[0]
    root = np.array([0.85, 0.7, 0.6]) ** (1 / 78.84375)
    true = ((root - 0.8359375) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    assert light / light.max() == pytest.approx(true / true.max(), rel=1e-3)


def test_hlg_is_shown_with_the_contrast_of_its_screen() -> None:
    """A grey of half the signal is a twelfth of the scene's light and 12⁻¹·² of the screen's (BT.2100, table 5)."""
    wanted = encoded(np.full((1, 3), 1000 / 203 / 12**1.2))
    assert converted([[0.5] * 3], BT2020, HLG) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("pixels", ["yuv444p10le", "yuv444p"])
@pytest.mark.parametrize("tagged", [True, False])
def test_films_of_hdr_come_as_pictures_do(tmp_path: Path, pixels: str, tagged: bool) -> None:
    bits = 10 if pixels.endswith("10le") else 8
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, pixels
        stream.codec_context.color_trc = HLG
        if tagged:
            stream.codec_context.color_primaries = stream.codec_context.colorspace = BT2020
        frame = frame_of_planes(limited_yuv(chart(), 0.2627, 0.0593, bits=bits), pixels)
        container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.warns(UserWarning, match=r"a\.mp4: is HDR; its colours are converted to those of usual screens"):
        film = open_film(tmp_path / "a.mp4")
    (shown,) = film.frames()
    wanted = converted(fields(chart()).reshape(-1, 3) / 255, BT2020, HLG)
    assert fields(to_array(shown.picture)).reshape(-1, 3) / 255 == pytest.approx(
        wanted, abs=2 / 255 if bits == 10 else 6 / 255
    )

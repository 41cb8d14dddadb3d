"""Tests of the theme: distinguishable colours, contrast, and unchanged settings of matplotlib."""

from __future__ import annotations

import itertools

import pytest

from submillion.report import theme
from submillion.report.class_figures import WHITE_FROM


def luminance(red: float, green: float, blue: float) -> float:
    """Relative luminance of an sRGB colour, channels in [0, 1] (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str | tuple[float, ...], other: str | tuple[float, ...]) -> float:
    from matplotlib.colors import to_rgb

    light, dark = sorted((luminance(*to_rgb(one)), luminance(*to_rgb(other))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# What red- and green-blind eyes make of linear RGB (Machado, Oliveira, Fernandes 2009, severity 1.0).
BLINDNESS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(colour: str, kind: str | None) -> list[float]:
    """Return CIE L*a*b* (D65) of a colour as an eye with that blindness sees it."""
    import numpy as np
    from matplotlib.colors import to_rgb

    encoded = np.array(to_rgb(colour))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    if kind:
        linear = np.clip(np.array(BLINDNESS[kind]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(to_xyz @ linear / [0.9505, 1.0, 1.089], 1e-9))
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


@pytest.mark.parametrize("kind", [None, *BLINDNESS])
@pytest.mark.parametrize(
    "together",
    [(theme.CORRECT, theme.WRONG), (theme.BLUE, theme.VERMILION), (theme.PRECISION, theme.RECALL, theme.F1)],
)
def test_colours_used_together_differ_for_every_colour_vision(
    together: tuple[str, ...], kind: str | None
) -> None:
    for one, other in itertools.combinations(together, 2):
        distance = sum((a - b) ** 2 for a, b in zip(lab(one, kind), lab(other, kind), strict=True)) ** 0.5
        assert distance > 25, (one, other, distance)  # 2.3 is just noticeable


@pytest.mark.parametrize("colour", [theme.BLUE, theme.VERMILION, theme.NAVY, theme.SKY])
def test_marks_contrast_with_the_background(colour: str) -> None:
    assert contrast(colour, "white") >= 3


@pytest.mark.parametrize("colour", [theme.INK, theme.MUTED])
def test_text_contrasts_with_the_background(colour: str) -> None:
    assert contrast(colour, "white") >= 4.5
    assert contrast(colour, theme.UNDEFINED) >= 4.5


def test_numbers_contrast_with_every_shade_of_a_cell() -> None:
    from matplotlib import colormaps

    shades = colormaps[theme.SHADES]
    for step in range(101):
        text = "white" if step / 100 >= WHITE_FROM else "black"
        assert contrast(shades(step / 100)[:3], text) >= 4.48, step


def test_the_settings_of_matplotlib_are_restored() -> None:
    import matplotlib

    matplotlib.rcParams["font.size"] = 17
    try:
        before = dict(matplotlib.rcParams)
        with theme.house_style():
            assert matplotlib.rcParams["font.size"] == 10
        assert dict(matplotlib.rcParams) == before
    finally:
        matplotlib.rcdefaults()

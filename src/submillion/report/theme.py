"""The theme of all figures: colours for every kind of colour vision, fonts, sizes, and reproducible files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from submillion.files.atomic import atomic_file
from submillion.report.drawn_names import FONT

# Blue and vermilion differ for every common colour blindness (Wong, Nature Methods 8 (2011) 441).
# The contrast with the white background is at least 3 to 1 (WCAG 2.2, 1.4.11), for text 4.5 to 1 (1.4.3).
INK = "#222222"
MUTED = "#595959"
GRID = "#E3E3E3"
BLUE = "#0173B2"
VERMILION = "#D55E00"
NAVY = "#12436D"
SKY = "#1A9CD8"
CORRECT, WRONG = BLUE, VERMILION
PRECISION, RECALL, F1 = NAVY, SKY, VERMILION
SHADES = "Blues"  # one hue, light to dark: also readable in greyscale
UNDEFINED = "#F2F2F2"
PNG_DPI = 150
WIDTH = 5.0
"""Inches of a figure. Scaled to the 358 pixels of a phone's text column, its letters of 9 points have 9 pixels."""

SETTINGS: dict[str, Any] = {
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "font.family": ["sans-serif"],
    "font.sans-serif": [FONT],
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "text.parse_math": False,  # a label may hold a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # text remains text: searchable, readable by screen readers, in the reader's font
    "svg.hashsalt": "submillion",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in this style regardless of the user's matplotlib settings, which are restored afterwards."""
    with style.context(["default", SETTINGS]):
        yield


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure with its title wrapped to its width.

    It is made without pyplot, so it needs no window system and leaves the user's figures alone.

    Args:
        width: in inches.
        height: in inches.
        title: may have several lines.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(wrap(title, int(width * 11)), x=0.08 / width, ha="left", fontsize=11, fontweight="bold")
    return figure


def save(figure: Figure, folder: Path, name: str, title: str) -> list[Path]:
    """Write `name`.svg and `name`.png into `folder` and return them; equal figures give equal bytes (no date)."""
    files = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
    # savefig would draw everything once more to measure it.
    with atomic_file(files[0]) as temporary:
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
            temporary, metadata={"Date": None, "Creator": "submillion", "Title": title}
        )
    figure.set_layout_engine("none")  # keep the layout of the first drawing
    figure.set_dpi(PNG_DPI)
    with atomic_file(files[1]) as temporary:
        FigureCanvasAgg(figure).print_png(  # type: ignore[no-untyped-call]
            temporary, metadata={"Software": None, "Title": title}
        )
    return files


def wrap(text: str, width: int) -> str:
    """Wrap `text` between words into lines of at most `width` characters; its own line breaks are kept."""
    return "\n".join(textwrap.fill(line, max(width, 20), break_long_words=False) for line in text.split("\n"))


def label_width(names: Sequence[str], points: float = 9) -> float:
    """Return the approximate width of the longest name in inches (a DejaVu letter is 0.6 em wide).

    Args:
        names: at least one.
        points: font size.
    """
    return max(map(len, names)) * 0.6 * points / 72


def width_for(names: Sequence[str]) -> float:
    """Return the width in inches of a figure with these names at its left side: WIDTH, or more for long names."""
    return max(WIDTH, 2.4 + label_width(names))


def grid(axes: Axes, axis: str) -> None:
    """Draw light grid lines for the value axis, 'x' or 'y'."""
    axes.grid(True, axis=axis)  # type: ignore[arg-type]
    axes.tick_params(axis=axis, length=0)  # type: ignore[arg-type]
